"""Take out of an ext4 file system how many bytes its maker has written: that depends on how the
files lay on the host's disk, and two images of the same files would differ by it alone.

Layout after "ext4 Data Structures and Algorithms" in the Linux kernel's documentation.
"""

import struct
from collections.abc import Iterator
from io import BufferedRandom

from provision.errors import ApplianceError

SIZE = 1024
MAGIC, MAGIC_AT = 0xEF53, 0x38
BLOCKS_AT, FIRST_BLOCK_AT, BLOCK_SIZE_AT, BLOCKS_PER_GROUP_AT = 0x04, 0x14, 0x18, 0x20
READ_ONLY_FEATURES_AT, METADATA_CHECKSUMS = 0x64, 0x400
KILOBYTES_WRITTEN = slice(0x178, 0x180)
CHECKSUM_AT = 0x3FC
POLYNOMIAL = 0x82F63B78  # CRC-32C, bits reversed


def forget_writes(image: BufferedRandom, offset: int) -> None:
    """Set the count to none in the superblock and all its copies.

    Args:
        image: the disk.
        offset: where the file system begins in it, in bytes.

    Raises:
        ApplianceError: there is no ext4 file system, or a copy of its superblock is damaged.
    """
    first = _read(image, offset + SIZE)
    block = SIZE << _number(first, BLOCK_SIZE_AT)
    group = block * _number(first, BLOCKS_PER_GROUP_AT)
    groups = -(-_number(first, BLOCKS_AT) * block // group)
    checked = bool(_number(first, READ_ONLY_FEATURES_AT) & METADATA_CHECKSUMS)
    begin = block * _number(first, FIRST_BLOCK_AT)  # a small disk's blocks are counted from 1
    for place in (SIZE, *(begin + number * group for number in _with_a_copy(groups))):
        data = _read(image, offset + place)
        if checked and _number(data, CHECKSUM_AT) != crc32c(data[:CHECKSUM_AT]):
            raise ApplianceError(f"the superblock at byte {offset + place} is damaged")
        data[KILOBYTES_WRITTEN] = bytes(8)
        if checked:
            struct.pack_into("<I", data, CHECKSUM_AT, crc32c(data[:CHECKSUM_AT]))
        image.seek(offset + place)
        image.write(data)


def crc32c(data: bytes | bytearray) -> int:
    """The checksum that ext4 uses, without the last inversion."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
    return value


def _with_a_copy(groups: int) -> Iterator[int]:
    """The groups that hold a copy: the second, and those whose number is a power of 3, 5 or 7."""
    if groups > 1:
        yield 1
    for base in (3, 5, 7):
        number = base
        while number < groups:
            yield number
            number *= base


def _read(image: BufferedRandom, place: int) -> bytearray:
    image.seek(place)
    data = bytearray(image.read(SIZE))
    if len(data) < SIZE or struct.unpack_from("<H", data, MAGIC_AT) != (MAGIC,):
        raise ApplianceError(f"no ext4 superblock at byte {place}")
    return data


def _number(data: bytearray, place: int) -> int:
    (number,) = struct.unpack_from("<I", data, place)
    return int(number)
