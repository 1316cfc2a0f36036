"""Courses: what a session is shown of each course that its student learns or teaches.

``.courses/NAME`` beside the students' directories is root's. In it are ``material``, ``hand-out``
and the teachers' ``source`` and ``results``, which a number of the course's own owns, as a
student's number owns the student's files, and ``hand-in`` with one directory per student, of that
student's number. Nobody but root gets there by its path; mounts of the session decide who appears
as the owner. A student is shown
material and hand-out, read-only, and the student's own hand-in; a teacher is shown and may change
it all.

What is handed in counts towards the student's quota, the rest towards the course's.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.guest import record
from provision.guest.pool import rolls
from provision.guest.pool.files import COURSES, free_number, limit_disk, student_directory
from provision.guest.whole import locking

PLACE = ".courses"
SHARED = ("material", "hand-out")
TEACHING = ("source", "results")  # of assignments; teachers alone see them, and write the first
HAND_IN = "hand-in"


@dataclass(frozen=True)
class View:
    """One directory that a session is shown.

    Args:
        files: what.
        place: where, as a path below the session's ``courses``.
        writable: else read-only.
        others: it is somebody else's work: no link in it is followed, nothing in it runs.
    """

    files: Path
    place: str
    writable: bool
    others: bool = False

    @property
    def options(self) -> str:
        """For mount(8)."""
        further = ["nosymfollow", "noexec"] * self.others + ["ro"] * (not self.writable)
        return ",".join(["nosuid", "nodev", *further])


def read_courses(directory: Path) -> dict[str, Any]:
    """The courses by name, each a ``record.CourseRecord``, with those of platforms' rolls.

    Args:
        directory: of all students.

    Raises:
        DamagedError: the record or the file of rolls is damaged.
    """
    told = record.read()
    connected = rolls.connections(told.sign_in.get("lti", ()))
    return rolls.merge(told.courses, directory / PLACE, connected)


def views(directory: Path, student: str, courses: Mapping[str, Any]) -> Iterator[View]:
    """Make what is missing of a student's courses, and tell what the session is shown.

    Args:
        directory: of all students.
        student: whose session it is.
        courses: from ``read_courses``.

    Raises:
        OSError: no number is left, or the disk is full.
    """
    for name, course in sorted(courses.items()):
        teaches, learns = student in course["teachers"], student in course["members"]
        if not (teaches or learns):
            continue
        files = course_directory(directory, name)
        limit_disk(files, (files / SHARED[0]).stat().st_uid, course["quota"])
        for part in SHARED:
            yield View(files / part, f"{name}/{part}", writable=teaches)
        if teaches:
            for part in TEACHING:
                yield View(files / part, f"{name}/{part}", writable=part == TEACHING[0])
            for member in sorted(course["members"]):
                theirs = hand_in_directory(directory, files, member)
                yield View(theirs, f"{name}/{HAND_IN}/{member}", writable=True, others=True)
        else:
            mine = hand_in_directory(directory, files, student)
            yield View(mine, f"{name}/{HAND_IN}", writable=True)


def course_directory(directory: Path, name: str) -> Path:
    """Find a course's directory, or make it with the next free number for what is its own.

    Args:
        directory: of all students.
        name: the course's, checked.

    Raises:
        OSError: no number is left.
    """
    place = directory / PLACE
    path = place / name
    if path.is_dir():
        return _complete(path)
    with locking(directory):
        place.mkdir(mode=0o700, exist_ok=True)
        if path.is_dir():
            return _complete(path)
        each = [course / SHARED[0] for course in place.iterdir()]
        number = free_number(COURSES, [at.stat().st_uid for at in each if at.exists()])
        fresh = place / f".new-{name}"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        for part in (*SHARED, *TEACHING):
            (fresh / part).mkdir(mode=0o700)
            os.chown(fresh / part, number, number)
        (fresh / HAND_IN).mkdir(mode=0o700)
        fresh.rename(path)
    return path


def _complete(course: Path) -> Path:
    """The directory of a course, with what an earlier version of ours did not make."""
    owner = (course / SHARED[0]).stat().st_uid
    for part in TEACHING:
        with contextlib.suppress(FileExistsError):
            (course / part).mkdir(mode=0o700)
            os.chown(course / part, owner, owner)
    return course


def hand_in_directory(directory: Path, files: Path, student: str) -> Path:
    """A student's directory of a course; that of an earlier student of the name is put aside.

    Args:
        directory: of all students.
        files: the course's directory.
        student: a member's name.

    Raises:
        OSError: no number is left, or the disk is full.
    """
    owner = student_directory(directory, student, ahead=True).stat().st_uid
    path = files / HAND_IN / student
    with contextlib.suppress(FileNotFoundError):
        if (before := path.lstat().st_uid) == owner:
            return path
        path.rename(files / HAND_IN / f".{student}.{before}")
    with locking(directory):
        fresh = files / HAND_IN / f".new-{student}"
        fresh.mkdir(mode=0o700, exist_ok=True)
        os.chown(fresh, owner, owner)
        with contextlib.suppress(OSError):  # another session of the course was faster
            fresh.rename(path)
    return path
