"""Boot an appliance's disks, gather every section of facts, judge every promise."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from provision import temporary
from provision.config import Config
from provision.config.architectures import require_host
from provision.config.capacity import needed_memory, system_memory
from provision.machine import Machine, SshEndpoint
from provision.machine.nspawn import NspawnMachine
from provision.machine.ports import free_port
from provision.machine.qemu import QemuMachine
from provision.machine.ssh import connect
from provision.progress import step
from provision.verify import disks as images
from provision.verify.checks.access import promised_ports, wanted_ports
from provision.verify.image import look
from provision.verify.registry import CheckRow, Facts, Guest, collectors, judge

MEMORY = 2 << 30  # bytes; enough for most checks, and small beside the host's


@dataclass(frozen=True)
class Report:
    """What `verify` found.

    Args:
        rows: the verdict on every promise, in order.
        facts: what was seen, by section.
    """

    rows: tuple[CheckRow, ...]
    facts: dict[str, Facts]

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the promises that do not hold."""
        return tuple(row.name for row in self.rows if row.result == "failed")


def verify(config: Config, source: Path | Sequence[Path], *, fast: bool = False) -> Report:
    """Check every promise of a built appliance. Nothing of it is changed.

    Args:
        config: what it was built from.
        source: an OVA, or its disk images with the root disk first.
        fast: boot the disks' content in nspawn, which takes seconds but sees neither the boot
            nor the disks.

    Raises:
        UsageError: the OVA has no disks.
        HostNotReadyError: a tool is missing, or ``fast`` without root or on a host of another
            architecture.
        HypervisorError: the guest did not boot.
        GuestError: the guest did not let us in.
    """
    if fast:
        require_host(config.architecture, config.name)
    place = user_cache_path("appliance") / "verify"
    place.mkdir(parents=True, exist_ok=True)
    temporary.sweep(place)
    with temporary.directory(place) as directory:
        disks = _raw(source, directory)
        with step("look into the disk images"):
            sections: dict[str, Facts] = {"image": look(disks)}
        sections |= _in_nspawn(config, disks, directory) if fast else _in_qemu(config, disks)
    return Report(tuple(judge(config, sections)), sections)


def _raw(source: Path | Sequence[Path], directory: Path) -> list[Path]:
    if isinstance(source, Path):
        return images.from_ova(source, directory)
    return [images.as_raw(disk, directory / f"{n}.raw") for n, disk in enumerate(source)]


def _in_qemu(config: Config, disks: Sequence[Path]) -> dict[str, Facts]:
    admin = config.admin.user
    # One session has to reach its own limit before the machine reaches its.
    memory = min(
        max(MEMORY, needed_memory(1, config.pool.limits.memory, system_memory(config))),
        config.memory,
    )
    forwards = dict.fromkeys(wanted_ports(config), 0)
    arch = config.architecture
    with QemuMachine(disks, user=admin, forwards=forwards, memory=memory, arch=arch) as machine:
        with step("first boot"):
            endpoint = machine.start()
        sections = _gather(config, machine, endpoint, fast=False)
    first = sections["inside"]
    with QemuMachine(disks[:1], user=admin, memory=memory, arch=arch) as machine:
        with step("first boot of another copy, without its /home disk"):
            endpoint = machine.start()
        with _guest(config, machine, endpoint) as guest:
            second = _identity(guest)
    return {
        **sections,
        "mounts": first,
        **({"notebook_limits": sections["notebook"]} if "notebook" in sections else {}),
        "copies": {"first": first, "second": second},
        "without_home": {"first": first, "second": second},
    }


def _in_nspawn(config: Config, disks: Sequence[Path], directory: Path) -> dict[str, Facts]:
    tree = directory / "tree"
    with step("copy the files of the disks"):
        images.to_tree(disks, tree)

    @contextlib.contextmanager
    def booting(name: str) -> Iterator[tuple[Machine, SshEndpoint]]:
        forwards = {port: free_port() for port in promised_ports(config)}
        with NspawnMachine(
            [tree], directory / name, user=config.admin.user, forwards=forwards
        ) as machine:
            with step(f"first boot of the {name}"):
                endpoint = machine.start()
            yield machine, endpoint

    with booting("copy") as (machine, endpoint):
        sections = _gather(config, machine, endpoint, fast=True)
    with booting("other copy") as (machine, endpoint), _guest(config, machine, endpoint) as guest:
        second = _identity(guest)
    return {**sections, "copies": {"first": sections["inside"], "second": second}}


def _gather(
    config: Config, machine: Machine, endpoint: SshEndpoint, *, fast: bool
) -> dict[str, Facts]:
    sections: dict[str, Facts] = {}
    with _guest(config, machine, endpoint) as guest:
        for collector in collectors(fast=fast):
            with step(f"gather facts: {collector.section}"):
                if (facts := collector.gather(guest)) is not None:
                    sections[collector.section] = facts
    return sections


@contextlib.contextmanager
def _guest(config: Config, machine: Machine, endpoint: SshEndpoint) -> Iterator[Guest]:
    with contextlib.closing(connect(endpoint)) as client:
        yield Guest(config, machine, endpoint, client)


def _identity(guest: Guest) -> Facts:
    return guest.script("facts", part="identity", admin=guest.config.admin.user)
