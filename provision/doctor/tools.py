"""The host's tools and the Debian packages that they come in."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from provision.config.architectures import ARCHITECTURES, of_this_host
from provision.config.architectures import Name as ArchName
from provision.config.distributions import DISTRIBUTIONS, Name


@dataclass(frozen=True)
class HostTool:
    """Something that a build needs on the host.

    Args:
        name: the executable, or the absolute path of a file.
        package: the Debian or Ubuntu package that has it.
        purpose: what it is for.
        root_only: needed by root alone, who builds with systemd-nspawn.
    """

    name: str
    package: str
    purpose: str
    root_only: bool = False


TOOLS = (
    HostTool("mmdebstrap", "mmdebstrap", "make the base system from packages"),
    HostTool("mke2fs", "e2fsprogs", "make file systems without mounting them"),
    HostTool("sfdisk", "fdisk", "partition the root disk"),
    HostTool("grub-mkimage", "grub-common", "make the boot loader"),
    HostTool("/usr/lib/grub/i386-pc/boot.img", "grub-pc-bin", "make the boot loader"),
    HostTool("qemu-img", "qemu-utils", "convert disks"),
    HostTool("qemu-system-x86_64", "qemu-system-x86", "boot the finished disks to verify them"),
    HostTool("zstd", "zstd", "pack what is kept in the cache"),
    HostTool("debugfs", "e2fsprogs", "read the finished disks without mounting them"),
    HostTool("ssh", "openssh-client", "provision the guest"),
    HostTool("unshare", "util-linux", "isolate the build"),
    HostTool("setpriv", "util-linux", "end every helper with the build"),
    HostTool("systemd-nspawn", "systemd-container", "provision at native speed", root_only=True),
    HostTool("pasta", "passt", "give the guest a network of its own"),
    HostTool("newuidmap", "uidmap", "build without root"),
)
KEYRINGS = {
    name: HostTool(
        str(known.keyring),
        known.keyring_package,
        f"check {known.title}'s packages{known.keyring_note}",
    )
    for name, known in DISTRIBUTIONS.items()
}


def packages(distribution: Name = "debian", arch: ArchName = "amd64") -> tuple[str, ...]:
    """The packages to install on a Debian or Ubuntu host, in alphabetical order.

    Args:
        distribution: of the guest.
        arch: of the guest.
    """
    wanted = (*TOOLS, *_of(arch), KEYRINGS[distribution])
    return tuple(sorted({tool.package for tool in wanted}))


def needed_tools(
    distribution: Name, *, root: bool, arch: ArchName = "amd64"
) -> tuple[HostTool, ...]:
    """The tools that this user's builds need.

    Args:
        distribution: of the guest.
        root: whether the user is root.
        arch: of the guest.
    """
    wanted = (tool for tool in TOOLS if root or not tool.root_only)
    without = "newuidmap" if root else ""
    ours = (tool for tool in wanted if tool.name != without)
    return (*ours, *_of(arch), KEYRINGS[distribution])


def _of(arch: ArchName) -> Iterator[HostTool]:
    known = ARCHITECTURES[arch]
    if known.boot == "efi":
        yield HostTool("mkfs.vfat", "dosfstools", "make the partition of EFI")
        yield HostTool("mcopy", "mtools", "make the partition of EFI")
    if arch == of_this_host():
        return
    yield HostTool("arch-test", "arch-test", f"run programs of {arch}")
    yield HostTool(str(known.rule), "qemu-user-static", f"run programs of {arch}")
    yield HostTool(known.emulator.program, known.emulator.package, f"boot a guest of {arch}")
    if known.emulator.firmware:
        file, package = known.emulator.firmware
        yield HostTool(str(file), package, f"boot a guest of {arch}")


def present(tool: HostTool, search: tuple[Path, ...]) -> bool:
    """Whether the tool is on this host.

    Args:
        tool: which.
        search: the directories of PATH and the sbin directories.
    """
    candidates = [Path(tool.name)] if tool.name.startswith("/") else [d / tool.name for d in search]
    return any(path.is_file() for path in candidates)
