"""Files that are there whole or not at all, whenever the power goes; secrets that are made once.

A new file may be empty, or hold zeros, after a power cut, even where what was written after it is
there: only what was flushed is. So a secret is flushed before it gets its name, the name is
flushed before it is used, and what holds no secret is none: it is made anew.
"""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

LEAST = 16  # characters of a secret


def keep(path: Path, text: str, *, mode: int = 0o600, owner: tuple[int, int] | None = None) -> None:
    """Write a file that is there whole or not at all.

    Args:
        path: the file; what it held stays until all is written.
        text: what it holds.
        mode: of the file.
        owner: its user and group; None: ours.
    """
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fchmod(descriptor, mode)
        if owner:
            os.fchown(descriptor, *owner)
        os.fsync(descriptor)
    fresh.replace(path)
    flush(path.parent)


def flush(place: Path) -> None:
    """Write a file, or the names in a directory, through to the disk."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path, least: int = LEAST) -> str | None:
    """The secret in a file; None: there is none, as after a power cut, so that it must be made.

    Args:
        path: the file.
        least: characters; what is shorter was cut off.

    Raises:
        OSError: the file is there and may not be read.
    """
    try:
        text = path.read_bytes().decode("ascii", "replace").strip()
    except FileNotFoundError:
        return None
    return text if len(text) >= least and text.isprintable() and "\ufffd" not in text else None


def secret(path: Path, make: Callable[[], str] = lambda: secrets.token_urlsafe(24)) -> str:
    """Read a secret, made when there is none; of two who ask at once one makes it.

    Args:
        path: its file, which only its owner may read.
        make: a new one.

    Raises:
        OSError: the file cannot be read or written.
    """
    with locking(path.parent):
        found = read(path)
        if found is None:
            keep(path, found := make())
        return found


@contextlib.contextmanager
def locking(directory: Path) -> Iterator[None]:
    """Have a directory to oneself; the hub and its proxy, for one, start at once."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
