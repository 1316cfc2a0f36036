"""Hand-ins compared for teachers; ``similar``, which has no rights, reads what students wrote."""

import json
import subprocess
from typing import Any

from provision.guest.assignments.course import Course
from provision.guest.assignments.errors import AssignmentError
from provision.guest.assignments.workers import PYTHON, without_rights

PATIENCE = 600  # seconds for a whole class
LARGEST = 2_000_000  # characters of a notebook; larger ones are not compared
_SIMILAR = (PYTHON, "-c", "from provision.guest.assignments.similar import main; main()")


def similar(course: Course, assignment: str) -> dict[str, Any]:
    """Which students' newest versions are alike; see ``similar.alike``.

    Args:
        course: whose.
        assignment: its name.

    Raises:
        AssignmentError: it was not released, or cannot be compared.
    """
    handed = {student: _texts(course, assignment, student) for student in course.members}
    given = course.sheet(assignment)
    return _ask(course, given=given, handed={k: v for k, v in handed.items() if v})


def beside(course: Course, assignment: str, one: str, other: str) -> dict[str, Any]:
    """Two students' newest versions, line by line; see ``similar.beside``.

    Args:
        course: whose.
        assignment: its name.
        one, other: the students.

    Raises:
        AssignmentError: it was not released, there is no such student, or they cannot be compared.
    """
    texts = [_texts(course, assignment, student) for student in (one, other)]
    return _ask(course, given=course.sheet(assignment), one=texts[0], other=texts[1])


def _texts(course: Course, assignment: str, student: str) -> dict[str, str]:
    """What a student has handed in, but for pictures by the megabyte: what is large is output."""
    texts = course.texts(assignment, student)
    return {name: text for name, text in texts.items() if len(text) <= LARGEST}


def _ask(course: Course, **request: Any) -> dict[str, Any]:
    try:
        done = subprocess.run(
            _SIMILAR,
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
            **without_rights(course.owner),
        )
        return dict(json.loads(done.stdout))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise AssignmentError(f"they cannot be compared: {type(error).__name__}") from None
