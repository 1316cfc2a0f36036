"""What makes a root disk start: partition table and GRUB, without a loop device, a mount or root.

From BIOS by GRUB's core image before the first partition; from EFI by a small partition of its own
with GRUB at the removable path, which every firmware tries, so that none must remember anything.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from provision.config.architectures import ARCHITECTURES
from provision.config.architectures import Name as ArchName
from provision.errors import HostNotReadyError
from provision.process import require, run

SECTOR = 512
FIRST = 1 << 20  # bytes: the usual alignment, and room for GRUB's core image before it
EFI_BYTES = 32 << 20
TAIL = 1 << 20  # for GPT's second table, at the end
GRUB_DIRECTORY = Path("/usr/lib/grub/i386-pc")
GRUB_MODULES = (
    "ext2",
    "normal",
    "linux",
    "echo",
    "test",
    "search",
    "search_fs_uuid",
    "terminal",
    "all_video",
    "gzio",
    "configfile",
    "sleep",
)
BIOS_MODULES = ("biosdisk", "part_msdos", "serial")
EFI_MODULES = ("part_gpt",)
EFI_PROGRAM = "BOOTAA64.EFI"  # UEFI 2.10, table 3.3: what firmware of ARM64 looks for


@dataclass(frozen=True)
class Place:
    """Where the root file system is on its disk, in bytes."""

    offset: int
    after: int

    def room(self, size: int) -> int:
        """How large it is on a disk of this size."""
        return size - self.offset - self.after


def place(arch: ArchName) -> Place:
    """Where the root file system is on a disk that this architecture starts from."""
    if ARCHITECTURES[arch].boot == "efi":
        return Place(FIRST + EFI_BYTES, TAIL)
    return Place(FIRST, 0)


def install(
    image: Path,
    root: uuid.UUID,
    arch: ArchName,
    *,
    tools: Path,
    guest_tool: Sequence[str],
    epoch: int,
) -> None:
    """Put the partition table and GRUB on a disk that has its root file system.

    Args:
        image: the raw disk.
        root: the UUID of its root file system; with it, the same inputs give the same bytes.
        arch: that it starts.
        tools: the guest's root, whose GRUB starts an EFI.
        guest_tool: how a program of the guest is run.
        epoch: the time of the files in the EFI's partition, in seconds since 1970.

    Raises:
        HostNotReadyError: a tool is missing.
        CommandFailedError: one failed.
    """
    if ARCHITECTURES[arch].boot == "efi":
        _efi(image, root, tools=tools, guest_tool=guest_tool, epoch=epoch)
    else:
        _bios(image, root)


def grub_config(root: uuid.UUID, arch: ArchName = "amd64") -> str:
    """/boot/grub/grub.cfg: the newest kernel by Debian's symlinks, on screen and serial line."""
    known = ARCHITECTURES[arch]
    console = known.emulator.console
    arguments = f"root=UUID={root} ro quiet console=tty0 console={console},115200"
    terminals = (
        "serial --unit=0 --speed=115200\nterminal_input console serial\n"
        "terminal_output console serial\n"
        if known.boot == "bios"
        else ""  # EFI's own console is on every line that the firmware has
    )
    return f"""\
# Static: /vmlinuz and /initrd.img are kept at the newest kernel by its packages.
{terminals}set default=0
set timeout=1
menuentry "Appliance" {{
    search --no-floppy --fs-uuid --set=root {root}
    linux /vmlinuz {arguments}
    initrd /initrd.img
}}
menuentry "Appliance (previous kernel)" {{
    search --no-floppy --fs-uuid --set=root {root}
    linux /vmlinuz.old {arguments}
    initrd /initrd.img.old
}}
"""


def _bios(image: Path, root: uuid.UUID) -> None:
    mkimage = require("grub-mkimage", "grub-common")
    boot = GRUB_DIRECTORY / "boot.img"
    if not boot.exists():
        raise HostNotReadyError(f"{boot} is missing", hint="sudo apt-get install grub-pc-bin")
    label = int.from_bytes(root.bytes[:4], "big")
    _partition(
        image, f"label: dos\nlabel-id: {label:#x}\nstart={FIRST // SECTOR}, type=83, bootable\n"
    )
    loader = _core(image, root, [mkimage], GRUB_DIRECTORY, BIOS_MODULES)
    if len(loader) > FIRST - SECTOR:
        raise HostNotReadyError("GRUB's core image does not fit before the first partition")
    with image.open("r+b") as file:
        file.write(boot.read_bytes()[:440])
        file.seek(SECTOR)
        file.write(loader)


def _efi(
    image: Path, root: uuid.UUID, *, tools: Path, guest_tool: Sequence[str], epoch: int
) -> None:
    """As grub-install --removable would; with the guest's GRUB, since a host has none for it."""
    vfat, copy, make = (
        require(tool, package)
        for tool, package in (
            *(("mkfs.vfat", "dosfstools"), ("mcopy", "mtools"), ("mmd", "mtools")),
        )
    )
    first, next_ = FIRST // SECTOR, (FIRST + EFI_BYTES) // SECTOR
    _partition(
        image,
        f"label: gpt\nlabel-id: {uuid.uuid5(root, 'table')}\n"
        f"start={first}, size={next_ - first}, type=uefi, uuid={uuid.uuid5(root, 'efi')}\n"
        f"start={next_}, size={(image.stat().st_size - TAIL) // SECTOR - next_}, type=linux,"
        f" uuid={uuid.uuid5(root, 'root')}\n",
    )
    directory = tools / "usr/lib/grub/arm64-efi"
    mkimage = [*guest_tool, str(tools / "usr/bin/grub-mkimage")]
    loader = _core(image, root, mkimage, directory, EFI_MODULES)
    system = image.with_name(image.name + ".efi")
    program = image.with_name(EFI_PROGRAM)
    told = {"SOURCE_DATE_EPOCH": str(epoch), "MTOOLS_SKIP_CHECK": "1", "TZ": "UTC"}
    try:
        program.write_bytes(loader)
        with system.open("wb") as file:
            file.truncate(EFI_BYTES)
        number = f"{int.from_bytes(root.bytes[:4], 'big'):08x}"
        run([vfat, "--invariant", "-F", "16", "-n", "EFI", "-i", number, str(system)], env=told)
        run([make, "-i", str(system), "::/EFI", "::/EFI/BOOT"], env=told)
        run([copy, "-i", str(system), str(program), f"::/EFI/BOOT/{EFI_PROGRAM}"], env=told)
        with image.open("r+b") as file:
            file.seek(FIRST)
            file.write(system.read_bytes())
    finally:
        system.unlink(missing_ok=True)
        program.unlink(missing_ok=True)


def _partition(image: Path, table: str) -> None:
    sfdisk = require("sfdisk", "fdisk")
    run([sfdisk, "--quiet", "--no-reread", "--no-tell-kernel", str(image)], stdin=table.encode())


def _core(
    image: Path,
    root: uuid.UUID,
    mkimage: Sequence[str],
    directory: Path,
    modules: Sequence[str],
) -> bytes:
    """GRUB's core image for the platform of a directory, with the root file system's UUID in it."""
    early = image.with_name(image.name + ".grub.cfg")
    core = image.with_name(image.name + ".core.img")
    early.write_text(f"search.fs_uuid {root} root\nset prefix=($root)/boot/grub\n")
    try:
        run(
            [
                *(*mkimage, "-O", directory.name, "-d", str(directory), "-o", str(core)),
                *("-c", str(early), "-p", "/boot/grub", *modules, *GRUB_MODULES),
            ]
        )
        return core.read_bytes()
    finally:
        early.unlink(missing_ok=True)
        core.unlink(missing_ok=True)
