"""Files that a client sends once and names in many runs: each client's own, kept for a while."""

import contextlib
import hashlib
import os
import tempfile
import time
from pathlib import Path


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

    def put(self, client: str, identifier: str, content: bytes) -> None:
        """Keep a file, in place of one with this identifier.

        Raises:
            OSError: the disk is full.
        """
        place = self._of(client)
        place.mkdir(parents=True, exist_ok=True)
        self._tidy(place, len(content))
        with tempfile.NamedTemporaryFile(dir=place, prefix=".", delete=False) as part:
            try:
                part.write(content)
                part.flush()
                Path(part.name).rename(place / identifier)
            except OSError:
                Path(part.name).unlink(missing_ok=True)
                raise

    def get(self, client: str, identifier: str) -> bytes | None:
        """The content of a file, which is kept longer for it; None: it is not here."""
        path = self._of(client) / identifier
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)
            return path.read_bytes()
        return None

    def has(self, client: str, identifier: str) -> bool:
        """Whether a file is here."""
        return (self._of(client) / identifier).is_file()

    def _of(self, client: str) -> Path:
        return self._place / hashlib.sha256(client.encode()).hexdigest()[:32]

    def _tidy(self, place: Path, more: int) -> None:
        found = sorted(((path.stat(), path) for path in place.iterdir()), key=_age)
        size, now = more + sum(stat.st_size for stat, _ in found), time.time()
        for stat, path in found:
            if size > self._most or now - stat.st_mtime > self._keep:
                path.unlink(missing_ok=True)
                size -= stat.st_size


def _age(entry: tuple[os.stat_result, Path]) -> float:
    return entry[0].st_mtime
