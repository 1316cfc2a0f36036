"""What the administrator types: notebook-assignments."""

# ruff: noqa: T201 - a program

import argparse
import os
import sys
from pathlib import Path

from provision.guest import typed
from provision.guest.assignments.compare import similar
from provision.guest.assignments.course import Course
from provision.guest.assignments.errors import AssignmentError
from provision.guest.assignments.rows import Row
from provision.guest.assignments.versions import SUMS
from provision.guest.pool.account import read_settings
from provision.guest.pool.courses import read_courses

EXAMS = ("extra", "pause", "resume", "check", "archive")
SAID = """Assignments of courses, in nbgrader's or otter-grader's format.

A teacher writes notebooks into courses/COURSE/source/ASSIGNMENT; students work below
courses/COURSE/hand-in/ASSIGNMENT."""


@typed.reporting_damage()
def main() -> None:
    """Carry out what was typed."""
    os.umask(0o077)
    parser = argparse.ArgumentParser(
        prog="notebook-assignments",
        description=SAID,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    helps = {
        "release": "put it into hand-out, without solutions and hidden tests",
        "collect": "take what is new in the hand-ins; each version is kept",
        "grade": "collect, then grade what has no result yet",
        "feedback": "put the results' pages into the students' hand-ins",
        "show": "who handed in and when, and what came of it",
        "similar": "which hand-ins are alike, as a hint",
        "gradebook": "all results of a course, as CSV",
        "extra": "give one more time in an exam",
        "pause": "let nobody work on an exam",
        "resume": "let them go on; the time is added",
        "check": "whether all is as it was handed in",
        "archive": "write all that was handed in and its hashes to a file, as a tar",
    }
    for verb, told in helps.items():
        each = verbs.add_parser(verb, help=told)
        each.add_argument("course")
        if verb != "gradebook":
            each.add_argument("assignment")
        if verb == "release":
            each.add_argument("--due", default="", help="as 2026-12-01T12:00, in local time")
            each.add_argument("--grace", type=int, default=0, metavar="MINUTES")
            each.add_argument(
                "--from",
                dest="begin",
                default="",
                metavar="TIME",
                help="it is an exam and begins then, as 2026-12-01T10:00",
            )
            each.add_argument("--terminals", action="store_true", help="an exam has them")
            each.add_argument("--material", action="store_true", help="an exam shows the course's")
        if verb == "extra":
            each.add_argument("student")
            each.add_argument("minutes", type=float)
        if verb == "archive":
            each.add_argument("file", type=Path)
        if verb in ("grade", "feedback", "pause", "resume"):
            each.add_argument("--student", action="append", help="of whom; repeat for several")
        if verb == "grade":
            each.add_argument("--again", action="store_true", help="what has a result, too")
    asked = parser.parse_args()
    if os.geteuid():
        sys.exit("notebook-assignments: only root may: sudo notebook-assignments …")
    directory = read_settings().directory
    courses = read_courses(directory)
    if asked.course not in courses:
        there = ", ".join(sorted(courses)) or "none"
        sys.exit(f"notebook-assignments: no course {asked.course}; there are: {there}")
    try:
        do = _invigilate if asked.verb in EXAMS else _do
        do(asked, Course(directory, asked.course, courses[asked.course]))
    except (AssignmentError, OSError) as error:
        sys.exit(f"notebook-assignments: {error}")


def _do(asked: argparse.Namespace, course: Course) -> None:
    if asked.verb == "release":
        rules = {"begin": asked.begin, "terminals": asked.terminals, "material": asked.material}
        place = "exam" if asked.begin else "hand-out"
        for name in course.release(asked.assignment, asked.due, asked.grace, **rules):
            print(f"{place}/{asked.assignment}/{name}")
    elif asked.verb == "collect":
        for student in course.collect(asked.assignment):
            print(f"{student}: a new version")
    elif asked.verb == "grade":
        course.collect(asked.assignment)
        course.grade(
            asked.assignment,
            asked.student,
            again=asked.again,
            tell=lambda student: print(f"{student}: graded", flush=True),
        )
        _show(course.rows(asked.assignment))
    elif asked.verb == "feedback":
        for student in course.feedback(asked.assignment, asked.student):
            print(f"{student}: hand-in/feedback/{asked.assignment}")
    elif asked.verb == "similar":
        told = similar(course, asked.assignment)
        for pair in told["pairs"]:
            print(f"{' and '.join(pair['students'])}: {pair['share']:.0%}")
        for student in told["unread"]:
            print(f"{student}: cannot be compared", file=sys.stderr)
    elif asked.verb == "show":
        _show(course.rows(asked.assignment))
    else:
        print(course.gradebook(), end="")


def _invigilate(asked: argparse.Namespace, course: Course) -> None:
    if asked.verb == "extra":
        course.allow(asked.assignment, asked.student, asked.minutes)
    elif asked.verb in ("pause", "resume"):
        getattr(course, asked.verb)(asked.assignment, asked.student)
    elif asked.verb == "check":
        if changed := course.differences(asked.assignment):
            raise AssignmentError(f"not as it was handed in: {', '.join(changed)}")
    elif asked.verb == "archive":
        with asked.file.open("xb") as file:
            print(f"{course.archive(asked.assignment, file)}  {SUMS}")


def _show(rows: list[Row]) -> None:
    for row in rows:
        if not row.handed:
            print(f"{row.student}: nothing handed in")
            continue
        score = "not graded" if row.score is None else f"{row.score:g} of {row.max_score:g}"
        told = [score, f"handed in {row.handed}"]
        told += ["late"] * row.late + ["some by hand"] * row.by_hand + ["returned"] * row.returned
        told += [f"{row.versions} versions"] * (row.versions > 1)
        print(f"{row.student}: {', '.join((*told, *row.problems))}")
