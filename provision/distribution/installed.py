"""A published appliance as a VM: untouched images below, differencing images that take all writes.

Each version has a directory with its untouched images and the differencing ones on top of them. So
an update, a rollback and a reset are each one exchange of the medium in a slot, which VirtualBox
does in one step; the untouched image is where the next version takes most of its chunks from; and
any number of linked clones share it. What is installed is kept in the VM's own extra data.
"""

import contextlib
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from provision.distribution.manifest import Manifest, PublishedDisk
from provision.errors import ApplianceError, HypervisorError
from provision.machine.hypervisor import (
    PUBLISHED,
    ROOT_PORT,
    Found,
    Hypervisor,
    VirtualMachine,
    refuse_snapshots,
)
from provision.progress import step
from provision.waiting import until

if TYPE_CHECKING:
    from provision.config import Config

PREVIOUS, RESETS = "appliance/previous", "appliance/resets"
CREDENTIAL = "appliance.seat"  # what the guest's systemd reads at boot
_POLL_SECONDS = 1.0
_NAMESPACE = uuid.UUID("0d4cbb2e-2f5e-5a3c-8c0d-3f6a2f9f4c11")


@dataclass(frozen=True)
class Installed:
    """The appliance of one seat.

    Args:
        machine: its VM, defined or not.
    """

    machine: VirtualMachine

    @property
    def versions(self) -> Path:
        """A directory for each version that is here."""
        return self.machine.folder / "versions"

    def image(self, version: str, disk: str) -> Path:
        """The untouched image of a disk."""
        return self.versions / version / f"{disk}.vdi"

    def identity(self, version: str, disk: str) -> uuid.UUID:
        """The UUID of an untouched image; the same each time it is made here."""
        return uuid.uuid5(_NAMESPACE, f"{self.machine.folder}/{version}/{disk}")

    def version(self) -> str | None:
        """The version that is installed; None: no VM, or not one that was pulled."""
        if version := recorded_version(self.machine.hypervisor, self.machine.config.name):
            return version
        found = self.machine.find()
        live = self.machine.notes(found).get(PUBLISHED) if found else None
        return Path(live).parent.name if live else None

    def has(self, port: int) -> bool:
        """Whether the VM has a disk in a slot."""
        found = self.machine.find()
        return found is not None and port in found.disks

    def require_off(self, *, patience: float = 0) -> None:
        """Make sure that disks may be exchanged.

        Args:
            patience: seconds to wait for the VM to be shut down.

        Raises:
            HypervisorError: it runs, is saved, or has snapshots.
        """
        found = self.machine.find()
        if found is None:
            return
        name = self.machine.config.name
        if found.running and patience > 0:
            with step(f"wait until {name} is shut down"):
                until(lambda: not self.machine.get().running, patience, pause=_POLL_SECONDS)
                found = self.machine.get()
        if not found.off:
            raise HypervisorError(
                f"the VM {name!r} is {found.state}, so its disks stay as they are",
                hint="shut it down and call this again: nothing that is here is fetched twice;"
                " or let it wait with --timeout SECONDS",
            )
        if found.saved:
            raise HypervisorError(
                f"the VM {name!r} is saved in mid-work, so its disks stay as they are",
                hint="start it and shut it down",
            )
        refuse_snapshots(found)

    def install(self, version: str, disks: Mapping[int, str], *, mac: str) -> None:
        """Make the VM from the untouched images of a version.

        Args:
            version: the version's directory.
            disks: the name of the disk in each slot.
            mac: of its network card, 12 hexadecimal digits.
        """
        self.make({port: self.image(version, disk) for port, disk in disks.items()}, version, mac)

    def make(self, bases: Mapping[int, Path], version: str, mac: str) -> None:
        """Make the VM with a differencing image on each of ``bases``; for a linked clone too."""

        def attach(made: Found) -> None:
            for port, base in bases.items():
                live = self._derive(base, version)
                self.machine.attach(made, port, live)
                if port == ROOT_PORT:
                    self.machine.note(made, PUBLISHED, str(live))
            self._identify(made, mac)

        with step(f"define the VM {self.machine.config.name}"):
            self.machine.make(attach, ports=len(bases))
        self.tidy()

    def switch(self, version: str, disks: Mapping[int, str], *, mac: str) -> None:
        """Exchange the root disk for another version's; every other disk that is there stays.

        Killed anywhere, the VM has either the old root disk or the new one, and the next call
        finishes.

        Args:
            version: the version's directory.
            disks: the name of the disk in each slot.
            mac: as for `install`.
        """
        vm, found = self.machine, self.machine.get()
        with step(f"switch {vm.config.name} to {version}"):
            for port, disk in disks.items():
                if port != ROOT_PORT and port not in found.disks:
                    vm.attach(found, port, self._derive(self.image(version, disk), version))
            live = found.disks.get(ROOT_PORT, Path())
            if live.parent != self.versions / version:  # else we were killed right after this step
                data = vm.notes(found)
                if PUBLISHED in data and data[PUBLISHED] == str(live):
                    vm.note(found, PREVIOUS, data[PUBLISHED])
                live = self._derive(
                    self.image(version, disks[ROOT_PORT]), version, resets=data.get(RESETS) == "on"
                )
                vm.attach(found, ROOT_PORT, live)
            vm.note(found, PUBLISHED, str(live))
            vm.settle(found)
            self._identify(found, mac)
        self.tidy()

    def adjust(self, *, mac: str) -> None:
        """Give the VM what its seat has now: name, address, memory, ports, pool; not its disks."""
        found = self.machine.get()
        with step(f"adjust {found.name}"):
            self.machine.settle(found)
            self._identify(found, mac)

    def _identify(self, found: Found, mac: str) -> None:
        self.machine.identify(found, mac, (CREDENTIAL, seat_credential(self.machine.config)))

    def rollback(self) -> str:
        """Put the last version's root disk back, as it was left; return that version.

        Raises:
            HypervisorError: there is none.
        """
        vm, found = self.machine, self.machine.get()
        data = vm.notes(found)
        last = data.get(PREVIOUS, "")
        if not last or last == data.get(PUBLISHED) or not Path(last).exists():
            raise HypervisorError(f"no earlier version of {found.name!r} is kept here")
        with step(f"roll {found.name} back to {Path(last).parent.name}"):
            vm.attach(found, ROOT_PORT, Path(last))
            vm.note(found, PREVIOUS, data[PUBLISHED])
            vm.note(found, PUBLISHED, last)
        return Path(last).parent.name

    def reset(self, *, clear_home: bool = False) -> None:
        """Bring the root disk, and the users' files if asked, back to what was published.

        Raises:
            HypervisorError: the VM was not pulled.
        """
        vm, found = self.machine, self.machine.get()
        with step(f"reset {found.name}"):
            data = self._publication(found)
            version = Path(data[PUBLISHED]).parent.name
            for port, image in found.disks.items():
                if port != ROOT_PORT and not clear_home:
                    continue
                resets = port == ROOT_PORT and data.get(RESETS) == "on"
                live = self._derive(vm.base_of(image), version, resets=resets)
                vm.attach(found, port, live)
                if port == ROOT_PORT:
                    vm.note(found, PUBLISHED, str(live))
        self.tidy()

    def reset_at_start(self, *, wanted: bool) -> None:
        """Have the root disk go back to what was published at each start of the VM, or not."""
        found = self.machine.get()
        self.machine.reset_at_start(Path(self._publication(found)[PUBLISHED]), wanted=wanted)
        self.machine.note(found, RESETS, "on" if wanted else None)

    def bases(self) -> dict[int, Path]:
        """The untouched image under the disk in each slot.

        Raises:
            HypervisorError: the VM was not pulled.
        """
        found = self.machine.get()
        self._publication(found)
        return {port: self.machine.base_of(image) for port, image in found.disks.items()}

    def tidy(self) -> None:
        """Delete images that neither the VM, its last version nor a linked clone needs."""
        vm, found = self.machine, self.machine.get()
        data = vm.notes(found)
        kept = set(found.disks.values())
        kept |= {Path(data[key]) for key in (PUBLISHED, PREVIOUS) if key in data}
        needed = set()
        for live in kept:
            with contextlib.suppress(ApplianceError):
                needed.add(vm.base_of(live))
        for image in sorted(self.versions.glob("*/*.live.*.vdi")):
            if image not in kept:
                vm.remove(image)
        for image in sorted(self.versions.glob("*/*.vdi")):
            if image not in kept | needed:
                with contextlib.suppress(ApplianceError):  # a linked clone stands on it
                    vm.remove(image)
        for directory in self.versions.iterdir():
            if not any(directory.glob("*.vdi")):
                shutil.rmtree(directory)

    def _derive(self, base: Path, version: str, *, resets: bool = False) -> Path:
        directory = self.versions / version
        directory.mkdir(parents=True, exist_ok=True)
        live = directory / f"{base.stem}.live.{uuid.uuid4().hex[:8]}.vdi"
        self.machine.derive(base, live)
        if resets:
            self.machine.reset_at_start(live, wanted=True)
        return live

    def _publication(self, found: Found) -> Mapping[str, str]:
        data = self.machine.notes(found)
        if PUBLISHED not in data:
            raise HypervisorError(
                f"the VM {found.name!r} was not pulled from a published folder",
                hint="`appliance pull` makes one that can be reset and cloned",
            )
        return data


def seat_credential(config: "Config") -> str:
    """What a guest is told of its seat, at each boot."""
    return f"name={config.name} pool={config.pool.count}"


def recorded_version(hypervisor: Hypervisor, name: str) -> str | None:
    """The version of a whole VM of ours, by one question where `find` has five."""
    live = hypervisor.notes(name).get(PUBLISHED)
    return Path(live).parent.name if live else None


def slots(described: Manifest) -> dict[int, PublishedDisk]:
    """Which disk goes into which slot."""
    return dict(enumerate(described.disks))
