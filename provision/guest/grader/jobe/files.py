"""Files that a client sends once and names in many runs: each client's own, kept for a while."""

import contextlib
import hashlib
import os
import threading
import time
from pathlib import Path

_LEAST = 4096  # bytes that any file counts for


class Files:
    """The files of all clients.

    An identifier is a client's word for a content: no other client's run may get what it names.

    Args:
        place: their directory.
        keep: seconds for which a file that nobody names is kept.
        most: bytes that one client may have; the oldest go.
    """

    def __init__(self, place: Path, keep: float, most: int) -> None:
        self._place, self._keep, self._most = place, keep, most
        self._alone = threading.Lock()

    def put(self, client: str, identifier: str, content: bytes) -> None:
        """Keep a file, in place of one with this identifier.

        Raises:
            OSError: the disk is full.
        """
        place = self._of(client)
        with self._alone:
            place.mkdir(parents=True, exist_ok=True)
            self._tidy(place, len(content))
            part = place / f".{identifier}"
            try:
                part.write_bytes(content)
                part.rename(place / identifier)
            except OSError:
                part.unlink(missing_ok=True)
                raise

    def get(self, client: str, identifier: str) -> bytes | None:
        """The content of a file, which is kept longer for it; None: it is not here."""
        path = self._of(client) / identifier
        if self.size(client, identifier) is not None:
            with contextlib.suppress(FileNotFoundError):
                os.utime(path)
                return path.read_bytes()
        return None

    def size(self, client: str, identifier: str) -> int | None:
        """The bytes of a file; None: it is not here, or not any more."""
        with contextlib.suppress(FileNotFoundError):
            stat = (self._of(client) / identifier).stat()
            if time.time() - stat.st_mtime <= self._keep:
                return stat.st_size
        return None

    def _of(self, client: str) -> Path:
        return self._place / hashlib.sha256(client.encode()).hexdigest()[:32]

    def _tidy(self, place: Path, more: int) -> None:
        found = sorted(((path.stat(), path) for path in place.iterdir()), key=_age)
        size, now = max(more, _LEAST) + sum(map(_room, found)), time.time()
        for entry in found:
            if size > self._most or now - _age(entry) > self._keep:
                entry[1].unlink(missing_ok=True)
                size -= _room(entry)


def _age(entry: tuple[os.stat_result, Path]) -> float:
    return entry[0].st_mtime


def _room(entry: tuple[os.stat_result, Path]) -> int:
    """An empty file takes a place on the disk, too."""
    return max(entry[0].st_size, _LEAST)
