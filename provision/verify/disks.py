"""From an OVA to raw disk images, and from those to a directory tree."""

import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

from provision.errors import UsageError
from provision.process import require, run
from provision.progress import step
from provision.verify.image import Ext4, file_systems


def from_ova(ova: Path, directory: Path) -> list[Path]:
    """Convert the disks inside an OVA to sparse raw images, without unpacking it first.

    Args:
        ova: the file.
        directory: where the images go.

    Returns:
        The images in the OVA's order: the root disk first.

    Raises:
        UsageError: the file is no OVA, or has no VMDK disk in it.
    """
    try:
        with tarfile.open(ova, "r:") as archive:
            members = [m for m in archive.getmembers() if m.name.endswith(".vmdk")]
    except (tarfile.TarError, OSError) as error:
        raise UsageError(f"{ova} cannot be read as an OVA: {error}") from error
    if not members:
        raise UsageError(f"{ova} has no VMDK disk in it")
    qemu_img = require("qemu-img", "qemu-utils")
    disks = []
    for number, member in enumerate(members):
        file = {"driver": "file", "filename": str(ova.resolve())}
        part = {"driver": "raw", "offset": member.offset_data, "size": member.size, "file": file}
        source = "json:" + json.dumps({"driver": "vmdk", "file": part})
        disk = directory / f"{number}.raw"
        with step(f"unpack {member.name}"):
            run([qemu_img, "convert", "-W", "-O", "raw", source, str(disk)])
        disks.append(disk)
    return disks


def as_raw(disk: Path, target: Path) -> Path:
    """The same disk as a raw image: itself, or converted to ``target``."""
    qemu_img = require("qemu-img", "qemu-utils")
    if json.loads(run([qemu_img, "info", "--output=json", str(disk)]))["format"] == "raw":
        return disk
    with step(f"convert {disk.name}"):
        run([qemu_img, "convert", "-W", "-O", "raw", str(disk), str(target)])
    return target


def to_tree(disks: Sequence[Path], tree: Path) -> None:
    """Copy the files of raw disk images into a directory, as root, without mounting one.

    Args:
        disks: the root disk, then the one of /home.
        tree: the directory to make.
    """
    systems: list[Ext4] = [fs for disk in disks for fs in file_systems(disk)]
    for fs, place in zip(systems, (tree, tree / "home"), strict=False):
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(0o755)
        names = [n for n in fs.list_sizes("/")["/"] if n != "lost+found"]
        fs.ask(*(f'rdump "/{name}" "{place}"' for name in names))
        _restore_modes(fs, place)


def _restore_modes(fs: Ext4, tree: Path) -> None:
    """Set the modes again: debugfs changes the owner last, which drops setuid and setgid."""
    directories = [Path(parent) for parent, _, _ in os.walk(tree)]
    places = [f"/{path.relative_to(tree)}" for path in directories]
    for path, modes in zip(directories, fs.list_modes(*places), strict=True):
        for name, mode in modes.items():
            if mode & 0o6000 and (entry := path / name).is_file() and not entry.is_symlink():
                entry.chmod(mode & 0o7777)
