"""Look into a disk image before it boots: what must not be in what is handed out."""

import json
import mmap
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.errors import ApplianceError
from provision.process import CommandFailedError, require, run

SECTOR = 512
MAGIC_OFFSET = 1080  # of ext2/3/4's superblock magic in its file system
MAGIC = b"\x53\xef"
# The armour of an OpenSSH private key and the start of its body, "openssh-key-v1\0" in base64.
PRIVATE_KEY = re.compile(rb"-----BEGIN OPENSSH PRIVATE KEY-----\r?\nb3BlbnNzaC1rZXktdjE")
DIRECTORIES = (
    "/etc/ssh", "/etc/ssh/sshd_config.d", "/root", "/root/.ssh", "/var/lib/systemd",
    "/var/lib/dbus", "/var/log", "/var/log/journal", "/var/cache/apt/archives",
    "/var/lib/apt/lists", "/var/mail", "/tmp", "/var/tmp",  # noqa: S108 (the guest's)
)  # fmt: skip


@dataclass(frozen=True)
class Ext4:
    """An ext4 file system inside a raw image.

    Args:
        disk: the image.
        offset: where it begins, in bytes.
    """

    disk: Path
    offset: int

    def ask(self, *requests: str) -> list[str]:
        """What debugfs answers to each of its read-only requests."""
        done = run(
            [require("debugfs", "e2fsprogs"), "-f", "-", f"{self.disk}?offset={self.offset}"],
            stdin="".join(f"{request}\n" for request in requests).encode(),
        )
        return re.split(r"^debugfs: .*\n?", done, flags=re.MULTILINE)[1:]

    def list_sizes(self, *paths: str) -> dict[str, dict[str, int]]:
        """Names and sizes in each of the directories; nothing for one that is not there.

        Args:
            paths: absolute, none with a double quote in it.
        """
        return {
            path: {fields[5]: int(fields[6] or 0) for fields in entries}
            for path, entries in zip(paths, self._list(paths), strict=True)
        }

    def list_modes(self, *paths: str) -> list[dict[str, int]]:
        """Names and modes in each of the directories, with the bits of their types."""
        return [
            {fields[5]: int(fields[2], 8) for fields in entries} for entries in self._list(paths)
        ]

    def _list(self, paths: Sequence[str]) -> list[list[list[str]]]:
        answers = self.ask(*(f'ls -p "{path}"' for path in paths))
        return [_listing(answer) for answer in answers]


def _listing(answer: str) -> list[list[str]]:
    """Read debugfs's ``/inode/mode/uid/gid/name/size/`` lines; directories have no size there."""
    lines = (line.split("/") for line in answer.splitlines() if line.startswith("/"))
    return [fields for fields in lines if len(fields) > 6 and fields[5] not in (".", "..")]


def file_systems(disk: Path) -> list[Ext4]:
    """The ext4 file systems of a raw image, with or without a partition table."""
    try:
        table = json.loads(run([require("sfdisk", "fdisk"), "--json", str(disk)]))
        starts = [part["start"] * SECTOR for part in table["partitiontable"]["partitions"]]
    except (CommandFailedError, KeyError):
        starts = []
    with disk.open("rb") as file:
        return [fs for start in [*starts, 0] if _is_ext(file, fs := Ext4(disk, start))]


def _is_ext(file: Any, fs: Ext4) -> bool:
    file.seek(fs.offset + MAGIC_OFFSET)
    return bool(file.read(2) == MAGIC)


def look(disks: list[Path]) -> dict[str, Any]:
    """Gather facts about images that were never booted.

    Args:
        disks: raw images, the root disk first, then the one of /home.

    Raises:
        ApplianceError: the first disk holds no ext4 file system.
    """
    systems = [fs for disk in disks for fs in file_systems(disk)]
    if not systems:
        raise ApplianceError(f"{disks[0]} holds no ext4 file system")
    root, *others = systems
    homes: dict[str, dict[str, int]] = {}
    for fs in others:
        accounts = [name for name in fs.list_sizes("/")["/"] if name != "lost+found"]
        paths = [f"/{name}{part}" for name in accounts for part in ("", "/.ssh")]
        homes |= {f"/home{path}": names for path, names in fs.list_sizes(*paths).items()}
    machine_id, dbus_id = root.ask("cat /etc/machine-id", "cat /var/lib/dbus/machine-id")
    return {
        "directories": root.list_sizes(*DIRECTORIES) | homes,
        "machine_ids": [text.strip() for text in (machine_id, dbus_id)],
        "private_keys": sum(count_private_keys(disk) for disk in disks),
    }


def count_private_keys(disk: Path) -> int:
    """How many OpenSSH private keys an image holds, in files or in the traces of deleted ones."""
    with disk.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
        return sum(
            1
            for start, end in _extents(file.fileno(), len(content))
            for _ in PRIVATE_KEY.finditer(content, start, end)
        )


def _extents(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """The parts of a sparse file that are not holes."""
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError:  # only a hole is left
            return
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end
