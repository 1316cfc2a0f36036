"""Packs: chunks that stand side by side on a disk, compressed together for who has none of them.

A chunk's own file is what an update wants. A first install wants all, and compressed by the
dozen they take a tenth less (docs/distribution.md). Which chunks a pack has follows from the list
of the disk's chunks alone, and so does its name; nothing in it is believed but by the chunks' own
names. A published folder may have them, or not.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import zstandard

from provision.distribution import chunks
from provision.distribution.chunks import Piece
from provision.distribution.source import MissingError, SourceError
from provision.errors import VerificationError

PLACE = "packs"
SIZE = 8 << 20  # bytes of the largest, unpacked; half of it on average
ONE_IN = 48  # chunks end a pack: one that changes leaves the other packs as they were
LEVEL = 9  # of zstd
FILE_LIMIT = SIZE + SIZE // 64
AHEAD = 4  # packs that are fetched at once
KEPT = 8  # and those behind them in memory: chunks are asked for in order, by some threads

Get = Callable[["Pack"], bytes]  # the file of a pack, as the publisher has it


@dataclass(frozen=True)
class Pack:
    """Some chunks of a disk.

    Args:
        name: the SHA-256 over their names, in hexadecimal.
        pieces: the chunks, each once.
    """

    name: str
    pieces: tuple[Piece, ...]

    @property
    def path(self) -> str:
        """Of its file in the published folder, with ``/``."""
        return f"{PLACE}/{self.name[:2]}/{self.name}.zst"


def divide(pieces: Iterable[Piece]) -> tuple[Pack, ...]:
    """The packs of a disk, by the list of its chunks."""
    found, members, size, seen = list[Pack](), list[Piece](), 0, set[str]()

    def close() -> None:
        names = "".join(piece.name for piece in members)
        found.append(Pack(hashlib.sha256(names.encode()).hexdigest(), tuple(members)))
        members.clear()

    for piece in pieces:
        if piece.name in seen:
            continue
        seen.add(piece.name)
        if members and size + piece.length > SIZE:
            close()
            size = 0
        members.append(piece)
        size += piece.length
        if int(piece.name[:8], 16) % ONE_IN == 0:
            close()
            size = 0
    if members:
        close()
    return tuple(found)


def compress(pack: Pack, files: Iterable[bytes]) -> bytes:
    """Make the content of a pack's file.

    Args:
        pack: which one.
        files: those of its chunks, in order.

    Raises:
        VerificationError: a chunk is damaged.
    """
    parts = zip(files, pack.pieces, strict=True)
    content = b"".join(chunks.decompress(data, piece.name) for data, piece in parts)
    return zstandard.ZstdCompressor(level=LEVEL).compress(content)


def unpack(data: bytes, pack: Pack) -> dict[str, bytes]:
    """Take the chunks out of a pack's file, by their names, which say what they are.

    Raises:
        VerificationError: it is not that pack.
    """
    size = sum(piece.length for piece in pack.pieces)
    try:
        if zstandard.frame_content_size(data) != size or size > SIZE:
            raise VerificationError(f"pack {pack.name[:16]} is damaged: it has another size")
        content = memoryview(zstandard.ZstdDecompressor().decompress(data, max_output_size=size))
    except zstandard.ZstdError as error:
        raise VerificationError(f"pack {pack.name[:16]} is damaged: {error}") from error
    found, place = {}, 0
    for piece in pack.pieces:
        found[piece.name] = bytes(content[place : place + piece.length])
        if chunks.name(found[piece.name]) != piece.name:
            raise VerificationError(f"pack {pack.name[:16]} is damaged: a chunk is another one")
        place += piece.length
    return found


class Packed:
    """Chunks of the publisher, by the pack. Called by many threads at once.

    Args:
        packs: of the disks that are wanted, in order.
        get: fetches one.
        ahead: how many are fetched at once, that of the chunk which is wanted and the next.
        fetched: is told what was in one.
        offered: whether any is to be had; without, this says only who keeps what.
    """

    def __init__(
        self,
        packs: Sequence[Pack],
        get: Get,
        *,
        ahead: int = AHEAD,
        fetched: Callable[[dict[str, bytes]], object] = len,
        offered: bool = True,
    ) -> None:
        self._packs, self._get, self._ahead, self._fetched = packs, get, ahead, fetched
        self._where = {
            piece.name: number
            for number, pack in reversed(list(enumerate(packs)))
            for piece in pack.pieces
        }
        self._found = OrderedDict[int, Future[dict[str, bytes]]]()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(AHEAD)
        self._offered = offered

    def keeper(self, piece: Piece) -> str:
        """By what the seats of a room agree who fetches a chunk for all: one of them a pack.

        Also for who fetches no packs: by another rule it would ask another seat for the chunk,
        and the server sent it twice.
        """
        number = self._where.get(piece.name)
        return piece.name if number is None else self._packs[number].name

    def wait(self, name: str) -> None:
        """Wait for the pack of a chunk, if it is on its way."""
        with self._lock:
            found = self._found.get(self._where.get(name, -1))
        if found:
            found.result()

    def supply(self, piece: Piece) -> bytes | None:
        """A chunk's content; None: it is not to be had so, but may be by itself."""
        number = self._where.get(piece.name)
        if number is None or not self._offered:
            return None
        with self._lock:
            for each in range(number, min(number + self._ahead, len(self._packs))):
                if each not in self._found:
                    self._found[each] = self._pool.submit(self._fetch, self._packs[each])
            found = self._found[number]
            while len(self._found) > KEPT + self._ahead:
                self._found.popitem(last=False)
        return found.result().get(piece.name)

    def _fetch(self, pack: Pack) -> dict[str, bytes]:
        if self._offered:
            try:
                found = unpack(self._get(pack), pack)
                self._fetched(found)
            except MissingError:  # the folder has none, or another version's by now
                self._offered = False
            except (SourceError, VerificationError):
                pass
            else:
                return found
        return {}
