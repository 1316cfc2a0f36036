"""Locks between processes, on every system that a seat may have; they end with their process."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows

    def _take(descriptor: int, *, wait: bool) -> None:
        import msvcrt  # noqa: PLC0415 (not on the other systems)

        mode = "LK_LOCK" if wait else "LK_NBLCK"  # the first one gives up after ten seconds
        while True:
            try:
                getattr(msvcrt, "locking")(descriptor, getattr(msvcrt, mode), 1)  # noqa: B009
            except OSError as error:
                if not wait:
                    raise BlockingIOError(*error.args) from error
            else:
                return

else:

    def _take(descriptor: int, *, wait: bool) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def take(descriptor: int, *, wait: bool) -> None:
    """Lock an open file until it is closed.

    Args:
        descriptor: of a file that is open for writing.
        wait: until another process lets go of it.

    Raises:
        BlockingIOError: another process holds it, and we were not to wait.
    """
    _take(descriptor, wait=wait)


@contextlib.contextmanager
def holding(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold a lock for the length of a ``with`` block.

    Args:
        path: the lock's file; made when missing, and left.
        wait: until another process lets go of it.

    Raises:
        BlockingIOError: another process holds it, and we were not to wait.
    """
    with path.open("w") as file:
        take(file.fileno(), wait=wait)
        yield
