"""What root does with courses for learning platforms, which the hub speaks with.

Only names that a platform's people have, and only courses that the record connects with one: the
hub cannot make anybody else a teacher by it, nor learn of anybody else's points.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from provision.guest import record
from provision.guest.assignments.course import Course
from provision.guest.assignments.errors import AssignmentError
from provision.guest.pool.courses import PLACE, read_courses
from provision.guest.pool.rolls import connections, enroll, names


def check(source: str, course: str) -> None:
    """Make sure that a platform's course is ours, by the record.

    Args:
        source: which platform, and which course there (``rolls.source_of``).
        course: which course here.

    Raises:
        AssignmentError: it is not.
    """
    told = record.read()
    connected = connections(told.sign_in.get("lti", ()))
    if course not in told.courses or connected.get(source) != course:
        raise AssignmentError(f"no platform has a course that is {course}")


def take_roll(directory: Path, source: str, course: str, roll: str) -> dict[str, Any]:
    """Write down who is in a course by a platform.

    Args:
        directory: of all students.
        source: which platform, and which course there.
        course: which course here.
        roll: as JSON, names by role, and whether they are all (``whole``).

    Raises:
        AssignmentError: the course is no platform's.
        ValueError: a name is none of a platform's.
    """
    check(source, course)
    told = json.loads(roll)
    whole = told.pop("whole") is True
    enroll(directory / PLACE, course, source, told, whole=whole)
    return {"done": course}


def tell_points(directory: Path, source: str, course: str) -> dict[str, Any]:
    """The points of work that a platform's people have back, each from the own platform only.

    Args:
        directory: of all students.
        source: which platform, and which course there.
        course: which course here.

    Raises:
        AssignmentError: the course is no platform's.
    """
    check(source, course)
    theirs = names(directory / PLACE, course, source)
    work = Course(directory, course, read_courses(directory)[course])
    points: list[dict[str, Any]] = []
    for assignment in work.assignments():
        for student in sorted(theirs & {*work.members}):
            row = work.row(assignment, student)
            if row.returned and row.score is not None and row.max_score is not None:
                told: dict[str, Any] = {"assignment": assignment, "student": student}
                told |= {"score": row.score, "most": row.max_score}
                points.append({**told, "graded": row.graded, "by_hand": row.by_hand})
    return {"points": points}


OF_PLATFORMS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "enroll": take_roll,
    "returned": tell_points,
}
