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

from provision.config.problems import Key
from provision.errors import UsageError
from provision.fleet.reading import DEEPEST, HostEntry, Told, Variables, Written, load
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
                f"{self.path} names no appliance",
                hint="appliance fleet add NAME ADDRESS, or --local for the VMs of this host",
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
    tree, written = load(path)
    hosts: dict[str, HostEntry] = {}
    for group, content in written.mapping((), tree, "not an inventory: its top", TOP).items():
        _walk(written, (group,), content, {}, hosts)
    return Inventory(path, {name: _host(written, name, found) for name, found in hosts.items()})


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
    written = Written(path)
    return tuple(
        _host(written, name, HostEntry(_locate((name,), variables[name]), groups.get(name, [])))
        for name in variables
    )


TOP = "its top is the group `all`"
GROUP = "hosts, children and vars, each a mapping"


def _walk(
    written: Written, at: Key, content: Any, inherited: Variables, hosts: dict[str, HostEntry]
) -> None:
    """Collect the hosts of a group, whose key is ``at``, and of those below it."""
    name = str(at[-1])
    if len(at) > DEEPEST:
        written.refuse(at, f"the group {name!r} is in itself", "leave the circle out")
    group = written.mapping(at, content, f"the group {name!r}", GROUP)
    if unknown := sorted(set(group) - {"hosts", "children", "vars"}):
        told = f"the group {name!r} has {unknown[0]!r}, which is none of hosts, children, vars"
        written.refuse((*at, unknown[0]), told, GROUP)

    def part(key: str, mend: str) -> Mapping[str, Any]:
        return written.mapping((*at, key), group.get(key), f"{key} of the group {name!r}", mend)

    own = {**inherited, **_locate((*at, "vars"), part("vars", "vars: {NAME: VALUE}"))}
    for host, variables in part("hosts", "hosts: {NAME: {ansible_host: ADDRESS}}").items():
        key = (*at, "hosts", host)
        given = written.mapping(key, variables, f"the host {host!r}", "{ansible_host: ADDRESS}")
        known = hosts.setdefault(host, HostEntry())
        known.variables = {**own, **known.variables, **_locate(key, given)}
        known.groups.append(name)
    for child, below in part("children", "children: {GROUP: {hosts: {}}}").items():
        _walk(written, (*at, "children", child), below, own, hosts)


def _locate(at: Key, variables: Mapping[str, Any]) -> Variables:
    return {name: (value, (*at, name)) for name, value in variables.items()}


def _host(written: Written, name: str, found: HostEntry) -> Host:
    told = Told(written, name, found.variables)
    address = told.word("ansible_host", name)
    groups = [group for group in found.groups if group not in ("all", UNGROUPED)]
    return Host(
        name=name,
        address=address,
        port=told.port("ansible_port", 22),
        user=told.word("ansible_user", "sageadm"),
        key=Path(told.word("ansible_ssh_private_key_file", "~/.ssh/id_ed25519")).expanduser(),
        url=told.word("appliance_url", f"https://{address}:8000"),
        groups=tuple(dict.fromkeys(groups)),
        tags=told.words("appliance_tags"),
        room=told.word("appliance_room", ""),
    )


def _means(host: Host, word: str) -> bool:
    return word in (host.name, "all", *host.groups, *host.tags)
