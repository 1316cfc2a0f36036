"""Which names had files before: whoever comes with one of them now waits for the administrator."""

import os
from collections.abc import Collection
from pathlib import Path

from provision.guest.pool.files import AHEAD
from provision.guest.pool.keeper import KeeperRefusedError, ask


async def earlier(names: Collection[str], directory: Path, state: Path) -> set[str]:
    """The names of which there are files: in place, archived, or on another machine.

    Where root's service cannot be asked, it is all of them: rather one approval too many.

    Args:
        names: are asked for.
        directory: of all students.
        state: directory of the hub's own files.
    """
    found = {
        name
        for name in names
        if _has_files(directory / name) or _is_there(state / "machines" / name)
    }
    if found == set(names):
        return found
    try:
        archived = set((await ask("earlier"))["names"])
    except KeeperRefusedError:
        return set(names)
    return found | (archived & set(names))


def _has_files(path: Path) -> bool:
    """Whether a directory is a student's: not one that a course made before anybody came."""
    return _is_there(path) and not (path.is_dir() and path.lstat().st_mode & AHEAD)


def _is_there(path: Path) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
