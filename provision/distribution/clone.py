"""More copies of a pulled appliance on this host: a classroom on one machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from provision.distribution import manifest, seats
from provision.distribution.installed import Installed
from provision.distribution.pull import SETTINGS, settings_text
from provision.distribution.seats import Seat
from provision.errors import UsageError
from provision.files import write_whole
from provision.machine.hypervisor import VirtualMachine
from provision.progress import step


@dataclass(frozen=True)
class Clone:
    """One copy.

    Args:
        name: its VM.
        ports: its host ports by the name of the forward.
        settings: its own appliance.yml.
    """

    name: str
    ports: Mapping[str, int]
    settings: Path


def clone(
    source: Installed,
    count: int,
    *,
    linked: bool,
    pattern: str = seats.PATTERN,
    known: Mapping[int, Seat] | None = None,
) -> list[Clone]:
    """Make copies 1 to ``count`` of the published appliance; those that are there already stay.

    Each boots for the first time, so each gets its own machine-id, host keys and passwords; the
    ports of copy N are N above those of the source, unless the seat file has others.

    Args:
        source: the appliance to copy, as it was published.
        count: how many.
        linked: share the source's untouched images, which takes almost no room.
        pattern: of the names.
        known: seats from a seat file, by number.

    Raises:
        UsageError: two copies would have one name or one port.
    """
    config = source.machine.config
    bases, version = source.bases(), source.version() or ""
    planned = [
        _plan(source, number, pattern, (known or {}).get(number, Seat(number)))
        for number in range(1, count + 1)
    ]
    _check(planned)
    made = []
    for seat, machine in planned:
        copy = Installed(machine)
        settings = machine.folder / SETTINGS
        if machine.find() is None:
            with step(f"clone {config.name} to {machine.config.name}"):
                own = dict(bases)
                if not linked:
                    for port, base in bases.items():
                        own[port] = copy.image(version, base.stem)
                        own[port].unlink(missing_ok=True)
                        machine.copy(base, own[port])
                machine.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                write_whole(settings, settings_text(machine.config).encode())
                copy.make(own, version, seat.mac or seats.mac(machine.config.name))
        forwards = machine.config.network.forwards
        ports = {name: forward.host for name, forward in forwards.items()}
        made.append(Clone(machine.config.name, ports, settings))
    return made


def _plan(source: Installed, number: int, pattern: str, seat: Seat) -> tuple[Seat, VirtualMachine]:
    config = source.machine.config
    forwards = config.network.forwards
    ports = {name: forward.host + number for name, forward in forwards.items()}
    name = manifest.checked_name(seat.name or seats.seat_name(pattern, config.name, number))
    seat = Seat(number, name, seat.address, seat.mac, seat.settings, {**ports, **seat.ports})
    own = seats.seat_config(manifest.definition(config), seat, name)
    folder = source.machine.folder.with_name(name)
    return seat, source.machine.hypervisor.machine(own, folder, source.machine.key)


def _check(planned: list[tuple[Seat, VirtualMachine]]) -> None:
    names: set[str] = set()
    ports: dict[int, str] = {}
    for _, machine in planned:
        name = machine.config.name
        if name in names:
            raise UsageError(
                f"two copies would be named {name!r}", hint="put {seat} into the pattern"
            )
        names.add(name)
        for forward in machine.config.network.forwards.values():
            if ports.setdefault(forward.host, name) != name:
                raise UsageError(
                    f"{name!r} and {ports[forward.host]!r} would share port {forward.host}",
                    hint="give the forwards of the source ports that are further apart",
                )
