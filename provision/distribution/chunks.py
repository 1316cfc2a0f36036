"""Chunks of raw disks, cut where the content says so and named by the SHA-256 of it.

A file system puts files at multiples of its block, so content moves by whole blocks only, and it
does move: a file that grew shifts all that mke2fs puts after it. So disks are cut into blocks of
4 KiB and a chunk ends behind a block whose checksum says so, wherever that block stands. (Chunks
of a fixed size shared a fifth with the next version where these shared nine tenths;
docs/distribution.md has the figures.) Blocks of zeros are in no chunk.
"""

import hashlib
import os
import threading
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import zstandard

from provision.errors import VerificationError
from provision.files import write_whole

BLOCK = 4096  # bytes
MIN_BLOCKS, MAX_BLOCKS = 4, 64  # of a chunk, unless zeros end it
ONE_IN = 16  # blocks end a chunk: 64 KiB on average
SIZE = MAX_BLOCKS * BLOCK  # bytes of the largest chunk
FILE_LIMIT = SIZE + 4096  # of its file: what cannot be compressed grows by a few bytes
LEVEL = 9  # of zstd: a chunk is compressed once and downloaded thirty times
_READ = 1 << 20
_ZEROS = bytes(BLOCK)
_local = threading.local()


@dataclass(frozen=True)
class Piece:
    """A chunk at its place on a disk.

    Args:
        offset: where it begins on the disk, in bytes.
        length: its bytes there.
        name: the SHA-256 of its content, in hexadecimal.
        size: bytes of its compressed file.
    """

    offset: int
    length: int
    name: str
    size: int


def name(content: bytes) -> str:
    """The name of a chunk."""
    return hashlib.sha256(content).hexdigest()


def digest(placed: Iterable[tuple[int, str]]) -> str:
    """One digest over a whole disk: the SHA-256 over offset and name of each chunk, in order.

    Equal for two disks of one size if and only if all of their bytes are equal, and far quicker
    to make than the SHA-256 of 20 GiB of mostly zeros.
    """
    whole = hashlib.sha256()
    for offset, chunk in placed:
        whole.update(offset.to_bytes(8, "big") + bytes.fromhex(chunk))
    return whole.hexdigest()


def cut(runs: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Cut a disk into chunks, each with its offset.

    Args:
        runs: the disk's content in order, each run with its offset, a multiple of `BLOCK`; what
            is left out is zero. How it is divided into runs makes no difference.
    """
    start, blocks, expected = 0, list[bytes](), -1

    def flush() -> Iterator[tuple[int, bytes]]:
        if blocks:
            yield start, b"".join(blocks)
            blocks.clear()

    for offset, content in runs:
        if offset != expected:
            yield from flush()
        expected = offset + len(content)
        for position in range(0, len(content), BLOCK):
            block = content[position : position + BLOCK]
            if block == _ZEROS[: len(block)]:
                yield from flush()
                continue
            if not blocks:
                start = offset + position
            blocks.append(block)
            full = len(blocks) >= MAX_BLOCKS
            if full or (len(blocks) >= MIN_BLOCKS and zlib.crc32(block) % ONE_IN == 0):
                yield from flush()
    yield from flush()


def read(disk: Path) -> Iterator[tuple[int, bytes]]:
    """Read the runs of a raw, best sparse, image that have data."""
    with disk.open("rb", buffering=0) as file:
        for start, end in _extents(file.fileno()):
            position = start - start % BLOCK
            while position < end:
                file.seek(position)
                content = file.read(min(_READ, -(-end // BLOCK) * BLOCK - position))
                if not content:
                    break
                yield position, content
                position += len(content)


def compress(content: bytes) -> bytes:
    """Make the content of a chunk's file."""
    return _compressor().compress(content)


def decompress(data: bytes, wanted: str) -> bytes:
    """Take a chunk out of its file, and believe it only when its name is right.

    Args:
        data: the content of its file, from anywhere.
        wanted: its name.

    Raises:
        VerificationError: it is not that chunk.
    """
    try:
        if zstandard.frame_content_size(data) > SIZE:
            raise zstandard.ZstdError("it claims to be larger than any chunk")
        content = _decompressor().decompress(data, max_output_size=SIZE)
    except zstandard.ZstdError as error:
        raise VerificationError(f"chunk {wanted[:16]} is damaged: {error}") from error
    if len(content) > SIZE or name(content) != wanted:
        raise VerificationError(f"chunk {wanted[:16]} is damaged: its content has another digest")
    return content


@dataclass(frozen=True)
class ChunkStore:
    """A directory of chunk files, the same on a server, a stick and a seat.

    Args:
        root: its directory.
    """

    root: Path

    def path(self, wanted: str) -> Path:
        """Where a chunk is, or would be."""
        return self.root / relative(wanted)

    def put(self, wanted: str, data: bytes) -> None:
        """Keep a chunk's file; a reader sees all of it or none."""
        write_whole(self.path(wanted), data)


def relative(wanted: str) -> str:
    """The path of a chunk's file inside a store, with ``/``."""
    return f"{wanted[:2]}/{wanted}.zst"


def _extents(descriptor: int) -> Iterator[tuple[int, int]]:
    """Where a file has data; all of it where the system cannot tell."""
    end = os.fstat(descriptor).st_size
    if not hasattr(os, "SEEK_DATA"):
        yield 0, end
        return
    position = 0
    while position < end:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            return
        position = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, position


def _compressor() -> zstandard.ZstdCompressor:
    if not hasattr(_local, "compressor"):
        _local.compressor = zstandard.ZstdCompressor(level=LEVEL)
    found: zstandard.ZstdCompressor = _local.compressor
    return found


def _decompressor() -> zstandard.ZstdDecompressor:
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    found: zstandard.ZstdDecompressor = _local.decompressor
    return found
