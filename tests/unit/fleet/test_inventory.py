from pathlib import Path

import pytest

from provision.errors import UsageError
from provision.fleet import inventory
from provision.fleet.inventory import Host, Inventory


def host(name: str, **more: tuple[str, ...]) -> Host:
    return Host(name, "10.0.0.1", 22, "sageadm", Path("/k"), "https://10.0.0.1:8000", **more)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    hosts = {
        "a": host("a", groups=("room1", "east"), tags=("canary",)),
        "b": host("b", groups=("room2",)),
        "c": host("c"),
    }
    written = Inventory(tmp_path / "fleet.yml", hosts)
    inventory.write(written)
    assert inventory.read(written.path).hosts == hosts


def test_groups_tags_and_names_select(tmp_path: Path) -> None:
    fleet = Inventory(
        tmp_path / "f", {"a": host("a", groups=("east",)), "b": host("b", tags=("new",))}
    )
    assert [each.name for each in fleet.select(["east"])] == ["a"]
    assert [each.name for each in fleet.select(["new"])] == ["b"]
    assert [each.name for each in fleet.select([])] == ["a", "b"]
    with pytest.raises(UsageError, match="no host, group or tag 'west'"):
        fleet.select(["west"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a\n", "not an inventory"),
        ("all: [a]\n", "not a mapping"),
        ("all: {host: {}}\n", "'host', which is none of"),
        ("all: {hosts: {a: {ansible_port: x}}}\n", "ansible_port is 'x'"),
        ("all: {\n", "fleet.yml"),
    ],
)
def test_bad_files_are_told(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "fleet.yml"
    path.write_text(text)
    with pytest.raises(UsageError, match=told):
        inventory.read(path)
