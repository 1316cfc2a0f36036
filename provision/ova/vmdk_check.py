"""Check a streamOptimized VMDK as it streams by: tables, markers and every grain."""

import re
import struct
from array import array
from collections.abc import Callable
from dataclasses import dataclass

import deflate

from provision.errors import VerificationError
from provision.ova import vmdk
from provision.ova.stream import CHUNK, Member

COMPRESSED, MARKERS = 1 << 16, 1 << 17
MAX_OVERHEAD = 2**16  # sectors; QEMU puts its tables, 32 MiB of them at most, before the grains
MAX_GRAIN = 2**13  # sectors; 4 MiB
MAX_CAPACITY = 2**37  # sectors; 64 TiB


@dataclass(frozen=True)
class VmdkFacts:
    """What a VMDK says of itself.

    Args:
        capacity: bytes of the disk.
        stored: bytes of it that are not left out as zeros.
        descriptor: the entries of its text descriptor, without quotes.
    """

    capacity: int
    stored: int
    descriptor: dict[str, str]


@dataclass(frozen=True)
class Header:
    """The sparse extent header; sizes and places are in sectors of 512 bytes."""

    version: int
    flags: int
    capacity: int
    grain: int
    descriptor: int
    descriptor_size: int
    table_entries: int
    directory: int
    overhead: int
    compression: int

    @property
    def tables(self) -> int:
        """How many grain tables the capacity needs."""
        return -(-self.capacity // (self.grain * self.table_entries))


def check(member: Member, advanced: Callable[[int], object]) -> VmdkFacts:
    """Read a whole VMDK and check that its parts agree.

    Args:
        member: the VMDK, unread.
        advanced: called with how many of its bytes have been read, now and then.

    Raises:
        VerificationError: damaged or truncated; names the place.
    """
    raw = member.read(vmdk.SECTOR)
    header = _header(member, raw)
    front = raw + member.read((header.overhead - 1) * vmdk.SECTOR)
    check = _Check(member, header, front)
    while check.next():
        advanced(member.position)
    check.finish()
    return VmdkFacts(header.capacity * vmdk.SECTOR, check.stored, _descriptor(header, front))


class _Check:
    """What must be remembered between the parts of one image.

    Tables follow their grains, as VirtualBox, VMware and we write them, or stand before all
    grains, as QEMU writes them; a sector of 0 or 1 in a table means a grain of zeros.
    """

    def __init__(self, member: Member, header: Header, front: bytes) -> None:
        self.stored = 0
        self._member = member
        self._header = header
        self._last = -1
        self._pending: dict[int, int] = {}  # grain -> sector, until its table comes
        self._tables: dict[int, int | None] = {}  # sector -> number; None: an empty table
        self._directory: int | None = None
        self._footer = False
        self._promised: dict[int, array[int]] | None = None  # QEMU's: number -> table
        if header.directory != vmdk.GD_AT_END:
            self._promised = self._front_tables(front)

    def next(self) -> bool:
        """Check the next grain, table or marker; False at the end marker."""
        sector = self._member.position // vmdk.SECTOR
        block = self._member.read(vmdk.SECTOR)
        value, size = vmdk.MARKER.unpack_from(block)
        (kind,) = struct.unpack_from("<I", block, vmdk.MARKER.size)
        if size:
            self._grain(sector, value, size, block)
        elif kind == vmdk.GRAIN_TABLE:
            self._table()
        elif kind == vmdk.GRAIN_DIRECTORY:
            self._grain_directory()
        elif kind == vmdk.FOOTER:
            self._check_footer()
        elif kind != vmdk.END_OF_STREAM or value:
            raise self._complaint(f"unknown marker {kind}")
        return bool(size) or kind != vmdk.END_OF_STREAM

    def finish(self) -> None:
        """Check that nothing is missing, and that only zeros follow the end marker."""
        if self._promised is None and not self._footer:
            raise self._complaint("it ends without a footer")
        promised = (self._promised or {}).values()
        if self._pending or any(sector > 1 for table in promised for sector in table):
            raise self._complaint("grain tables and grains do not agree")
        while self._member.left:
            rest = self._member.read(min(self._member.left, CHUNK))
            if rest.count(0) != len(rest):
                raise self._complaint("data behind its end marker")

    def _grain(self, sector: int, start: int, size: int, block: bytes) -> None:
        length = self._header.grain * vmdk.SECTOR
        grain, odd = divmod(start, self._header.grain)
        if odd or start >= self._header.capacity or grain <= self._last or size > 2 * length:
            raise self._complaint(f"a grain of {size} bytes for sector {start} has no place here")
        self._last = grain
        data = block[vmdk.MARKER.size : vmdk.MARKER.size + size]
        rest = size - len(data)
        data += self._member.read(rest + -rest % vmdk.SECTOR)[:rest]
        try:
            content = deflate.zlib_decompress(data, length)
        except deflate.DeflateError as error:
            raise self._complaint(f"the grain of disk sector {start} does not inflate") from error
        if len(content) != length:
            raise self._complaint(f"the grain of disk sector {start} has {len(content)} bytes")
        self.stored += length
        if self._promised is None:
            self._pending[grain] = sector
            if len(self._pending) > self._header.table_entries:
                raise self._complaint("grains without a grain table")
            return
        number, entry = divmod(grain, self._header.table_entries)
        table = self._promised.get(number)
        if table is None or table[entry] != sector:
            raise self._complaint(f"the grain of disk sector {start} is not where its table says")
        table[entry] = 0

    def _table(self) -> None:
        place = self._member.position // vmdk.SECTOR
        table = self._entries(self._header.table_entries)
        numbers = {grain // self._header.table_entries for grain in self._pending}
        number = min(numbers, default=None)
        expected = {g % self._header.table_entries: s for g, s in self._pending.items()}
        found = {entry: sector for entry, sector in enumerate(table) if sector > 1}
        if len(numbers) > 1 or found != expected:
            raise self._complaint("a grain table does not agree with its grains")
        self._pending.clear()
        self._tables[place] = number

    def _grain_directory(self) -> None:
        place = self._member.position // vmdk.SECTOR
        directory = self._entries(self._header.tables)
        found = {self._tables.get(s, -1): number for number, s in enumerate(directory) if s}
        found.pop(None, None)
        numbers = {number for number in self._tables.values() if number is not None}
        if any(a != b for a, b in found.items()) or found.keys() != numbers or self._pending:
            raise self._complaint("the grain directory does not agree with the grain tables")
        self._directory = place

    def _check_footer(self) -> None:
        footer = _header(self._member, self._member.read(vmdk.SECTOR))
        if footer.directory != self._directory:
            raise self._complaint("the footer does not point at the grain directory")
        if (footer.capacity, footer.grain) != (self._header.capacity, self._header.grain):
            raise self._complaint("header and footer differ")
        self._footer = True

    def _entries(self, count: int) -> "array[int]":
        size = count * 4
        return _integers(self._member.read(size + -size % vmdk.SECTOR)[:size])

    def _front_tables(self, front: bytes) -> "dict[int, array[int]]":
        def at(sector: int, count: int) -> "array[int]":
            data = front[sector * vmdk.SECTOR :][: count * 4]
            if len(data) != count * 4:
                raise self._complaint("a grain table lies outside the image's front")
            return _integers(data)

        directory = at(self._header.directory, self._header.tables)
        return {
            number: at(sector, self._header.table_entries)
            for number, sector in enumerate(directory)
            if sector
        }

    def _complaint(self, problem: str) -> VerificationError:
        return VerificationError(
            f"{self._member.name} is damaged before its byte {self._member.position}: {problem}",
            hint="copy or download the OVA again",
        )


def _header(member: Member, raw: bytes) -> Header:
    magic, version, flags, capacity, grain, *rest = vmdk.HEADER.unpack(raw)
    descriptor, size, entries, _, directory, overhead, _, *newline, compression = rest
    header = Header(
        version=version,
        flags=flags,
        capacity=capacity,
        grain=grain,
        descriptor=descriptor,
        descriptor_size=size,
        table_entries=entries,
        directory=directory,
        overhead=overhead,
        compression=compression,
    )
    if magic != vmdk.MAGIC or b"".join(newline) != b"\n \r\n":
        problem = "it is no sparse VMDK"
    elif version not in (1, 2, 3) or compression != 1 or ~flags & (COMPRESSED | MARKERS):
        problem = "it is no streamOptimized VMDK"
    elif (
        not 0 < capacity <= MAX_CAPACITY
        or not 8 <= grain <= MAX_GRAIN
        or grain & (grain - 1)
        or entries != vmdk.TABLE_ENTRIES
        or not 1 <= descriptor <= descriptor + size <= overhead <= MAX_OVERHEAD
    ):
        problem = "its header is damaged"
    else:
        return header
    raise VerificationError(f"{member.name}: {problem}")


def _descriptor(header: Header, front: bytes) -> dict[str, str]:
    begin = header.descriptor * vmdk.SECTOR
    text = front[begin : begin + header.descriptor_size * vmdk.SECTOR].rstrip(b"\0")
    pairs = re.findall(
        r"^([\w.]+) *= *\"?(.*?)\"?\r?$", text.decode("utf-8", "replace"), re.MULTILINE
    )
    return dict(pairs)


def _integers(data: bytes) -> "array[int]":
    return array("I", struct.unpack(f"<{len(data) // 4}I", data))
