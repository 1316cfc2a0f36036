"""The fleet's inventory: YAML as Ansible has it, so that plain ``ansible`` reads it too.

Our own facts of a host are variables: ``appliance_url`` (where its notebook is seen from here),
``appliance_tags`` and ``appliance_room`` (where others of its room reach its SSH server). Host keys
are pinned in ``known_hosts`` beside the inventory.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import platformdirs
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from provision.errors import UsageError
from provision.machine import SshEndpoint
from provision.process import CommandFailedError, run

UNGROUPED = "ungrouped"
VARIABLE = "APPLIANCE_FLEET"


@dataclass(frozen=True)
class Host:
    """One appliance.

    Args:
        name: in the inventory.
        address: name or address as seen from this host.
        port: of its SSH server.
        user: its administrator.
        key: the administrator's private key.
        url: where its notebook answers, as seen from this host.
        groups: of the inventory.
        tags: free words.
        room: ``ADDRESS:PORT`` by which the others of its room reach its SSH server, where that
            is not as from here.
        run: the run that has the appliance now (`lease`); of this process, never of the file.
    """

    name: str
    address: str
    port: int
    user: str
    key: Path
    url: str
    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    room: str = ""
    run: str = ""

    def endpoint(self, known_hosts: Path) -> SshEndpoint:
        """Where and how to reach it."""
        return SshEndpoint(self.address, self.port, self.user, self.key, known_hosts)


@dataclass(frozen=True)
class Inventory:
    """The hosts of a file.

    Args:
        path: the file; it need not exist.
        hosts: by name.
    """

    path: Path
    hosts: Mapping[str, Host]

    @property
    def known_hosts(self) -> Path:
        """The pinned host keys."""
        return self.path.parent / "known_hosts"

    def select(self, words: Sequence[str]) -> tuple[Host, ...]:
        """The hosts that names, groups or tags mean; all without a word.

        Raises:
            UsageError: a word means none, or the inventory is empty.
        """
        if not self.hosts:
            raise UsageError(
                f"{self.path} names no appliance", hint="appliance fleet add NAME ADDRESS"
            )
        for word in words:
            if not any(_means(host, word) for host in self.hosts.values()):
                raise UsageError(
                    f"no host, group or tag {word!r} in {self.path}", hint="appliance fleet list"
                )
        return tuple(
            host
            for host in self.hosts.values()
            if not words or any(_means(host, word) for word in words)
        )


def default_path() -> Path:
    """The inventory that verbs use unless told otherwise."""
    told = os.environ.get(VARIABLE)
    return Path(told) if told else Path(platformdirs.user_config_dir("appliance")) / "fleet.yml"


def read(path: Path) -> Inventory:
    """Read our inventory; a missing file is an empty one.

    Raises:
        UsageError: it is no inventory; the message says where.
    """
    try:
        tree = YAML(typ="safe").load(path.read_text()) or {}
    except FileNotFoundError:
        tree = {}
    except (OSError, YAMLError) as error:
        raise UsageError(f"{path}: {error}") from error
    hosts: dict[str, dict[str, Any]] = {}
    groups: dict[str, list[str]] = {}
    if not isinstance(tree, dict):
        raise UsageError(f"{path}: not an inventory", hint="its top is the group `all`")
    for group, content in tree.items():
        _walk(path, str(group), content, ({}, hosts, groups))
    return Inventory(path, {name: _host(path, name, hosts[name], groups[name]) for name in hosts})


def write(inventory: Inventory) -> None:
    """Write an inventory, as a whole."""
    groups: dict[str, Any] = {}
    for host in inventory.hosts.values():
        variables: dict[str, Any] = {
            "ansible_host": host.address,
            "ansible_port": host.port,
            "ansible_user": host.user,
            "ansible_ssh_private_key_file": str(host.key),
            "ansible_become": host.user != "root",
            "appliance_url": host.url,
        }
        if host.room:
            variables["appliance_room"] = host.room
        if host.tags:
            variables["appliance_tags"] = list(host.tags)
        first, *more = host.groups or (UNGROUPED,)
        groups.setdefault(first, {}).setdefault("hosts", {})[host.name] = variables
        for group in more:
            groups.setdefault(group, {}).setdefault("hosts", {})[host.name] = {}
    ssh = f"-o UserKnownHostsFile={inventory.known_hosts} -o StrictHostKeyChecking=yes"
    tree = {
        "all": {
            "vars": {
                "ansible_ssh_common_args": ssh,
                "ansible_python_interpreter": "/usr/bin/python3",
            },
            "children": groups,
        }
    }
    inventory.path.parent.mkdir(parents=True, exist_ok=True)
    fresh = inventory.path.with_name(f".{inventory.path.name}.new")
    yaml = YAML()
    yaml.width = 1000
    with fresh.open("w") as file:
        file.write("# The fleet, for `appliance` and for `ansible -i`.\n")
        yaml.dump(tree, file)
    fresh.replace(inventory.path)


def with_host(inventory: Inventory, host: Host) -> Inventory:
    """The inventory with a host added or replaced."""
    return replace(inventory, hosts={**inventory.hosts, host.name: host})


def without(inventory: Inventory, names: Iterable[str]) -> Inventory:
    """The inventory without some hosts."""
    gone = set(names)
    return replace(
        inventory, hosts={n: host for n, host in inventory.hosts.items() if n not in gone}
    )


def from_ansible(path: Path) -> tuple[Host, ...]:
    """The hosts of any inventory that Ansible reads, by Ansible itself.

    Raises:
        UsageError: Ansible cannot read it.
    """
    if not path.exists():
        raise UsageError(f"there is no {path}")
    try:
        told = run([sys.executable, "-m", "ansible", "inventory", "-i", str(path), "--list"])
    except CommandFailedError as error:
        raise UsageError(f"Ansible cannot read {path}: {error.tail}") from error
    tree = json.loads(told)
    variables: dict[str, dict[str, Any]] = tree.pop("_meta")["hostvars"]
    groups: dict[str, list[str]] = {}
    for group, content in tree.items():
        for name in content.get("hosts", ()):
            variables.setdefault(name, {})
            groups.setdefault(name, []).append(group)
    return tuple(_host(path, name, variables[name], groups.get(name, [])) for name in variables)


Variables = dict[str, Any]


def _walk(
    path: Path,
    group: str,
    content: Any,
    found: tuple[Variables, dict[str, Variables], dict[str, list[str]]],
) -> None:
    """Collect a group's hosts; ``found``: variables so far, those of each host, its groups."""
    inherited, hosts, groups = found
    if content is None:
        return
    if not isinstance(content, dict):
        raise UsageError(f"{path}: the group {group!r} is not a mapping")
    if unknown := set(content) - {"hosts", "children", "vars"}:
        raise UsageError(
            f"{path}: the group {group!r} has {sorted(unknown)[0]!r}, which is none of"
            " hosts, children, vars"
        )
    own = {**inherited, **(content.get("vars") or {})}
    for name, variables in (content.get("hosts") or {}).items():
        hosts[str(name)] = {**own, **hosts.get(str(name), {}), **(variables or {})}
        groups.setdefault(str(name), []).append(group)
    for child, below in (content.get("children") or {}).items():
        _walk(path, str(child), below, (own, hosts, groups))


def _host(path: Path, name: str, variables: Mapping[str, Any], groups: Sequence[str]) -> Host:
    address = str(variables.get("ansible_host", name))
    try:
        port = int(variables.get("ansible_port", 22))
    except ValueError:
        raise UsageError(
            f"{path}: host {name}: ansible_port is {variables['ansible_port']!r}, not a number"
        ) from None
    tags = variables.get("appliance_tags") or ()
    key = variables.get("ansible_ssh_private_key_file", "~/.ssh/id_ed25519")
    return Host(
        name=name,
        address=address,
        port=port,
        user=str(variables.get("ansible_user", "sageadm")),
        key=Path(str(key)).expanduser(),
        url=str(variables.get("appliance_url", f"https://{address}:8000")),
        groups=tuple(dict.fromkeys(g for g in groups if g not in ("all", UNGROUPED))),
        tags=tuple(tags.split(",") if isinstance(tags, str) else map(str, tags)),
        room=str(variables.get("appliance_room", "")),
    )


def _means(host: Host, word: str) -> bool:
    return word in (host.name, "all", *host.groups, *host.tags)
