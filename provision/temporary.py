"""Temporary directories that the next run clears away when ours is killed.

Each holds a locked file for as long as its process lives: a lock that can be had is a sign that
the owner is gone. (A process number would say nothing to a process in another PID namespace.)
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from provision import locks

PREFIX = "appliance-"
LOCK = ".lock"
_locks: dict[Path, int] = {}


def make(parent: Path | None = None) -> Path:
    """A new directory that only we can enter; `remove` it when it is of no more use.

    Args:
        parent: where; the usual place for temporary files by default.
    """
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    lock = os.open(path / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    locks.take(lock, wait=True)
    _locks[path] = lock
    return path


def remove(path: Path) -> None:
    """Remove a directory that `make` made, and all that is in it."""
    lock = _locks.pop(path, None)
    if lock is not None:
        os.close(lock)  # first, for Windows removes no file that is open
    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def directory(parent: Path | None = None) -> Iterator[Path]:
    """A temporary directory for the length of a ``with`` block."""
    path = make(parent)
    try:
        yield path
    finally:
        remove(path)


def sweep(*parents: Path) -> int:
    """Remove what killed processes of this user left.

    Args:
        parents: where to look besides the usual place for temporary files.

    Returns:
        How many directories were removed.
    """
    removed = 0
    for parent in {Path(tempfile.gettempdir()), *parents}:
        for path in parent.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                lock = os.open(path / LOCK, os.O_RDWR)
                try:
                    locks.take(lock, wait=False)
                finally:
                    os.close(lock)
                shutil.rmtree(path, ignore_errors=True)
                removed += 1
    return removed
