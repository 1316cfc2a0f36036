import tomllib
from pathlib import Path

from provision.cli import appliance
from provision.cli._manual import page

ROOT = Path(__file__).parents[3]


def test_the_manual_page_has_every_verb_and_is_up_to_date() -> None:
    committed = (ROOT / "docs/appliance.1").read_text()
    renew = "renew it: python -m provision.cli._manual > docs/appliance.1"
    assert committed == page(), renew
    for verb in appliance.list_commands(None):  # type: ignore[arg-type]
        assert f"appliance {verb}".replace("-", "\\-") in committed


def test_a_release_has_a_version_and_the_wheel_its_author() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    newest = (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1].splitlines()[0]
    assert newest.split()[0] == project["version"]
    assert project["authors"]
