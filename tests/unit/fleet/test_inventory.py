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
        ("all: {hosts: [a, b]}\n", "hosts of the group 'all' is not a mapping"),
        ("all: {hosts: a}\n", "hosts of the group 'all' is not a mapping"),
        ("all: {hosts: {a: [b]}}\n", "the host 'a' is not a mapping"),
        ("all: {hosts: {a: 5}}\n", "the host 'a' is not a mapping"),
        ("all: {children: [x]}\n", "children of the group 'all' is not a mapping"),
        ("all: {children: {x: [y]}}\n", "the group 'x' is not a mapping"),
        ("all: {vars: [x]}\n", "vars of the group 'all' is not a mapping"),
        ("all: &a {children: {all: *a}}\n", "is in itself"),
        ("all: {hosts: {a: {ansible_port: null}}}\n", "ansible_port is empty"),
        ("all: {hosts: {a: {ansible_port: }}}\n", "ansible_port is empty"),
        ("all: {hosts: {a: {ansible_port: true}}}\n", "ansible_port is True"),
        ("all: {hosts: {a: {ansible_port: 0}}}\n", "ansible_port is 0"),
        ("all: {hosts: {a: {ansible_port: -1}}}\n", "ansible_port is -1"),
        ("all: {hosts: {a: {ansible_port: 22.5}}}\n", "ansible_port is 22.5"),
        ("all: {hosts: {a: {ansible_port: 65536}}}\n", "ansible_port is 65536"),
        ("all: {hosts: {a: {ansible_port: [22]}}}\n", "ansible_port is "),
        ("all: {hosts: {a: {appliance_tags: 5}}}\n", "appliance_tags is 5, not a list"),
        ("all: {hosts: {a: {appliance_tags: {x: y}}}}\n", "appliance_tags is "),
        ("all: {hosts: {a: {appliance_tags: [[x]]}}}\n", "appliance_tags is "),
        ("all: {hosts: {a: {appliance_tags: null}}}\n", "appliance_tags is empty"),
        ("all: {hosts: {a: {ansible_host: null}}}\n", "ansible_host is empty"),
        ("all: {hosts: {a: {ansible_user: [x]}}}\n", "ansible_user is "),
        ("all: {hosts: {a: {appliance_url: {}}}}\n", "appliance_url is "),
        ("all: {vars: {ansible_port: null}, hosts: {a: {}}}\n", "ansible_port is empty"),
        ("all: {hosts: {a: !vault x}}\n", "fleet.yml"),
        ("all: {hosts: {a: {}, a: {}}}\n", "given twice"),
        ("all:\n\thosts: {}\n", "a tab in the indentation"),
        ("\x00", "fleet.yml"),
    ],
)
def test_bad_files_are_told(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "fleet.yml"
    path.write_text(text)
    with pytest.raises(UsageError, match=told) as caught:
        inventory.read(path)
    assert str(path) in str(caught.value)


def test_what_is_wrong_is_drawn_below_the_users_own_line(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yml"
    path.write_text("all:\n  hosts:\n    sage-01:\n      ansible_port: 22x\n")
    with pytest.raises(UsageError) as caught:
        inventory.read(path)
    assert str(caught.value) == (
        f"{path}:4:21: host sage-01: ansible_port is '22x', not a number from 1 to 65535\n"
        "  4 |       ansible_port: 22x\n"
        "    |                     ^^^ ansible_port: 22"
    )


def test_what_ansible_knows_is_read(tmp_path: Path) -> None:
    """IPv6 as YAML 1.2 has it, aliases and merged keys, names and words that are numbers."""
    path = tmp_path / "fleet.yml"
    path.write_text(
        "all:\n  vars: &ours {ansible_port: '2222', appliance_tags: [7, b]}\n  children:\n"
        "    east: {hosts: {a: {ansible_host: 2001:db8::5}, 12: {<<: *ours, ansible_port: 23}}}\n"
        "    west: {hosts: {a: , b: {appliance_tags: 'x, y,'}}}\n    none:\n"
    )
    hosts = inventory.read(path).hosts
    assert {name: each.port for name, each in hosts.items()} == {"a": 2222, "12": 23, "b": 2222}
    assert (hosts["a"].address, hosts["a"].groups) == ("2001:db8::5", ("east", "west"))
    assert (hosts["a"].tags, hosts["b"].tags) == (("7", "b"), ("x", "y"))


def test_no_reader_depends_on_what_else_is_installed() -> None:
    """With ruamel.yaml.clib, a loader that is not pure reads another grammar."""
    for path in (Path(inventory.__file__).parents[1]).rglob("*.py"):
        assert 'YAML(typ="safe")' not in path.read_text(), path
