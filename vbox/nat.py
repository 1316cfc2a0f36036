"""Port forwards of VirtualBox's NAT: set, checked before and after the start, migrated from 2008.

VirtualBox starts a machine whose host port is taken as if nothing were wrong; only its log tells.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from vbox import extradata, machine, ports
from vbox.errors import PortTakenError, VBoxError
from vbox.machine import Machine
from vbox.runner import VBoxManage

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Forward:
    """A port of this host that leads into the guest.

    Args:
        name: unique within the adapter.
        host_port: port on this host.
        guest_port: port in the guest.
        host_ip: address of this host to listen on; empty for all of them.
        guest_ip: address in the guest; empty for the one that NAT gave it.
        protocol: tcp or udp.
    """

    name: str
    host_port: int
    guest_port: int
    host_ip: str = LOOPBACK
    guest_ip: str = ""
    protocol: str = "tcp"

    def rule(self) -> str:
        """As VBoxManage's ``--natpf`` wants it."""
        if "," in self.name:
            raise VBoxError(f"the forward's name {self.name!r} has a comma")
        return ",".join(
            (self.name, self.protocol, self.host_ip, str(self.host_port),
             self.guest_ip, str(self.guest_port))
        )  # fmt: skip


def read_forwards(looked: Machine, adapter: int = 1) -> tuple[Forward, ...]:
    """Read the forwards of a network adapter (from 1) out of a machine's listing."""
    found = []
    for key, value in _of_adapter(looked, adapter):
        if re.fullmatch(r"Forwarding\(\d+\)", key):
            name, protocol, host_ip, host, guest_ip, guest = value.rsplit(",", 5)
            found.append(Forward(name, int(host), int(guest), host_ip, guest_ip, protocol))
    return tuple(found)


def reaches_host(looked: Machine, adapter: int = 1) -> bool:
    """Whether the guest reaches this host's own loopback, at NAT's gateway (10.0.2.2)."""
    return ("localhostReachable", "1") in _of_adapter(looked, adapter)


def _of_adapter(looked: Machine, adapter: int) -> Iterator[tuple[str, str]]:
    """What a listing tells of an adapter, from its ``nic`` on."""
    here = 0
    for key, value in looked.listing:
        if nic := re.fullmatch(r"nic(\d)", key):
            here = int(nic[1])
        elif here == adapter:
            yield key, value


def ensure(
    manage: VBoxManage, looked: Machine, wanted: Iterable[Forward], adapter: int = 1
) -> None:
    """Give an adapter of a machine that is off exactly these forwards, and not this host.

    Ask for it before every start: VirtualBox does not write down that the host is out of reach,
    and has forgotten it when its service begins anew.
    """
    wanted = tuple(wanted)
    present = read_forwards(looked, adapter)
    changes: list[str] = []
    if reaches_host(looked, adapter):
        changes.append(f"--nat-localhostreachable{adapter}=off")
    for forward in present:
        if forward not in wanted:
            changes += [f"--natpf{adapter}", "delete", forward.name]
    for forward in wanted:
        if forward not in present:
            changes += [f"--natpf{adapter}", forward.rule()]
    if changes:
        manage.run("modifyvm", looked.uuid, *changes)


def check(forwards: Iterable[Forward]) -> None:
    """Before the start: every host port must be free.

    Raises:
        PortTakenError: the first that is not, with its holder.
    """
    for forward in forwards:
        if not ports.free(forward.host_ip, forward.host_port, forward.protocol):
            raise _refusal(forward)


def correct(forwards: Iterable[Forward]) -> tuple[Forward, ...]:
    """Move each forward whose host port is taken to the next free one.

    Raises:
        PortTakenError: no free port is near.
    """
    result: list[Forward] = []
    for forward in forwards:
        given = {(each.protocol, each.host_port) for each in result}
        port: int | None = forward.host_port
        while port is not None and (
            (forward.protocol, port) in given
            or not ports.free(forward.host_ip, port, forward.protocol)
        ):
            port = ports.next_free(forward.host_ip, port, forward.protocol)
        if port is None:
            raise _refusal(forward)
        result.append(replace(forward, host_port=port))
    return tuple(result)


def failures(log: str, forwards: Iterable[Forward]) -> tuple[Forward, ...]:
    """After the start: which forwards does this VBox.log say that VirtualBox could not set up?"""
    ended = {
        (int(host), int(guest))
        for host, guest in re.findall(r"failed to set up redirection of (\d+) to (\d+)", log)
    }
    return tuple(each for each in forwards if (each.host_port, each.guest_port) in ended)


def verify(running: Machine) -> None:
    """After the start: the machine's log must not say that a forward failed.

    Raises:
        PortTakenError: one did; the machine runs, but cannot be reached there.
    """
    log = running.log.read_text(errors="replace")
    for forward in failures(log, read_forwards(running)):
        raise _refusal(forward)


def _refusal(forward: Forward) -> PortTakenError:
    holder = ports.holder(forward.host_port, forward.protocol)
    return PortTakenError(
        f"port {forward.host_port} of this host, wanted for {forward.name!r}, is held by {holder}",
        port=forward.host_port,
        holder=holder,
        hint=f"stop it, or give {forward.name!r} another host port",
    )


_LEGACY = re.compile(
    r"VBoxInternal/Devices/(?P<device>[^/]+)/(?P<instance>\d+)/LUN#0/Config/(?P<name>[^/]+)/"
    r"(?P<key>HostPort|GuestPort|Protocol|HostIP|GuestIP)"
)


@dataclass(frozen=True)
class Legacy:
    """A forward in the extra data, as appliances of 2008 had it, before VirtualBox knew natpf.

    Args:
        forward: what it asks for; such a forward was open to every address.
        adapter: the network adapter, from 1.
        keys: its keys in the extra data.
    """

    forward: Forward
    adapter: int
    keys: tuple[str, ...]


def legacy(data: dict[str, str]) -> tuple[Legacy, ...]:
    """Recognise 2008-style forwards among a machine's extra data; incomplete ones are left out."""
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for key in data:
        if found := _LEGACY.fullmatch(key):
            groups.setdefault((found["instance"], found["name"]), {})[found["key"]] = key
    result = []
    for (instance, name), keys in groups.items():
        values = {part: data[key] for part, key in keys.items()}
        if not (values.get("HostPort", "").isdigit() and values.get("GuestPort", "").isdigit()):
            continue
        forward = Forward(
            name,
            int(values["HostPort"]),
            int(values["GuestPort"]),
            values.get("HostIP", ""),
            values.get("GuestIP", ""),
            values.get("Protocol", "TCP").lower(),
        )
        result.append(Legacy(forward, int(instance) + 1, tuple(keys.values())))
    return tuple(result)


def migrate(manage: VBoxManage, looked: Machine) -> tuple[Forward, ...]:
    """Turn the 2008-style forwards of a machine that is off into natpf rules; return those.

    A natpf rule of that name stays as it is. The old keys are removed last, so that an
    interrupted migration is finished by the next.
    """
    moved = []
    for old in legacy(dict(extradata.read(manage, looked.uuid))):
        now = machine.show(manage, looked.uuid)
        if old.forward.name not in {each.name for each in read_forwards(now, old.adapter)}:
            manage.run("modifyvm", looked.uuid, f"--natpf{old.adapter}", old.forward.rule())
        for key in old.keys:
            extradata.write(manage, looked.uuid, key, None)
        moved.append(old.forward)
    return tuple(moved)
