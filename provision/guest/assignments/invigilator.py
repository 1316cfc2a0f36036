"""Begins and ends exams: root's service, which needs no hub.

A session that is not what its student should have now is ended: the ordinary one when an exam
begins, the exam's when it ends or is paused. What was written is then handed in by itself. Every
round looks at all that there is, so that whatever was missed, by a power cut, say, is done next;
it reads what was said of exams once. What is wrong with one course stops no other's.
"""

import datetime
import time
from collections.abc import Collection, Iterable, Mapping, MutableSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provision.guest import record
from provision.guest.assignments.course import Course
from provision.guest.assignments.errors import AssignmentError
from provision.guest.pool import notes
from provision.guest.pool.account import read_settings
from provision.guest.pool.connection import account_of, greeting
from provision.guest.pool.courses import read_courses
from provision.guest.pool.exams import Exam, exams_by_account, exams_now, read_exams
from provision.guest.pool.leases import Lease, Leases

STATE = Path("/var/lib/notebook")
SECONDS = 2.0


@dataclass
class Memory:
    """What one round tells the next.

    Args:
        done: the hand-ins that need not be looked at any more.
        at_work: the students whose session was an exam's.
        troubles: what is wrong, and was written into the journal.
    """

    done: set[tuple[str, ...]] = field(default_factory=set)
    at_work: set[str] = field(default_factory=set)
    troubles: set[str] = field(default_factory=set)


def find_sessions(leases: Iterable[Lease]) -> list[tuple[Lease, str | None]]:
    """The sessions of this machine that have told of themselves, and the exam of each.

    Args:
        leases: all.
    """
    found = []
    for lease in leases:
        account = account_of(lease.account)
        if account.local and greeting(lease) is not None:  # else another's, or only opening
            found.append((lease, exams_by_account().get(account.user)))
    return found


def end_sessions(
    sessions: Iterable[tuple[Lease, str | None]],
    exams: Mapping[str, Exam],
    unsure: Collection[str],
) -> set[str]:
    """End every session that is not right any more; the students whose session is an exam's.

    Args:
        sessions: from ``find_sessions``.
        exams: those that go on, by student.
        unsure: the students of whom it cannot be read: what they have, they keep.
    """
    at_work = set()
    for lease, found in sessions:
        exam = exams.get(lease.student)
        if found:
            at_work.add(lease.student)
        if exam is None and lease.student in unsure:
            continue
        if (exam.name if exam else None) != found or (exam and exam.paused):
            lease.end()
    return at_work


def look(
    directory: Path, courses: Mapping[str, Any], leases: Iterable[Lease], memory: Memory
) -> None:
    """Do what is to be done now.

    Args:
        directory: of all students.
        courses: from ``read_courses``.
        leases: the sessions.
        memory: of the rounds before.
    """
    sessions = find_sessions(leases)
    # Read when they have told: a session that opened since we began is what root made of it.
    exams = read_exams(directory, courses)
    troubles = [each for damage in exams.damage.values() for each in damage]
    known = exams_now(exams, courses, datetime.datetime.now(datetime.UTC))
    try:  # before a session ends for it; no exam waits for that
        notes.write(known, STATE.stat().st_gid)
    except OSError as error:
        troubles.append(str(error))
    unsure = {student for course in exams.damage for student in courses[course]["members"]}
    at_work = end_sessions(sessions, known, unsure)
    for name, told in exams.told.items():
        try:
            # Who has just left may be writing for another moment.
            for student, trouble in Course(directory, name, courses[name]).finish(
                told, at_work | memory.at_work, memory.done
            ):
                if trouble:  # the next round tries it again
                    troubles.append(f"{name}: of {student}, {trouble}")
                else:
                    print(f"{name}: of {student}, the exam is handed in", flush=True)  # noqa: T201
        except (OSError, ValueError, AssignmentError) as error:
            troubles.append(f"{name}: {error}")
    memory.at_work = at_work
    report(troubles, memory.troubles)


def report(troubles: Iterable[str], known: MutableSet[str]) -> None:
    """Write what is wrong into the journal, once until it is mended.

    Args:
        troubles: all that is wrong now.
        known: what was wrong before; is changed.
    """
    for trouble in dict.fromkeys(troubles):
        if trouble not in known:
            print(f"exams: {trouble}", flush=True)  # noqa: T201 - the journal
    known.clear()
    known |= {*troubles}


def main() -> None:
    """Look, every two seconds."""
    directory, memory = read_settings().directory, Memory()
    while True:
        try:
            leases = Leases(STATE / "leases", record.read().accounts)
            look(directory, read_courses(directory), leases, memory)
        except (OSError, ValueError, AssignmentError) as error:  # the next round may be better
            report([str(error)], memory.troubles)
        time.sleep(SECONDS)


if __name__ == "__main__":
    main()
