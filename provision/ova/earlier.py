"""The OVA of an earlier build: what is the same in it need not be compressed again.

Nothing that it says is believed: a grain is taken only where it unpacks to the bytes wanted.
"""

import contextlib
import functools
import os
import struct
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from provision.ova import vmdk

LARGEST_TABLE = 2 * vmdk.TABLE_SPAN


@dataclass(frozen=True)
class Earlier:
    """An open OVA.

    Args:
        descriptor: of its file.
        members: first byte and size of each, by name.
    """

    descriptor: int
    members: Mapping[str, tuple[int, int]]

    def disk(self, name: str, front: bytes) -> vmdk.Known:
        """The grains of one disk, if it begins as the one that is to be written.

        Args:
            name: the VMDK's.
            front: `vmdk.front` of the new one, which tells size, identity and compressor.
        """
        start, size = self.members.get(name, (0, 0))
        try:
            if size < len(front) or os.pread(self.descriptor, len(front), start) != front:
                return vmdk.nothing
            capacity, place = vmdk.footer(
                os.pread(self.descriptor, 2 * vmdk.SECTOR, start + size - 2 * vmdk.SECTOR)
            )
            count = -(-capacity // vmdk.TABLE_SPAN)
            packed = os.pread(self.descriptor, 4 * count, start + place)
            tables = struct.unpack(f"<{count}I", packed)
        except (OSError, OverflowError, struct.error):
            return vmdk.nothing
        return functools.partial(self._grains, start, tables)

    def _grains(self, start: int, tables: tuple[int, ...], index: int) -> Mapping[int, memoryview]:
        """The compressed grains of one table, which stand before it without a gap."""
        place = tables[index] * vmdk.SECTOR
        try:
            packed = os.pread(self.descriptor, 4 * vmdk.TABLE_ENTRIES, start + place)
            entries = enumerate(struct.unpack(f"<{vmdk.TABLE_ENTRIES}I", packed))
            stored = {entry: sector * vmdk.SECTOR for entry, sector in entries if sector}
            first = min(stored.values(), default=place)
            if not place or not 0 < place - first < LARGEST_TABLE:
                return {}
            data = memoryview(os.pread(self.descriptor, place - first, start + first))
            found = {}
            for entry, grain in stored.items():
                begin = grain - first + vmdk.MARKER.size
                _, size = vmdk.MARKER.unpack_from(data, grain - first)
                found[entry] = data[begin : begin + size]
        except (OSError, struct.error):
            return {}
        return found


@contextlib.contextmanager
def opening(path: Path) -> Iterator[Earlier]:
    """Open an OVA while the context lasts; one that is missing or damaged has no members."""
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
            archive = stack.enter_context(tarfile.open(fileobj=file))
            members = {each.name: (each.offset_data, each.size) for each in archive}
        except (OSError, tarfile.TarError):
            yield Earlier(-1, {})
            return
        yield Earlier(file.fileno(), members)
