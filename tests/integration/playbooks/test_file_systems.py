"""The file systems of a build's disks, as e2fsck sees them."""

import os
import subprocess
from pathlib import Path

import pytest

from provision.jeos.disk import FileSystem, make_disk

OWNERS = (0, 1000, 2001, 50000)


def tree(place: Path, owners: tuple[int, ...]) -> Path:
    for owner in owners:
        folder = place / str(owner)
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(bytes(10_000))
        for path in (folder / "file", folder):
            os.chown(path, owner, owner)
            os.utime(path, (10**9, 10**9))
    os.utime(place, (10**9, 10**9))
    return place


# Below 512 MiB mke2fs takes smaller blocks.
@pytest.mark.parametrize(("mount", "size"), [("/home", 1 << 30), ("/srv/data", 300 << 20)])
def test_a_disk_is_whole_and_counts_everybodys_files(
    sealed: tuple[Path, ...], tmp_path: Path, mount: str, size: int
) -> None:
    system = FileSystem("home", mount, size, 1, "ext4", "sage")
    images = [tmp_path / "one.raw", tmp_path / "two.raw"]
    for image, owners in zip(images, (OWNERS, OWNERS[::-1]), strict=True):
        files = tree(tmp_path / image.stem, owners)
        make_disk(system, files, image, tools=sealed[0], epoch=1_700_000_000)
    assert subprocess.run(["cmp", *images], check=False).returncode == 0
    checked = subprocess.run(["e2fsck", "-fn", images[0]], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout
    shown = subprocess.run(
        ["dumpe2fs", "-h", images[0]], capture_output=True, text=True, check=True
    ).stdout
    fields = dict(line.split(":", 1) for line in shown.splitlines() if ":" in line)
    assert "quota" in fields["Filesystem features"].split()
    assert int(fields["Inode count"]) >= system.size // 16384 * 2 * 0.99  # whole groups of them


def test_every_disk_of_a_build_is_whole(disks: tuple[Path, ...], tmp_path: Path) -> None:
    for disk in disks:
        raw = tmp_path / "disk.raw"
        subprocess.run(["qemu-img", "convert", "-O", "raw", disk, raw], check=True)
        table = subprocess.run(["sfdisk", "-d", raw], capture_output=True, text=True, check=False)
        found = [line for line in table.stdout.splitlines() if "start=" in line]
        start = int(found[0].split("start=")[1].split(",")[0]) * 512 if found else 0
        checked = subprocess.run(
            ["e2fsck", "-fn", f"{raw}?offset={start}"], capture_output=True, check=False
        )
        assert checked.returncode == 0, checked.stdout
        raw.unlink()
