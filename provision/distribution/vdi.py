"""VDI images made in place: any part of the disk can be written first.

VirtualBox's dynamic image: a header, a map from each block of 1 MiB to its place in the file, the
blocks. Which blocks a published disk has is known beforehand, so the layout is too, and a seat
needs no second copy and no converter. (Source: VDICore.h of VirtualBox, version 1.1.)
"""

import struct
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from provision.errors import ApplianceError

BLOCK = 1 << 20
_TEXT = b"<<< Oracle VM VirtualBox Disk Image >>>\n"
_SIGNATURE, _VERSION, _HEADER_SIZE, _DYNAMIC = 0xBEDA107F, 0x00010001, 400, 1
_MAP_OFFSET = 512
_FREE = 0xFFFFFFFF
_NOWHERE = 0xFFFFFFFE  # and above: no place in the file
_HEADER = struct.Struct("<64s4I I 256s 2I 4I I Q 4I 16s16s16s16s 4I")


@dataclass(frozen=True)
class Layout:
    """Where each block of a disk is in its image.

    Args:
        size: bytes of the disk.
        data: where the first block is in the file.
        places: the number, in the file, of each block that the disk has.
    """

    size: int
    data: int
    places: Mapping[int, int]

    def spans(self, offset: int, length: int) -> Iterator[tuple[int | None, int]]:
        """Where a part of the disk is in the file, as (offset, length); None: nowhere, zeros."""
        while length > 0:
            here = min(length, BLOCK - offset % BLOCK)
            place = self.places.get(offset // BLOCK)
            yield (None if place is None else self.data + place * BLOCK + offset % BLOCK), here
            offset, length = offset + here, length - here

    @cached_property
    def length(self) -> int:
        """Bytes of the whole file."""
        return self.data + len(self.places) * BLOCK

    def header(self, identity: uuid.UUID) -> bytes:
        """All that is before the first block.

        Args:
            identity: the image's UUID, by which VirtualBox knows it.
        """
        count = -(-self.size // BLOCK)
        numbers = [self.places.get(block, _FREE) for block in range(count)]
        head = _HEADER.pack(
            _TEXT, _SIGNATURE, _VERSION, _HEADER_SIZE, _DYNAMIC, 0, b"", _MAP_OFFSET, self.data,
            0, 0, 0, 512, 0, self.size, BLOCK, 0, count, len(self.places),
            identity.bytes_le, uuid.uuid5(identity, "made").bytes_le, bytes(16), bytes(16),
            0, 0, 0, 512,
        )  # fmt: skip
        return (head.ljust(_MAP_OFFSET, b"\0") + struct.pack(f"<{count}I", *numbers)).ljust(
            self.data, b"\0"
        )


def plan(size: int, parts: Iterable[tuple[int, int]]) -> Layout:
    """The layout of an image that has data at these parts of the disk, as (offset, length)."""
    touched = (range(offset // BLOCK, -(-(offset + length) // BLOCK)) for offset, length in parts)
    blocks = sorted({block for several in touched for block in several})
    head = _MAP_OFFSET + 4 * -(-size // BLOCK)
    return Layout(size, -(-head // BLOCK) * BLOCK, {block: n for n, block in enumerate(blocks)})


def read(path: Path) -> Layout:
    """The layout of an image that is there.

    Raises:
        ApplianceError: it is no dynamic VDI with blocks of 1 MiB.
    """
    try:
        with path.open("rb") as file:
            fields = _HEADER.unpack(file.read(_HEADER.size))
            count = fields[17]
            file.seek(fields[7])
            numbers = struct.unpack(f"<{count}I", file.read(4 * count))
    except (struct.error, OSError) as error:
        raise ApplianceError(f"{path} is no VDI: {error}") from error
    if fields[1] != _SIGNATURE or fields[4] != _DYNAMIC or fields[15] != BLOCK:
        raise ApplianceError(f"{path} is no dynamic VDI with blocks of 1 MiB")
    places = {block: place for block, place in enumerate(numbers) if place < _NOWHERE}
    return Layout(fields[14], fields[8], places)
