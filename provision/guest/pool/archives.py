"""The archives of deleted students: one file each, beside the students' directories.

``NAME.NUMBER.TIME.tar.gz`` in a directory of root's. The number is that of the files' owner; nobody
else gets it while the archive is there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PLACE = ".archive"
END = ".tar.gz"


@dataclass(frozen=True)
class Archive:
    """The files of a student who was deleted.

    Args:
        path: the archive.
        student: whose.
        number: of their owner.
        time: when, as in 20261121T154500.
    """

    path: Path
    student: str
    number: int
    time: str


def archives(directory: Path) -> Iterator[Archive]:
    """All archives.

    Args:
        directory: of all students.
    """
    place = directory / PLACE
    for path in sorted(place.iterdir()) if place.is_dir() else ():
        name, *rest = path.name.removesuffix(END).rsplit(".", 2)
        if path.name.endswith(END) and len(rest) == 2 and rest[0].isdigit():
            yield Archive(path, name, int(rest[0]), rest[1])
