"""Put a published disk together at the seat: what an earlier run left, then what is missing."""

import contextlib
import errno
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from provision import progress
from provision.distribution import chunks, vdi
from provision.distribution.chunks import Piece
from provision.distribution.manifest import PublishedDisk
from provision.errors import HostNotReadyError, VerificationError

WORKERS = 8
_AHEAD = 2 * WORKERS
_RESERVE = 64 << 20  # bytes that stay free on the seat's disk

Fetch = Callable[[Piece], bytes]


@dataclass
class Origins:
    """Where the chunks of a disk came from, as numbers of chunks.

    Args:
        resumed: were in the unfinished image.
        fetched: brought by ``fetch``, each once, however often the disk has it.
        fetched_size: bytes of these, compressed.
    """

    resumed: int = 0
    fetched: int = 0
    fetched_size: int = 0


def assemble(
    disk: PublishedDisk,
    pieces: Sequence[Piece],
    target: Path,
    *,
    identity: uuid.UUID,
    fetch: Fetch,
    workers: int = WORKERS,
) -> Origins:
    """Make the VDI of a published disk; interrupted at any byte, the next call goes on.

    The image is named ``….part`` until every chunk of it was read back and found right.

    Args:
        disk: what the manifest says of it.
        pieces: its chunks.
        target: the image to make.
        identity: the image's UUID.
        fetch: brings a chunk, decompressed and verified; called by many threads at once.
        workers: chunks fetched at once.

    Raises:
        VerificationError: list, chunks or image are not what the manifest says.
        HostNotReadyError: no room, or the chunks cannot be had.
    """
    if chunks.digest((piece.offset, piece.name) for piece in pieces) != disk.digest or any(
        not 0 <= piece.offset < piece.offset + piece.length <= disk.size for piece in pieces
    ):
        raise VerificationError(f"the list of chunks of {disk.name} is not the manifest's")
    layout = vdi.plan(disk.size, ((piece.offset, piece.length) for piece in pieces))
    part = target.with_name(target.name + ".part")
    report = Origins()
    try:
        with _opening(part) as file:
            image = OpenDisk(file, layout)
            missing = _begin(image, pieces, part, layout.header(identity), report)
            _fetch(image, missing, fetch, workers, report)
            os.fsync(file)
            with progress.step(f"check the {disk.name} disk end to end"):
                _check(image, disk)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise _no_room(part, layout.length) from error
        raise
    part.replace(target)
    return report


def present(image: Path, disk: PublishedDisk) -> bool:
    """Whether a finished image still is the published disk, byte by byte."""
    layout = vdi.read(image)
    with image.open("rb") as file:
        opened = OpenDisk(file.fileno(), layout)
        try:
            _check(opened, disk)
        except VerificationError:
            return False
    return True


@dataclass(frozen=True)
class OpenDisk:
    """An opened VDI.

    Args:
        file: its descriptor.
        layout: where its blocks are.
    """

    file: int
    layout: vdi.Layout

    def read(self, offset: int, length: int) -> bytes:
        """The bytes of a part of the disk."""
        return b"".join(
            bytes(size) if place is None else _read_at(self.file, size, place)
            for place, size in self.layout.spans(offset, length)
        )

    def write(self, piece: Piece, content: bytes) -> None:
        """Put a chunk at its place.

        Raises:
            VerificationError: it has another length.
        """
        if len(content) != piece.length:
            raise VerificationError(f"chunk {piece.name[:16]} does not fit its place")
        done = 0
        for place, size in self.layout.spans(piece.offset, piece.length):
            assert place is not None  # noqa: S101 (the layout was planned from the pieces)
            _write_at(self.file, content[done : done + size], place)
            done += size

    def runs(self) -> Iterator[tuple[int, bytes]]:
        """All that it has, block by block, in order."""
        for block in sorted(self.layout.places):
            offset = block * vdi.BLOCK
            yield offset, self.read(offset, min(vdi.BLOCK, self.layout.size - offset))


_seek_lock = threading.Lock()


def _read_at(file: int, length: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(file, length, offset)
    with _seek_lock:  # Windows
        os.lseek(file, offset, os.SEEK_SET)
        return os.read(file, length)


def _write_at(file: int, content: bytes, offset: int) -> None:
    while content:
        if hasattr(os, "pwrite"):
            written = os.pwrite(file, content, offset)
        else:
            with _seek_lock:
                os.lseek(file, offset, os.SEEK_SET)
                written = os.write(file, content)
        content, offset = content[written:], offset + written


@contextlib.contextmanager
def _opening(part: Path) -> Iterator[int]:
    part.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
    file = os.open(part, flags, 0o600)
    try:
        yield file
    finally:
        os.close(file)


def _begin(
    image: OpenDisk, pieces: Sequence[Piece], part: Path, header: bytes, report: Origins
) -> list[Piece]:
    """Write the image's header, or find out how far an earlier run came; return what is missing."""
    length = image.layout.length
    same = os.fstat(image.file).st_size == length and _read_at(image.file, len(header), 0) == header
    if not same:
        free = shutil.disk_usage(part.parent).free
        if free < length + _RESERVE:
            raise _no_room(part, length)
        os.ftruncate(image.file, 0)
        os.ftruncate(image.file, length)
        _write_at(image.file, header, 0)
        return list(pieces)
    missing = []
    with progress.step("look at what an earlier run left"):
        for piece in pieces:
            content = image.read(piece.offset, piece.length)
            if not content.strip(b"\0") or chunks.name(content) != piece.name:
                missing.append(piece)
    report.resumed = len(pieces) - len(missing)
    return missing


def _fetch(
    image: OpenDisk, missing: Sequence[Piece], fetch: Fetch, workers: int, report: Origins
) -> None:
    """Fetch each missing chunk once and write it wherever the disk has it."""
    places: dict[str, list[Piece]] = {}
    for piece in missing:
        places.setdefault(piece.name, []).append(piece)
    if not places:
        return
    total = sum(same[0].size for same in places.values())

    def bring(same: list[Piece]) -> None:
        content = fetch(same[0])
        for piece in same:
            image.write(piece, content)

    with (
        progress.step(f"bring {total / 1e6:.1f} MB of chunks"),
        ThreadPoolExecutor(workers) as pool,
    ):
        waiting: dict[Future[None], list[Piece]] = {}
        queue = iter(places.values())
        try:
            while True:
                for same in queue:
                    waiting[pool.submit(bring, same)] = same
                    if len(waiting) >= _AHEAD:
                        break
                if not waiting:
                    return
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    same = waiting.pop(future)
                    future.result()
                    report.fetched += 1
                    report.fetched_size += same[0].size
                progress.advance(report.fetched_size, total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _check(image: OpenDisk, disk: PublishedDisk) -> None:
    """Read the whole image back and cut it anew: its digest must be the one that was signed."""
    found = ((offset, chunks.name(content)) for offset, content in chunks.cut(image.runs()))
    if chunks.digest(found) != disk.digest:
        raise VerificationError(f"the {disk.name} disk is not the published one")


def _no_room(part: Path, length: int) -> HostNotReadyError:
    return HostNotReadyError(
        f"no room for {part.name.removesuffix('.part')} on the file system of {part.parent}:"
        f" it takes {length / 1e9:.1f} GB",
        hint="free some room and pull again: what is here already is kept",
    )
