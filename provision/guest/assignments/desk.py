"""What root does with assignments for the hub's page.

The hub has no right to a course's files and does not know who teaches what, so it asks a service
that the system's manager starts for one request at a time: one line of JSON in, one JSON object
out, ``error`` when it is refused, ``absent`` when there is nothing of that name for who asks. Only
the hub's user may connect. It says who has signed in; what that one may do is decided here.
"""

import dataclasses
import datetime
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from provision.guest.assignments.compare import beside, similar
from provision.guest.assignments.course import Course
from provision.guest.assignments.errors import AssignmentError
from provision.guest.assignments.platforms import OF_PLATFORMS
from provision.guest.assignments.times import deadline
from provision.guest.pool.account import read_settings
from provision.guest.pool.courses import read_courses
from provision.guest.pool.exams import end_of
from provision.guest.words import say

LONGEST = 1 << 20


class AbsentError(AssignmentError):
    """There is nothing of that name, or not for who asks: the answer is the same."""


def answer(verb: str, user: str, *words: str) -> dict[str, Any]:
    """Carry out what a signed-in user asks, or the hub for a learning platform.

    Args:
        verb: ``overview``, or one of ``TEACHING``, ``LEARNING`` or ``OF_PLATFORMS``.
        user: who asks; of a platform: which course there.
        words: the course, the assignment, and what the verb takes.

    Raises:
        AssignmentError: it cannot be done.
    """
    directory = read_settings().directory
    if verb in OF_PLATFORMS:
        return OF_PLATFORMS[verb](directory, user, *words)
    known = read_courses(directory)
    if verb == "overview":
        mine = {role: {n: c for n, c in known.items() if user in c[role]} for role in _ROLES}
        return {
            role: {n: _ROLES[role](Course(directory, n, c), user) for n, c in courses.items()}
            for role, courses in mine.items()
        }
    if verb in TEACHING:
        role, doing = "teachers", TEACHING[verb]
    elif verb in LEARNING:
        role, doing = "members", LEARNING[verb]
        words = (*words[:2], user)
    else:
        raise AbsentError(f"there is no {verb}")
    name, *rest = words
    if user not in known.get(name, {}).get(role, ()):
        raise AbsentError(f"{user} has no course {name}")
    return doing(Course(directory, name, known[name]), *rest)


def _may(course: Course, *students: str) -> dict[str, Any]:
    """The course's students, for who asks about none but these."""
    if strangers := {*students} - {*course.members}:
        raise AbsentError(f"{course.name} has no student {min(strangers)}")
    return {"students": course.members}


def _teach(course: Course, _: str) -> dict[str, Any]:
    told = _list(course, lambda name: _about(course, name))
    return {"sources": course.sources(), "assignments": told}


def _learn(course: Course, student: str) -> list[dict[str, Any]]:
    return _list(
        course,
        lambda name: {
            **_about(course, name, student),
            "begun": course.has_work(name, student),
            # What came of it is the student's to know when it is returned.
            **_row(course.row(name, student, results=False)),
        },
    )


def _list(course: Course, look: Callable[[str], dict[str, Any]]) -> list[dict[str, Any]]:
    """What is known of each assignment; ``trouble`` where one is damaged, which hides no other."""
    told = []
    for name in course.assignments():
        try:
            told.append(look(name))
        except (OSError, ValueError, AssignmentError) as error:
            told.append({"name": name, "trouble": str(error)})
    return told


def _about(course: Course, name: str, student: str = "") -> dict[str, Any]:
    told = course.record(name)
    about = {"name": name, "due": local(told["due"]), "grace": told["grace"]}
    if rules := told.get("exam"):
        about["exam"] = local(rules["from"])
        about["extra"] = {each: round(more / 60) for each, more in rules["extra"].items()}
        about["paused"] = sorted(rules["paused"])
    if rules and student:
        about["due"] = local(end_of(told, student).isoformat())
        about |= {"extra": {}, "paused": student in rules["paused"]}
    return about


def _row(row: Any) -> dict[str, Any]:
    told = dataclasses.asdict(row)
    return {**told, "handed": local(told["handed"])}


def local(moment: str) -> str:
    """A time in the appliance's zone, as one reads it; empty: none."""
    if not moment:
        return ""
    return datetime.datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M %Z")


def _all(course: Course, assignment: str) -> dict[str, Any]:
    rows = [_row(row) for row in course.rows(assignment)]
    return {"about": _about(course, assignment), "rows": rows}


def _one(course: Course, assignment: str, student: str) -> dict[str, Any]:
    told = course.work(assignment, student)
    versions = [{**each, "handed": local(each["handed"])} for each in told["versions"]]
    row = _row(course.row(assignment, student))
    return {**told, "versions": versions, "row": row, "about": _about(course, assignment)}


def _page(course: Course, assignment: str, student: str, notebook: str) -> dict[str, Any]:
    return {"page": course.page(assignment, student, notebook)}


def _similar(course: Course, assignment: str) -> dict[str, Any]:
    return similar(course, assignment)


def _beside(course: Course, assignment: str, one: str, other: str) -> dict[str, Any]:
    return beside(course, assignment, one, other)


def _release(
    course: Course, assignment: str, due: str, grace: str, begin: str, *rules: str
) -> dict[str, Any]:
    try:
        minutes = int(grace or 0)
    except ValueError:
        raise AssignmentError(say("{text} is no number of minutes", text=repr(grace))) from None
    written = course.release(
        *(assignment, due, minutes),
        begin=begin,
        terminals="terminals" in rules,
        material="material" in rules,
    )
    if begin:
        when = local(deadline(begin))
        done = say("{count} files will be handed out, {time}", count=len(written), time=when)
    else:
        done = say("{count} files are handed out", count=len(written))
    return _reply(assignment, done)


def _allow(course: Course, assignment: str, student: str, minutes: str) -> dict[str, Any]:
    try:
        more = float(minutes)
    except ValueError:
        raise AssignmentError(say("{text} is no number of minutes", text=repr(minutes))) from None
    course.allow(assignment, student, more)
    return _reply(
        assignment,
        say("{student} has {minutes} minutes more", student=student, minutes=f"{more:g}"),
    )


def _pause(course: Course, assignment: str, *students: str) -> dict[str, Any]:
    course.pause(assignment, [*students] or None)
    if students:
        return _reply(assignment, say("{student} rests", student=students[0]))
    return _reply(assignment, say("nobody works on it now"))


def _resume(course: Course, assignment: str, *students: str) -> dict[str, Any]:
    course.resume(assignment, [*students] or None)
    return _reply(assignment, say("it goes on, by as much longer"))


def _check(course: Course, assignment: str) -> dict[str, Any]:
    if changed := course.differences(assignment):
        raise AssignmentError(say("not as it was handed in: {files}", files=", ".join(changed)))
    return _reply(assignment, say("all is as it was handed in"))


def _collect(course: Course, assignment: str) -> dict[str, Any]:
    return _reply(assignment, say("{count} new versions", count=len(course.collect(assignment))))


def _grade(course: Course, assignment: str, *students: str) -> dict[str, Any]:
    return _run_grading(course, assignment, students, again=False)


def _again(course: Course, assignment: str, *students: str) -> dict[str, Any]:
    return _run_grading(course, assignment, students, again=True)


def _run_grading(
    course: Course, assignment: str, students: tuple[str, ...], *, again: bool
) -> dict[str, Any]:
    done: list[str] = []
    course.collect(assignment)
    course.grade(assignment, [*students] or None, again=again, tell=done.append)
    return _reply(assignment, say("{count} graded", count=len(done)))


def _mark(course: Course, assignment: str, student: str, marks: str) -> dict[str, Any]:
    course.mark(assignment, student, json.loads(marks))
    return _reply(assignment, say("points of {student} are kept", student=student))


def _feedback(course: Course, assignment: str, *students: str) -> dict[str, Any]:
    returned = course.feedback(assignment, [*students] or None)
    return _reply(assignment, say("feedback went to {count}", count=len(returned)))


def _begin(course: Course, assignment: str, student: str) -> dict[str, Any]:
    files = len(course.begin(assignment, student))
    return _reply(assignment, say("{count} files are in hand-in", count=files))


def _hand_in(course: Course, assignment: str, student: str) -> dict[str, Any]:
    row = _row(course.hand_in(assignment, student))
    if row["late"]:
        return _reply(
            assignment, say("handed in, as it was on {time}, which is late", time=row["handed"])
        )
    return _reply(assignment, say("handed in, as it was on {time}", time=row["handed"]))


def _reply(assignment: str, what: str) -> dict[str, Any]:
    return {"done": f"{assignment}: {what}"}


_ROLES: Mapping[str, Callable[[Course, str], Any]] = {"teachers": _teach, "members": _learn}
TEACHING: Mapping[str, Callable[..., dict[str, Any]]] = {
    "may": _may,
    **{"gradebook": lambda course: {"csv": course.gradebook()}, "all": _all, "one": _one},
    **{"similar": _similar, "beside": _beside},
    **{"page": _page, "release": _release, "collect": _collect, "grade": _grade},
    **{"again": _again, "mark": _mark, "feedback": _feedback},
    **{"extra": _allow, "pause": _pause, "resume": _resume, "check": _check},
}
LEARNING: Mapping[str, Callable[..., dict[str, Any]]] = {"begin": _begin, "hand-in": _hand_in}


def respond(request: bytes) -> dict[str, Any]:
    """What comes of a request; why nothing does, where it cannot be carried out.

    Args:
        request: as ``keeper.ask`` sends it.
    """
    try:
        return answer(*map(str, json.loads(request)))
    except AbsentError as error:
        return {"error": str(error), "absent": True}
    except (OSError, ValueError, TypeError, AssignmentError) as error:
        return {"error": str(error)}


def main() -> None:
    """Carry out the request on standard input."""
    sys.stdout.write(json.dumps(respond(sys.stdin.buffer.read(LONGEST))))


if __name__ == "__main__":
    main()
