"""The module that installs a Python of wheels, or takes the one that an earlier build kept."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

INSTALL = """
set -eu
rm -rf "$1"; mkdir -p "$1/bin"; cat "$2" > "$1/packages"; echo run >> "$1.ran"
ln "$1/packages" "$1/bin/same"; chmod 640 "$1/bin/same"; touch --date=@315532800 "$1/bin"
cp "$2" "$1/installed.lock"
"""
STEP = 'import sys, pathlib; pathlib.Path(sys.argv[1], "leaner").write_text("lean")'


@pytest.fixture
def install(call: Any) -> Any:
    """Run the module; its result."""

    def run(prefix: Path, lock: str = "one==1\n", step: str = STEP, **options: Any) -> Any:
        told = {
            "prefix": str(prefix),
            "lock": lock,
            "install": INSTALL,
            "steps": [{"name": "leaner.py", "program": step, "creates": "leaner"}],
        }
        return call("wheels", {**told, **options})

    return run


def ran(prefix: Path) -> int:
    """How often the program that installs was run."""
    return len(prefix.with_name(f"{prefix.name}.ran").read_text().split())


def tree(prefix: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """What is below a directory: modes, times, names of one file, contents."""
    found = {}
    for path in [prefix, *prefix.rglob("*")]:
        status = path.stat()
        content = path.read_bytes() if path.is_file() else b""
        when = int(status.st_mtime)
        names = status.st_nlink if path.is_file() else 0
        found[str(path.relative_to(prefix))] = (status.st_mode, when, names, content)
    return found


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    place = tmp_path / "kept"
    place.mkdir()
    return place


def test_it_is_installed_once(install: Any, tmp_path: Path) -> None:
    prefix = tmp_path / "opt"
    assert install(prefix)["changed"]
    assert (prefix / "leaner").read_text() == "lean"
    assert not install(prefix)["changed"]
    assert install(prefix, lock="two==2\n")["changed"]
    assert (prefix / "packages").read_text() == "two==2\n"
    assert ran(prefix) == 2


def test_only_a_step_that_was_not_done_is_taken_up_again(install: Any, tmp_path: Path) -> None:
    prefix = tmp_path / "opt"
    install(prefix)
    (prefix / "leaner").unlink()
    assert install(prefix)["changed"]
    assert (prefix / "leaner").exists()
    assert ran(prefix) == 1


def test_a_step_whose_tool_is_not_there_is_left_out(install: Any, tmp_path: Path) -> None:
    prefix, tool = tmp_path / "opt", tmp_path / "strip"
    step = {"name": "leaner.py", "program": STEP, "creates": "leaner", "removes": str(tool)}
    install(prefix, steps=[step])
    assert not (prefix / "leaner").exists()
    tool.touch()
    assert install(prefix, steps=[step])["changed"]
    assert (prefix / "leaner").exists()


def test_a_trial_changes_nothing(install: Any, tmp_path: Path) -> None:
    assert install(tmp_path / "opt", _ansible_check_mode=True)["changed"]
    assert not (tmp_path / "opt").exists()


def test_what_an_earlier_build_kept_is_the_same(install: Any, tmp_path: Path, kept: Path) -> None:
    prefix = tmp_path / "opt"
    install(prefix, kept=str(kept))
    first = tree(prefix)
    shutil.rmtree(prefix)
    assert install(prefix, kept=str(kept))["changed"]
    assert tree(prefix) == first
    assert ran(prefix) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("kept", "opt", "opt.lock", "opt.ran"),
    ]


@pytest.mark.parametrize(
    "other",
    [{"lock": "one==2\n"}, {"step": f"{STEP}\n# another"}, {"install": f"{INSTALL}# another"}],
    ids=lambda other: next(iter(other)),
)
def test_what_was_made_of_something_else_is_not_taken(
    install: Any, tmp_path: Path, kept: Path, other: dict[str, Any]
) -> None:
    prefix = tmp_path / "opt"
    install(prefix, kept=str(kept))
    shutil.rmtree(prefix)
    install(prefix, kept=str(kept), **other)
    assert ran(prefix) == 2


def test_with_another_compiler_nothing_is_taken(
    install: Any, tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix, query = tmp_path / "opt", tmp_path / "bin/dpkg-query"
    query.parent.mkdir()
    monkeypatch.setenv("PATH", f"{query.parent}:{os.environ['PATH']}")
    for version in ("14.2.0-19", "14.2.0-20", "14.2.0-20"):
        query.write_text(f"#!/bin/sh\necho gcc-14 {version} amd64\necho nano 8.{version} amd64\n")
        query.chmod(0o755)
        shutil.rmtree(prefix, ignore_errors=True)
        install(prefix, kept=str(kept))
    assert ran(prefix) == 2


def test_what_is_damaged_is_installed_anew(install: Any, tmp_path: Path, kept: Path) -> None:
    prefix = tmp_path / "opt"
    install(prefix, kept=str(kept))
    first = tree(prefix)
    (package,) = kept.iterdir()
    whole = package.read_bytes()
    package.write_bytes(whole[: len(whole) // 2])
    shutil.rmtree(prefix)
    install(prefix, kept=str(kept))
    assert {name: each[3] for name, each in tree(prefix).items()} == {
        name: each[3] for name, each in first.items()
    }
    assert ran(prefix) == 2
    shutil.rmtree(prefix)
    install(prefix, kept=str(kept))
    assert ran(prefix) == 2


def test_a_program_that_fails_keeps_nothing(install: Any, tmp_path: Path, kept: Path) -> None:
    told = install(tmp_path / "opt", step="raise SystemExit('no strip')", kept=str(kept))
    assert told["failed"]
    assert "no strip" in told["msg"]
    assert not list(kept.iterdir())
