"""The count of what mke2fs has written goes, in the superblock and in each copy."""

import struct
from pathlib import Path

import pytest

from provision.errors import ApplianceError
from provision.jeos.superblock import crc32c, forget_writes

OFFSET = 4096
GROUP = 128 << 20
COPIES = (0, 1, 3, 5, 7, 9)  # of the groups of a file system of ten


def superblock(group: int, *, checked: bool = True) -> bytes:
    data = bytearray(range(256)) * 4
    struct.pack_into("<I", data, 0x04, 10 * 32768)
    struct.pack_into("<I", data, 0x14, 0)
    struct.pack_into("<II", data, 0x18, 2, 2)
    struct.pack_into("<I", data, 0x20, 32768)
    struct.pack_into("<H", data, 0x38, 0xEF53)
    struct.pack_into("<H", data, 0x5A, group)
    struct.pack_into("<I", data, 0x64, 0x400 if checked else 0)
    struct.pack_into("<Q", data, 0x178, 1_234_567)
    struct.pack_into("<I", data, 0x3FC, crc32c(data[:0x3FC]))
    return bytes(data)


def place(group: int) -> int:
    return OFFSET + group * GROUP + (0 if group else 1024)


def image(path: Path, **options: bool) -> Path:
    with path.open("wb") as file:
        file.truncate(OFFSET + 10 * GROUP)
        for group in COPIES:
            file.seek(place(group))
            file.write(superblock(group, **options))
    return path


def test_the_checksum_is_crc_32c() -> None:
    assert crc32c(b"123456789") ^ 0xFFFFFFFF == 0xE3069283  # the catalogue's check value


@pytest.mark.parametrize("checked", [True, False])
def test_only_the_count_and_its_checksum_change(tmp_path: Path, checked: bool) -> None:
    disk = image(tmp_path / "disk", checked=checked)
    with disk.open("r+b") as file:
        forget_writes(file, OFFSET)
        for group in COPIES:
            before = superblock(group, checked=checked)
            file.seek(place(group))
            after = file.read(1024)
            assert after[0x178:0x180] == bytes(8)
            assert after[:0x178] + after[0x180:0x3FC] == before[:0x178] + before[0x180:0x3FC]
            good = crc32c(after[:0x3FC]) if checked else crc32c(before[:0x3FC])
            assert struct.unpack_from("<I", after, 0x3FC) == (good,)
        file.seek(place(2))
        assert file.read(4096) == bytes(4096)


@pytest.mark.parametrize(("group", "says"), [(0, "no ext4 superblock"), (7, "is damaged")])
def test_what_is_damaged_is_named(tmp_path: Path, group: int, says: str) -> None:
    disk = image(tmp_path / "disk")
    with disk.open("r+b") as file:
        file.seek(place(group) + (0x38 if group == 0 else 0x200))
        file.write(b"????")
        with pytest.raises(ApplianceError, match=says):
            forget_writes(file, OFFSET)
