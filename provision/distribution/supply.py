"""Where chunks come from: suppliers in a chain, the nearest first, each with its own count."""

import contextlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from provision.distribution import chunks, vdi
from provision.distribution.assemble import OpenDisk
from provision.distribution.chunks import ChunkStore, Piece
from provision.distribution.source import SourceError, read_file
from provision.errors import ApplianceError, VerificationError

Get = Callable[[Piece], bytes]  # the file of a chunk, as the publisher has it
Supply = Callable[[Piece], bytes | None]  # its content, verified; None: it is not to be had here


@dataclass
class Count:
    """What came from one supplier.

    Args:
        chunks: each counted once, however often a disk has it.
        size: bytes of these, compressed.
    """

    chunks: int = 0
    size: int = 0


class Chain:
    """Suppliers that are asked one after another.

    Args:
        suppliers: by name, in order; None: there is no such one. The last has all, or raises.
    """

    def __init__(self, **suppliers: Supply | None) -> None:
        self._suppliers = {name: supply for name, supply in suppliers.items() if supply}
        self._lock = threading.Lock()
        self.counts = {name: Count() for name in self._suppliers}

    def fetch(self, piece: Piece) -> bytes:
        """Have a chunk's content from the first that has it; many threads may ask at once.

        Raises:
            SourceError: nobody has it.
            VerificationError: what the last one sent is not it.
        """
        for name, supply in self._suppliers.items():
            content = supply(piece)
            if content is not None:
                with self._lock:
                    self.counts[name].chunks += 1
                    self.counts[name].size += piece.size
                return content
        raise SourceError(f"chunk {piece.name[:16]} is nowhere to be had")


@dataclass(frozen=True)
class Seed:
    """A published disk that is on this host: a source of chunks that costs no network.

    Args:
        image: its untouched VDI.
        pieces: its chunks.
    """

    image: Path
    pieces: tuple[Piece, ...]


def of_images(seeds: Iterable[Seed]) -> Supply:
    """Chunks of disks that are on this host; one that cannot be read any more is no hindrance.

    Args:
        seeds: the disks, first those that are asked first.
    """
    where = dict[str, list[tuple[Path, int]]]()
    layouts = dict[Path, vdi.Layout]()
    for seed in seeds:
        with contextlib.suppress(ApplianceError):
            layouts[seed.image] = vdi.read(seed.image)
            for piece in seed.pieces:
                where.setdefault(piece.name, []).append((seed.image, piece.offset))

    def supply(piece: Piece) -> bytes | None:
        for image, offset in where.get(piece.name, ()):
            with contextlib.suppress(OSError), image.open("rb", buffering=0) as file:
                content = OpenDisk(file.fileno(), layouts[image]).read(offset, piece.length)
                if chunks.name(content) == piece.name:
                    return content
        return None

    return supply


def of_store(store: ChunkStore) -> Supply:
    """Chunks of a folder that is, or was, as the published one; it may lack any of them."""

    def supply(piece: Piece) -> bytes | None:
        with contextlib.suppress(SourceError, VerificationError):
            data = read_file(store.path(piece.name), chunks.FILE_LIMIT)
            return chunks.decompress(data, piece.name)
        return None

    return supply


def of_server(get: Get) -> Supply:
    """Chunks of the publisher, who has all."""

    def supply(piece: Piece) -> bytes:
        try:
            return chunks.decompress(get(piece), piece.name)
        except VerificationError:  # spoilt on the way? what is spoilt at the source stays so
            return chunks.decompress(get(piece), piece.name)

    return supply
