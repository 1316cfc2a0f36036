"""The archives of deleted students: one file each, beside the students' directories.

``NAME.NUMBER.TIME.tar.gz`` in a directory of root's. The number is that of the files' owner; nobody
else gets it while the archive is there. Where paths are longer than any program could unpack them,
the archive is the student's directory itself, as ``NAME.NUMBER.TIME.tree``.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLACE = ".archive"
END = ".tar.gz"
PART = ".tar.part"  # one that is being written, or was when the power went
TREE = ".tree"
GONE = ".gone-"  # before the name of what is moved aside
LONGEST = 3500  # bytes of a path below the student's directory; the kernel takes 4095 in all


class ArchiveError(Exception):
    """It cannot be archived, or not be unpacked; the message says why."""


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
        for end in (END, TREE):
            name, *rest = path.name.removesuffix(end).rsplit(".", 2)
            if path.name.endswith(end) and len(rest) == 2 and rest[0].isdigit():
                yield Archive(path, name, int(rest[0]), rest[1])


def cut_off(directory: Path, before: float) -> Iterator[Path]:
    """What is left of archives that were not written to their end; nothing is only there.

    Args:
        directory: of all students.
        before: seconds since 1970; what was written to since may still be at work.
    """
    for path in sorted((directory / PLACE).glob(f"*{PART}")):
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_mtime < before:
                yield path


def archive(student: str, files: Path, directory: Path, idle: Callable[[], None]) -> Path:
    """Archive a student's files whole, move them aside, remove them; or nothing of it.

    Args:
        student: whose.
        files: the directory.
        directory: of all students.
        idle: raises where the student is at work.

    Raises:
        ArchiveError, OSError: it cannot be done; then all is where it was. So does what ``idle``
            raises.
    """
    number = files.stat(follow_symlinks=False).st_uid
    place, gone = directory / PLACE, directory / f"{GONE}{student}"
    place.mkdir(mode=0o700, exist_ok=True)
    for left in place.glob(f"{student}.*{PART}"):
        left.unlink()
    stem = f"{student}.{number}.{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    while any(place.glob(f"{stem}.*")):  # of this second there is one already
        time.sleep(0.2)
        stem = f"{student}.{number}.{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    idle()
    if _has_long_paths(files):
        gone, whole = place / f"{stem}{TREE}", None
    else:
        whole = _pack(files, place / f"{stem}{END}")
    files.rename(gone)  # whoever signs in now begins with nothing
    try:
        idle()
        if whole is None:
            return gone
        # What tar says of itself is no proof: each file is compared with what is in it.
        _run("tar", "-dzf", str(whole), "-C", str(gone), stdout=subprocess.DEVNULL)
    except BaseException:
        gone.rename(files)
        if whole:
            whole.unlink()
        raise
    os.sync()
    remove(gone)
    return whole


def _pack(files: Path, whole: Path) -> Path:
    part = whole.with_name(whole.name.removesuffix(END) + PART)
    try:
        with part.open("wb") as file:
            _run("tar", "-cS", "--use-compress-program=gzip -1", "-C", str(files), ".", stdout=file)
            os.fsync(file.fileno())
        part.rename(whole)
    finally:
        part.unlink(missing_ok=True)
    return whole


def unpack(found: Archive, target: Path, number: int) -> None:
    """Put an archive's files where nothing is yet; a failure leaves nothing there.

    Args:
        found: the archive.
        target: the directory to make.
        number: whose the files are.

    Raises:
        ArchiveError, OSError: it cannot be done.
    """
    remove(target)
    if found.path.name.endswith(TREE):
        if number != found.number:
            _run("chown", "-RhP", f"{number}:{number}", "--", str(found.path))
        found.path.rename(target)
        return
    target.mkdir(mode=0o700)
    os.chown(target, number, number)
    who: dict[str, Any] = {"user": number, "group": number, "extra_groups": []}
    try:
        with found.path.open("rb") as file:  # what is in it is the student's, and so is who unpacks
            _run("tar", "-xzp", "--no-same-owner", "-C", str(target), stdin=file, **who)
        os.sync()
    except BaseException:
        remove(target)
        raise


def remove(tree: Path) -> None:
    """Remove a tree, however deep; no link in it is followed.

    Raises:
        ArchiveError: something is left.
    """
    _run("rm", "-rf", "--one-file-system", "--", str(tree))


def _has_long_paths(files: Path) -> bool:
    pattern = f"\\./.{{{LONGEST},}}"
    words = ("-regextype", "posix-extended", "-regex", pattern, "-print", "-quit")
    return bool(_run("find", ".", *words, cwd=files, stdout=subprocess.PIPE))


def _run(*argv: str, **how: Any) -> bytes:
    env = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(argv, stderr=subprocess.PIPE, env=env, check=False, **how)
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip()[-400:]
        raise ArchiveError(f"{argv[0]}: {told or 'it is not what it was'}")
    return done.stdout or b""
