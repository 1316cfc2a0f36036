"""What we know of the architectures that a guest may have. A further one is an entry here."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from provision.errors import HostNotReadyError

Name = Literal["amd64", "arm64"]


@dataclass(frozen=True)
class Emulator:
    """What boots a guest of this architecture on any host.

    Args:
        program: QEMU's, which the package has.
        package: of Debian.
        board: the machine that it emulates.
        devices: what else that board wants.
        sata: whether its firmware starts from disks as VirtualBox's; else from VirtIO's alone.
        processor: that a guest must do with where none is lent by the host.
        console: the kernel's name of its serial line.
        firmware: what starts the boot loader, and the package that has it; None: QEMU's own.
    """

    program: str
    package: str
    board: str
    devices: tuple[str, ...]
    sata: bool
    processor: str
    console: str
    firmware: tuple[Path, str] | None = None


@dataclass(frozen=True)
class Architecture:
    """What tells one architecture from another, under Debian's name for it.

    Args:
        title: for people.
        machine: the kernel's name for it, as uname(2) gives it.
        others: what other systems call it.
        triplet: the directory of its libraries.
        loader: its dynamic loader, in there.
        boot: the firmware that its machines have.
        packages: of the distribution, that a guest boots with besides its kernel.
        ostype: the end of VirtualBox's names of systems.
        platform: VirtualBox's word.
        emulator: of a whole machine.
        wheels: Python's platform.
    """

    title: str
    machine: str
    others: tuple[str, ...]
    triplet: str
    loader: str
    boot: Literal["bios", "efi"]
    packages: tuple[str, ...]
    ostype: str
    platform: str
    emulator: Emulator
    wheels: str

    @property
    def rule(self) -> Path:
        """How a host runs single programs of it, as qemu-user-static tells binfmt.d(5)."""
        return Path(f"/usr/lib/binfmt.d/qemu-{self.machine}.conf")


ARCHITECTURES: Mapping[Name, Architecture] = {
    "amd64": Architecture(
        title="x86-64 (Intel, AMD)",
        machine="x86_64",
        others=("AMD64", "x64"),
        triplet="x86_64-linux-gnu",
        loader="ld-linux-x86-64.so.2",
        boot="bios",
        packages=(),
        ostype="_64",
        platform="x86",
        emulator=Emulator(
            "qemu-system-x86_64", "qemu-system-x86", "q35", ("-vga", "std"), True, "max", "ttyS0"
        ),
        wheels="x86_64-manylinux_2_28",
    ),
    "arm64": Architecture(
        title="ARM64 (Apple silicon, Snapdragon)",
        machine="aarch64",
        others=("ARM64", "arm64"),
        triplet="aarch64-linux-gnu",
        loader="ld-linux-aarch64.so.1",
        boot="efi",
        packages=("grub-efi-arm64-bin",),
        ostype="_arm64",
        platform="arm",
        emulator=Emulator(
            "qemu-system-aarch64",
            "qemu-system-arm",
            "virt",
            (),
            False,
            "cortex-a72",  # every wheel runs on it, and newer ones take longer to emulate
            "ttyAMA0",
            (Path("/usr/share/qemu-efi-aarch64/QEMU_EFI.fd"), "qemu-efi-aarch64"),
        ),
        wheels="aarch64-manylinux_2_28",
    ),
}


def of_machine(machine: str) -> Name | None:
    """Debian's name of an architecture that the kernel or another system names."""
    for name, known in ARCHITECTURES.items():
        if machine in (name, known.machine, *known.others):
            return name
    return None


def channel_of(arch: Name, name: str) -> str:
    """The channel of an architecture beside the one that is named; amd64's has no other name."""
    return name if arch == "amd64" else f"{name}-{arch}"


def require_host(arch: Name, what: str) -> None:
    """Refuse what no VM of this host could start.

    Args:
        arch: that it is for.
        what: it is.

    Raises:
        HostNotReadyError: this host has another architecture.
    """
    if (here := of_this_host()) != arch:
        raise HostNotReadyError(
            f"{what} is for computers with {ARCHITECTURES[arch].title} processors; this one has"
            f" {ARCHITECTURES[here].title}, and would never start it",
            hint=f"take the appliance that was built with `arch: {here}`",
        )


def of_this_host() -> Name:
    """This host's; amd64 where its own is none that we build for."""
    return of_machine(platform.machine()) or "amd64"
