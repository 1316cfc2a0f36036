"""Which names had files before: whoever comes with one of them now waits for the administrator."""

import os
from collections.abc import Collection
from pathlib import Path

from provision.guest.pool.keeper import RefusedError, asked


async def earlier(names: Collection[str], directory: Path, state: Path) -> set[str]:
    """The names of which there are files: in place, archived, or on another machine.

    Where root's service cannot be asked, it is all of them: rather one approval too many.

    Args:
        names: are asked for.
        directory: of all students.
        state: directory of the hub's own files.
    """
    places = {name: (directory / name, state / "machines" / name) for name in names}
    found = {name for name, paths in places.items() if any(map(_is_there, paths))}
    if found == set(names):
        return found
    try:
        archived = set((await asked("earlier"))["names"])
    except RefusedError:
        return set(names)
    return found | (archived & set(names))


def _is_there(path: Path) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
