from pathlib import Path

import pytest

from provision.config.languages import PYTHON_PACKAGES, SAGE_PACKAGES, Kernels, Python, Sage
from provision.config.model import Config
from provision.config.rules import check
from provision.config.wheels import normalize, pins

ROLES = Path(__file__).parents[3] / "playbooks/roles"
LOCK = "# ours\nnumpy==2.5.5 \\\n    --hash=sha256:00\n    # via x==1\nSome_Package==1.0 ; x\n"


def told(config: Config) -> list[str]:
    return [f"{'.'.join(map(str, each.key))}: {each.message}" for each in check(config)]


def python(*packages: str, lock: Path | None = None) -> Config:
    return Config(kernels=Kernels(python=Python(packages=packages, lock=lock)))


def test_a_list_is_read_as_pip_reads_it() -> None:
    assert pins(LOCK) == {"numpy": "2.5.5", "some-package": "1.0"}
    assert normalize("Some._Package") == "some-package"


def test_the_tested_lists_have_what_is_the_default() -> None:
    for packages, file in (
        (PYTHON_PACKAGES, "kernels/files/python.lock"),
        (SAGE_PACKAGES, "sage/files/passagemath-10.8.lock"),
    ):
        text = (ROLES / file).read_text()
        assert set(packages) <= set(pins(text))
        assert text.count("--hash=sha256:") >= len(pins(text))
    assert told(Config()) == []
    assert told(python()) == []


@pytest.mark.parametrize("packages", [("seaborn",), ("numpy",), ("numpy==2.0.0",)])
def test_what_the_tested_list_does_not_say_needs_a_list(packages: tuple[str, ...]) -> None:
    assert all(each.startswith("kernels.python.packages: ") for each in told(python(*packages)))
    assert told(python(*packages))


def test_a_list_of_ones_own_must_have_the_packages(tmp_path: Path) -> None:
    lock = tmp_path / "python.lock"
    lock.write_text(LOCK)
    assert told(python("numpy", "some.package==1.0", lock=lock)) == []
    (missing,) = told(python("numpy", "pandas", lock=lock))
    assert "pandas" in missing and str(lock) in missing
    (other,) = told(python("numpy==2.0.0", lock=lock))
    assert "2.5.5" in other


def test_sage_from_elsewhere_has_no_list() -> None:
    sage = Sage(source="none", packages=("seaborn",))
    assert any(each.startswith("sage.packages: ") for each in told(Config(sage=sage)))
    (wanted,) = told(Config(sage=Sage(packages=("pandas", "seaborn"))))
    assert "seaborn" in wanted
