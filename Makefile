# Thin wrappers, so that a fresh Debian needs one command each. Arguments for `appliance build`
# go in ARGS: make appliance ARGS="--set sage.source=none"
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo)
APT_INSTALL := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends
PYTEST := $(SUDO) $(BIN)/pytest
unexport MAKEFLAGS # a test that calls make has no part in our -j
unexport PYTHONDONTWRITEBYTECODE # or each process that a test starts compiles all of ours anew

.PHONY: appliance test test-slow test-started bench lint lint-code lint-playbooks lock release clean

appliance: $(VENV)/.tools
	$(SUDO) $(BIN)/appliance build $(ARGS)

test: $(VENV)/.test-tools lint
	$(PYTEST) -n 3 $(ARGS)

test-slow: $(VENV)/.slow-tools
	$(PYTEST) -m slow $(ARGS)

test-started: $(VENV)/.test-tools
	$(SUDO) env FORKED=false $(BIN)/pytest -m "not slow and not forked" tests/integration/notebook $(ARGS)

bench: $(VENV)/.test-tools
	$(PYTEST) tests/bench -m "" -s $(ARGS)

# Two parts, for `make -j2`: each works with one processor, and the second takes as long.
lint: lint-code lint-playbooks

lint-code: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/yamllint --strict .

lint-playbooks: $(VENV)/.dev
	$(BIN)/ansible-lint --offline --strict playbooks

# Both locks hold for every Python from 3.11 on; uv makes them, pip alone installs them.
lock: $(VENV)/.dev
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header -q -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header -q -o requirements-dev.lock

# What CHANGELOG.md gives a day: its tag, and its wheel in dist. The commit is pushed by hand.
release: VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
release: $(VENV)/.installed
	@test -z "$$(git status --porcelain)" || { echo "commit what is changed first"; exit 1; }
	@grep -Eq '^## $(VERSION) \(20[0-9]{2}-[0-9]{2}-[0-9]{2}\)$$' CHANGELOG.md || \
	    { echo "CHANGELOG.md: write '## $(VERSION) (YEAR-MONTH-DAY)' above what is in $(VERSION)"; exit 1; }
	git tag --annotate v$(VERSION) --message "classroom-appliance $(VERSION)"
	$(BIN)/pip wheel -q --no-deps -w dist .

clean:
	rm -rf $(VENV) dist

$(VENV)/bin/python:
	$(SUDO) apt-get update -q
	$(APT_INSTALL) python3 python3-venv
	python3 -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install -q --require-hashes -r requirements.lock
	$(BIN)/pip install -q --no-deps -e .
	touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.installed
	$(BIN)/pip install -q --require-hashes -r requirements-dev.lock
	touch $@

$(VENV)/.tools: $(VENV)/.installed
	$(APT_INSTALL) $$($(BIN)/appliance doctor --packages)
	touch $@

$(VENV)/.test-tools: tests/packages.txt $(VENV)/.tools $(VENV)/.dev
	$(APT_INSTALL) $$(grep -v '^#' tests/packages.txt)
	touch $@

$(VENV)/.slow-tools: tests/packages-slow.txt $(VENV)/.test-tools
	$(APT_INSTALL) $$(grep -v '^#' tests/packages-slow.txt)
	touch $@
