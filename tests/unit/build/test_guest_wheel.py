"""The guest's half as a wheel."""

import tomllib

from provision import resources
from provision.build import guest_wheel


def test_both_halves_have_one_version() -> None:
    package = resources.PACKAGE
    of = {
        tomllib.loads((place / "pyproject.toml").read_text())["project"]["version"]
        for place in (package.parent, package / "guest")
    }
    assert len(of) == 1


def test_it_is_made_of_the_guests_half_and_of_what_both_share() -> None:
    package = resources.PACKAGE
    found = {path.relative_to(package).as_posix() for path in guest_wheel.files()}
    assert {"__init__.py", "waiting.py", "guest/pool/proxy.js", "guest/pyproject.toml"} <= found
    assert {name for name in found if "/" in name and not name.startswith("guest/")} == set()
