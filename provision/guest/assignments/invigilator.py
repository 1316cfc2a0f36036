"""Begins and ends exams: root's service, which needs no hub.

A session that is not what its student should have now is ended: the ordinary one when an exam
begins, the exam's when it ends or is paused. What was written is then handed in by itself. Every
round looks at all that there is, so that whatever was missed, by a power cut, say, is done next.
"""

import datetime
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from provision.guest import record
from provision.guest.assignments.course import AssignmentError, Course
from provision.guest.pool import notes
from provision.guest.pool.account import read_settings
from provision.guest.pool.connection import account_of, greeting
from provision.guest.pool.courses import read_courses
from provision.guest.pool.exams import exam_of, exams_by_account, exams_now
from provision.guest.pool.leases import Lease, Leases

STATE = Path("/var/lib/notebook")
SECONDS = 2.0


def look(directory: Path, courses: Mapping[str, Any], leases: Iterable[Lease]) -> set[str]:
    """End every session that is not right any more; the students whose session is an exam's.

    Args:
        directory: of all students.
        courses: from ``read_courses``.
        leases: the sessions.
    """
    now, at_work = datetime.datetime.now(datetime.UTC), set()
    for lease in leases:
        account = account_of(lease.account)
        if not account.local or greeting(lease) is None:  # another machine's, or only opening
            continue
        # Asked once it has told: a session that opened since we began is what root made of it.
        found = exams_by_account().get(account.user)
        exam = exam_of(directory, lease.student, courses, now)
        if found:
            at_work.add(lease.student)
        if (exam.name if exam else None) != found or (exam and exam.paused):
            lease.end()
    return at_work


def tell(directory: Path, courses: Mapping[str, Any]) -> None:
    """Have the hub's pages know who is in an exam; no exam waits for that.

    Args:
        directory: of all students.
        courses: from ``read_courses``.
    """
    now = datetime.datetime.now(datetime.UTC)
    try:
        notes.write(exams_now(directory, courses, now), STATE.stat().st_gid)
    except OSError as error:
        print(f"exams: {error}", file=sys.stderr, flush=True)  # noqa: T201 - the journal


def main() -> None:
    """Look, every two seconds."""
    directory = read_settings().directory
    done: set[tuple[str, ...]] = set()
    before: set[str] = set()
    told_of: set[tuple[str, ...]] = set()
    while True:
        try:
            courses = read_courses(directory)
            tell(directory, courses)  # before a session ends for it
            at_work = look(directory, courses, Leases(STATE / "leases", record.read().accounts))
            for name, course in courses.items():
                # Who has just left may be writing for another moment.
                for student, trouble in Course(directory, name, course).finish(
                    at_work | before, done
                ):
                    if (name, student, trouble) not in told_of:  # the next round tries it again
                        text = f"{name}: of {student}, {trouble or 'the exam is handed in'}"
                        print(text, flush=True)  # noqa: T201 - the journal
                    if trouble:
                        told_of.add((name, student, trouble))
            before = at_work
        except (OSError, ValueError, AssignmentError) as error:  # the next round may be better
            print(f"exams: {error}", file=sys.stderr, flush=True)  # noqa: T201 - the journal
        time.sleep(SECONDS)


if __name__ == "__main__":
    main()
