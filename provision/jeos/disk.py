"""Disk images from a directory. No loop device, no mount and no root needed; the same tree gives
the same bytes. What makes a root disk start is in `boot`.
"""

import contextlib
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from provision.config.architectures import ARCHITECTURES
from provision.config.architectures import Name as ArchName
from provision.errors import HostNotReadyError
from provision.jeos import boot
from provision.jeos.superblock import forget_writes
from provision.process import CommandFailedError, require, run

NAMESPACE = uuid.UUID("5f4bd11c-2d3a-5c0f-9c43-6c1f2b0f4f53")
HOME_BYTES_PER_FILE = 8192  # quotas count a file for 16 KiB (``guest.pool.files``)


@dataclass(frozen=True)
class FileSystem:
    """One file system of the appliance and the disk that it is on.

    Args:
        name: the disk's name in the configuration: root, home, …
        mount: where the guest mounts it.
        size: of the disk, in bytes.
        reserve: share of the blocks that only root may use, in percent.
        kind: file system type; ext4.
        appliance: the appliance's name; with ``name`` it decides the UUIDs.
        arch: of the machine that it is for.
    """

    name: str
    mount: str
    size: int
    reserve: float
    kind: str
    appliance: str
    arch: ArchName = "amd64"

    @property
    def identity(self) -> uuid.UUID:
        """The file system's UUID: a function of the two names, so that rebuilds keep it."""
        return uuid.uuid5(NAMESPACE, f"{self.appliance}/{self.name}")

    @property
    def hash_seed(self) -> uuid.UUID:
        """What orders its directory indexes; fixed, so that the same tree gives the same bytes."""
        return uuid.uuid5(NAMESPACE, f"{self.appliance}/{self.name}/hash")

    @property
    def is_root(self) -> bool:
        """Whether the guest boots from it."""
        return self.mount == "/"


def fstab(file_systems: Iterable[FileSystem]) -> str:
    """The guest's /etc/fstab: by UUID, since the order of disks changes between hypervisors.

    A data disk that is missing holds up only what needs it, and that for minutes, as a busy host
    shows a guest its disks late; one that was enlarged is grown to its size at the next boot
    (systemd.mount(5), x-systemd.growfs).
    """
    lines = ["# made by the appliance build: disks by UUID, root first"]
    for system in sorted(file_systems, key=lambda system: (system.mount != "/", system.mount)):
        options = "defaults,discard,errors=remount-ro"
        check = 1
        if not system.is_root:
            options = (
                "defaults,discard,nosuid,nodev,usrquota,nofail,x-systemd.device-timeout=5min,"
                "x-systemd.growfs"
            )
            check = 2
        lines.append(f"UUID={system.identity} {system.mount} {system.kind} {options} 0 {check}")
    return "\n".join(lines) + "\n"


def make_disk(system: FileSystem, tree: Path, target: Path, *, tools: Path, epoch: int) -> None:
    """Write one raw, sparse disk image.

    Args:
        system: what to make.
        tree: the directory that becomes its content.
        target: the image's file.
        tools: a root file system whose mke2fs is used: the guest's own, so that the result
            does not depend on this host's version.
        epoch: the time written into the file system, in seconds since 1970.

    Raises:
        HostNotReadyError: a tool is missing, or this host has no room.
        CommandFailedError: the tree does not fit, or a tool failed.
    """
    place = boot.place(system.arch) if system.is_root else boot.Place(0, 0)
    offset, blocks = place.offset, place.room(system.size) // 4096
    extended = [
        f"hash_seed={system.hash_seed}",
        "lazy_itable_init=0",
        "lazy_journal_init=0",
        "root_owner=0:0",
        *([f"offset={offset}"] if offset else []),
    ]
    loader = _guest_loader(tools, system.arch)
    with _completing(target):
        _make_file_system(
            [
                *(*loader, str(tools / "usr/sbin/mke2fs")),
                *("-q", "-F", "-t", system.kind, "-d", str(tree), "-L", system.name),
                *("-U", str(system.identity), "-m", f"{system.reserve:g}"),
                *("-E", ",".join(extended)),
                *([] if system.is_root else ["-i", str(HOME_BYTES_PER_FILE)]),
                *(str(target), f"{blocks * 4}k"),
            ],
            target,
            system.size,
            env={
                "SOURCE_DATE_EPOCH": str(epoch),
                "MKE2FS_CONFIG": str(tools / "etc/mke2fs.conf"),
            },
        )
        if not system.is_root:
            _count_quotas(target, [*loader, str(tools / "usr/sbin/tune2fs")], epoch)
        with target.open("r+b") as image:
            forget_writes(image, offset)
        if system.is_root:
            boot.install(
                target, system.identity, system.arch, tools=tools, guest_tool=loader, epoch=epoch
            )


def make_scratch(tree: Path, target: Path, *, size: int, identity: uuid.UUID) -> None:
    """Write a raw, sparse image for one guest to work on: by the host's mke2fs, no boot loader.

    Args:
        tree: the directory that becomes its content.
        target: the image's file.
        size: of the disk, in bytes.
        identity: the file system's UUID.
    """
    with _completing(target):
        _make_file_system(
            [
                *(require("mke2fs", "e2fsprogs"), "-q", "-F", "-t", "ext4", "-m", "0"),
                *("-d", str(tree), "-U", str(identity), "-E", "root_owner=0:0", str(target)),
            ],
            target,
            size,
        )


def convert(raw: Path, target: Path, kind: str, *, identity: uuid.UUID) -> None:
    """Convert a raw disk to another format, without the random numbers that qemu-img puts in.

    Args:
        raw: the image to read.
        target: the image to write.
        kind: ``vdi`` or any other format of qemu-img.
        identity: the VDI's UUID.
    """
    qemu_img = require("qemu-img", "qemu-utils")
    with _completing(target):
        try:
            run([qemu_img, "convert", "-f", "raw", "-O", kind, str(raw), str(target)])
        except CommandFailedError as error:
            if "No space left" in error.tail:
                raise _no_room(target) from error
            raise
        if kind == "vdi":
            with target.open("r+b") as image:
                # VDI header 1.1: image UUID at 392, UUID of the last snapshot at 408.
                image.seek(392)
                image.write(identity.bytes_le)
                image.write(uuid.uuid5(identity, "last snapshot").bytes_le)


def _make_file_system(
    mke2fs: Sequence[str], target: Path, size: int, env: Mapping[str, str] | None = None
) -> None:
    with target.open("wb") as image:
        image.truncate(size)
    try:
        run(mke2fs, env=env)
    except CommandFailedError as error:
        if "Could not allocate" in error.tail and _out_of_room(target):
            raise _no_room(target) from error
        raise


def _count_quotas(image: Path, tune2fs: Sequence[str], epoch: int) -> None:
    """Keep quotas of users, by what is on the file system: mke2fs counts what is root's only."""
    run(
        [*tune2fs, "-O", "quota", "-Q", "usrquota", str(image)],
        env={"SOURCE_DATE_EPOCH": str(epoch), "E2FSPROGS_FAKE_TIME": str(epoch)},
    )


def _guest_loader(tree: Path, arch: ArchName) -> list[str]:
    """What runs a program of the guest's root with the guest's own libraries, without chroot."""
    known = ARCHITECTURES[arch]
    libraries = tree / "usr/lib" / known.triplet
    return [str(libraries / known.loader), "--library-path", str(libraries)]


@contextlib.contextmanager
def _completing(target: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _out_of_room(path: Path) -> bool:
    status = os.statvfs(path.parent)
    return status.f_bavail * status.f_frsize < 64 << 20


def _no_room(path: Path) -> HostNotReadyError:
    return HostNotReadyError(
        f"no space left on the file system of {path.parent}",
        hint="free some room, or set XDG_CACHE_HOME to a larger disk",
    )
