"""Write a file whole or not at all, and to an ordinary place."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from provision.errors import UsageError


def ordinary(path: Path) -> Path:
    """The place at which a file can be written whole: a link is followed, not replaced.

    Args:
        path: as the user gave it.

    Raises:
        UsageError: something is there that is no ordinary file, or its directory is not there.
    """
    try:
        place = path.resolve()
    except (OSError, RuntimeError):  # links that lead to each other; Python 3.13 raises nothing
        place = path
    if place.is_symlink():
        raise UsageError(f"{path} is a link that leads nowhere", hint="name another file")
    if place.exists() and not place.is_file():
        kind = "a directory" if place.is_dir() else "no ordinary file"
        raise UsageError(f"{path} is {kind}", hint="name a file to write")
    if not place.parent.is_dir():
        raise UsageError(
            f"{path}: there is no directory {place.parent}", hint=f"mkdir -p {place.parent}"
        )
    return place


def write_whole(
    path: Path, data: bytes, *, mode: int = 0o644, replace: bool = True, durable: bool = False
) -> None:
    """Write a file so that a reader sees all of it or what was there before, even after a kill.

    Args:
        path: the file; its directory is made when missing.
        data: all of it.
        mode: its permissions, from the first byte on.
        replace: take the place of one that is there.
        durable: a power cut, too, leaves one of the two. What is checked whenever it is read needs
            no such wait for the disk.

    Raises:
        FileExistsError: it is there, and not to be replaced.
        OSError: there is no room, or no right.
    """
    with writing_whole(path, mode=mode, replace=replace, durable=durable) as file:
        file.write(data)


@contextlib.contextmanager
def writing_whole(
    path: Path, *, mode: int = 0o644, replace: bool = True, durable: bool = False
) -> Iterator[IO[bytes]]:
    """As ``write_whole``, for what comes in parts: it is there when the block ends well.

    Yields:
        The file to write to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".part-", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            draft.chmod(mode)
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if replace:
            draft.replace(path)
        else:
            path.hardlink_to(draft)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    if durable:
        _settle(path.parent)


def _settle(directory: Path) -> None:
    """Have a new file's name on the disk; Windows opens no directory, and need not."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
