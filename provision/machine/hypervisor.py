"""What seats and operators need of the hypervisor that has the appliance as a VM.

VirtualBox (`virtualbox`) is the first. Another one is a module that has what is here, and a word in
`of_this_host`. All of it raises HypervisorError, or HostNotReadyError where the host is the cause.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from provision.errors import HypervisorError
from provision.machine import Machine, SshEndpoint

if TYPE_CHECKING:
    from provision.config import Config
    from vbox.nat import Forward  # plain values, as any hypervisor has them
    from vbox.snapshot import Snapshot

ROOT_PORT = 0  # the slot of the root disk
PUBLISHED = "appliance/published"  # kept with a VM that was pulled: its root disk's image
BOOT_SECONDS = 300.0
SHUTDOWN_SECONDS = 90.0


class Found(Protocol):
    """A VM as it was when we looked."""

    @property
    def uuid(self) -> str:
        """Its identity; names may come twice."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def state(self) -> str:
        """The hypervisor's own word: poweroff, running, saved, aborted, ..."""

    @property
    def running(self) -> bool:
        """Whether it uses its disks."""

    @property
    def off(self) -> bool:
        """Whether its disks are free; what is neither is in between."""

    @property
    def saved(self) -> bool:
        """Whether it is off in mid-work, so that its disks may not change."""

    @property
    def has_snapshots(self) -> bool:
        """Whether snapshots hold on to its disks."""

    @property
    def settings(self) -> Path:
        """The file that defines it."""

    @property
    def log(self) -> Path:
        """The hypervisor's log of its current or last run."""

    @property
    def disks(self) -> Mapping[int, Path]:
        """The image in each slot."""


class Fallback(Protocol):
    """A snapshot whose root disk can come back, while the other disks stay as they are."""

    def take(self) -> None:
        """Take it, the VM running or not; one that an earlier run left goes first."""

    def back(self) -> None:
        """Cut the power and have the root disk as it was; the VM is off afterwards."""

    def start(self) -> None:
        """Power on."""

    def drop(self) -> None:
        """Delete it, if it is there; the disks stay as they are now."""


class VirtualMachine(Machine, Protocol):
    """The appliance of one configuration as a VM, defined or not."""

    @property
    def config(self) -> "Config":
        """The appliance."""

    @property
    def hypervisor(self) -> "Hypervisor":
        """What has the VM."""

    @property
    def folder(self) -> Path:
        """The directory of the VM and its console log; ours alone."""

    @property
    def key(self) -> Path:
        """The admin's private key."""

    @property
    def console(self) -> Path:
        """The file that takes the guest's serial console."""

    @property
    def known_hosts(self) -> Path:
        """The guest's pinned host key."""

    def find(self) -> Found | None:
        """The VM, or None when it is not defined; one that was left half-made counts as None.

        Raises:
            HypervisorError: the name belongs to a VM that is not ours, or ours is on a disk that
                is not there.
        """

    def get(self) -> Found:
        """The VM; an error when it is not defined."""

    def define(self, disks: Sequence[Path]) -> Found:
        """Make the VM from copies of disk images: raw, VDI or VMDK, the root disk first.

        Interrupted, the next call begins anew; the images are never changed.
        """

    def make(self, attach: Callable[[Found], None], *, ports: int) -> Found:
        """Make the VM around disks that ``attach`` puts into its slots.

        Args:
            attach: called once with the VM; killed in it, the next call begins anew.
            ports: how many slots there are.
        """

    def bring(self, ova: Path, *, accept_licence: bool = False) -> Found:
        """Make the VM from an OVA. Interrupted, the next call begins anew.

        Args:
            ova: the file.
            accept_licence: agree to the licence that it may have.
        """

    def settle(self, made: Found) -> None:
        """Give the VM its hardware and forwards; with that it is complete."""

    def identify(self, made: Found, mac: str, credential: tuple[str, str]) -> None:
        """Tell the VM who it is.

        Args:
            made: the VM.
            mac: of its network card, 12 hexadecimal digits.
            credential: name and text of what the guest's systemd finds at each boot.
        """

    def start(self, *, timeout: float = BOOT_SECONDS) -> SshEndpoint:
        """Power on, if it is off, and wait until SSH lets us in.

        Raises:
            HostNotReadyError: a port is taken, and may not be corrected.
            GuestError: SSH does not answer in time, or refuses us.
        """

    def power_on(self) -> Found:
        """Power on, if it is off, with every forward checked before and after."""

    def stop(self, *, grace: float = SHUTDOWN_SECONDS) -> None:
        """Press the power button; cut the power after ``grace`` seconds. Idempotent."""

    def save(self) -> None:
        """Freeze the running VM to disk; `start` wakes it up."""

    def destroy(self) -> bool:
        """Delete the VM with its disks, snapshots and logs; False when there was none."""

    def forwards(self) -> "tuple[Forward, ...]":
        """The forwards that the VM has now; a taken port may have been corrected."""

    def endpoint(self) -> SshEndpoint:
        """How to reach the admin in the guest."""

    def notes(self, of: Found) -> Mapping[str, str]:
        """What is kept with the VM, by key."""

    def note(self, of: Found, key: str, text: str | None) -> None:
        """Keep something with the VM; None: no more."""

    def attach(self, to: Found, port: int, image: Path) -> None:
        """Put a disk into a slot, in one step."""

    def copy(self, source: Path, target: Path) -> None:
        """Copy a disk image, raw, VDI or VMDK, to one of the VM's kind, a disk of its own."""

    def derive(self, base: Path, target: Path) -> None:
        """Make an image that takes all writes, on top of one that stays untouched."""

    def base_of(self, image: Path) -> Path:
        """The image that one stands on."""

    def reset_at_start(self, image: Path, *, wanted: bool) -> None:
        """Have a derived image be as its base at each start of the VM, or not."""

    def remove(self, image: Path) -> None:
        """Delete an image. Idempotent; one that another stands on is refused."""

    def take(self, name: str, description: str) -> str:
        """Take a snapshot, the VM running or not; return its identity."""

    def snapshots(self) -> "Sequence[Snapshot]":
        """All of them, oldest first within each branch."""

    def restore(self, name: str) -> None:
        """Bring the VM, which is off, back to a snapshot."""

    def drop(self, name: str) -> None:
        """Delete a snapshot; the present state stays as it is."""


def refuse_snapshots(vm: Found) -> None:
    """Make sure that no snapshot holds on to a VM's disks.

    Raises:
        HypervisorError: one does.
    """
    if vm.has_snapshots:
        raise HypervisorError(
            f"the VM {vm.name!r} has snapshots, which hold on to its disks",
            hint="`appliance snapshot list`, then `appliance snapshot delete NAME`",
        )


@dataclass(frozen=True)
class Running:
    """A VM of ours that runs.

    Args:
        uuid: its identity.
        name: its name.
        ports: the loopback port of this host that leads to each port of the guest.
    """

    uuid: str
    name: str
    ports: Mapping[int, int]


class Hypervisor(Protocol):
    """What this host runs VMs with."""

    def machine(self, config: "Config", folder: Path, key: Path) -> VirtualMachine:
        """The appliance of a configuration as its VM, defined or not."""

    def notes(self, name: str) -> Mapping[str, str]:
        """What is kept with the whole VM of ours of this name; by one question, empty for none."""

    def running(self) -> Iterator[Running]:
        """Every VM of ours that runs."""

    def fallback(self, uuid: str) -> Fallback | None:
        """The snapshot to fall back on of a VM; None for one that was pulled."""


def of_this_host(*, fetch: bool = False) -> Hypervisor:
    """The hypervisor of this host.

    Args:
        fetch: one that is missing may be fetched.

    Raises:
        HostNotReadyError: there is none.
    """
    from provision.machine import virtualbox  # noqa: PLC0415 (only who needs it loads it)

    return virtualbox.VirtualBox(virtualbox.manage() if fetch else virtualbox.find_virtualbox())
