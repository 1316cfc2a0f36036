"""The assignments of a course: released, collected, graded, returned. Root's part.

Below a course's directory are the teachers' ``source`` and ``results``, and root's own ``grades``:
of each assignment its deadline, and of each student what was handed in, version by version, and
what came of it. Of each file that was handed in there is the hash in ``SHA256SUMS``, as sha256sum
reads it. An exam (``pool.exams``) has its files there, too, which nobody is shown before. A result
is there whole or not at all, so that a run that was cut off goes on where it was.
"""

import contextlib
import csv
import datetime
import hashlib
import html
import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
import unicodedata
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from provision.guest.assignments.places import Taken, folder, legible, put, remove, take, what
from provision.guest.pool.courses import HAND_IN, SHARED, TEACHING, course_directory
from provision.guest.pool.exams import FILES, GRADES, RECORD, end_of, is_over, read_record, work_of
from provision.guest.typed import DamagedError
from provision.guest.whole import flush, keep, locking
from provision.guest.words import no_formula, say

SUMS = "SHA256SUMS"
FEEDBACK = "feedback"
SOURCE, RESULTS = TEACHING
HAND_OUT = SHARED[1]
ENDING = ".ipynb"
# By one of these a folder is an exercise in TMC's form, of programs in folders of folders.
_EXERCISE = (".tmcproject.yml", "tmc")
DEPTH = 5
LONG, MANY = 400, 50  # characters of a problem that is shown; how many of a student's are
# Beyond them no clock can reckon, and then no exam of any course begins or ends.
MOST_MINUTES, YEARS = 31 * 24 * 60, range(2000, 3000)
PATIENCE = 1800  # seconds for the notebooks of one student
PYTHON = "/opt/notebook/bin/python"
_WORKER = (PYTHON, "-c", "from provision.guest.assignments.worker import main; main()")
_ENVIRONMENT = {
    **{"PATH": "/opt/notebook/bin:/usr/bin:/bin", "PYTHONPATH": "/opt/nbgrader"},
    **{"LANG": "C.UTF-8", "HOME": "/nonexistent", "PYTHONWARNINGS": "ignore"},
}
# As nbgrader exports them, and what was wrong.
COLUMNS = (
    *("assignment", "duedate", "timestamp", "student_id", "raw_score"),
    *("late_submission_penalty", "score", "max_score", "late", "by_hand", "problems"),
)


class AssignmentError(Exception):
    """It cannot be done; the message says why and what to do."""


@dataclass(frozen=True)
class Row:
    """What is known of one student's work.

    Args:
        student: whose.
        handed: when the newest version was changed last; empty: nothing was handed in.
        late: whether that was after the deadline and its grace.
        versions: how many there are.
        score, max_score: None: not graded yet.
        by_hand: something is left to be graded by hand.
        returned: whether the student has the feedback.
        problems: what could not be taken, or not be graded.
        graded: when; empty: not yet.
    """

    student: str
    handed: str = ""
    late: bool = False
    versions: int = 0
    score: float | None = None
    max_score: float | None = None
    by_hand: bool = False
    returned: bool = False
    problems: tuple[str, ...] = ()
    graded: str = ""


class Course:
    """A course's assignments.

    Args:
        directory: of all students.
        name: the course's.
        course: its members, as ``read_courses`` has it.
    """

    def __init__(self, directory: Path, name: str, course: Mapping[str, Any]) -> None:
        self.name, self.members = name, sorted(course["members"])
        self.place = course_directory(directory, name)
        self.owner = (self.place / SHARED[0]).stat().st_uid
        self._grades = self.place / GRADES
        self._grades.mkdir(mode=0o700, exist_ok=True)

    def assignments(self) -> list[str]:
        """The names of what was released."""
        return sorted(path.parent.name for path in self._grades.glob(f"*/{RECORD}"))

    def sources(self) -> list[str]:
        """The folders of the teachers' ``source``."""
        with folder(self.place / SOURCE) as base:
            names = sorted(os.listdir(base))  # noqa: PTH208 - of a descriptor
            shown = [name for name in names if name[0] != "." and legible(name) == name]
            return [name for name in shown if what(name, base) == "a folder"]

    def release(
        self,
        assignment: str,
        due: str = "",
        grace: int = 0,
        *,
        begin: str = "",
        terminals: bool = False,
        material: bool = False,
    ) -> list[str]:
        """Hand an assignment out, without solutions and hidden tests; what was written.

        With a time at which it begins it is an exam: nobody sees it before.

        Args:
            assignment: a folder in the teachers' ``source``.
            due: the deadline, as 2026-12-01T12:00, in the machine's time; empty: none.
            grace: minutes after it that are not late.
            begin: when the exam begins, likewise; empty: it is none.
            terminals: whether an exam's sessions have terminals.
            material: whether they are shown the course's material.

        Raises:
            AssignmentError: there is none, or a notebook cannot be used.
        """
        until, since = deadline(due), deadline(begin)
        if since and not since < until:
            raise AssignmentError(say("an exam ends after it begins: say when"))
        if not 0 <= grace <= MOST_MINUTES:
            raise AssignmentError(
                say("{text} minutes: it can be 0 to {most}", text=grace, most=MOST_MINUTES)
            )
        with self._alone():
            with self._worker(assignment, release=True) as worker:
                released = worker.released
                for name, why in worker.missing.items():
                    raise AssignmentError(f"{name}{ENDING} {why}")
                if since and worker.folders:
                    raise AssignmentError(
                        say("an exam has notebooks: leave the time of beginning out")
                    )
            files = {f"{name}{ENDING}": text.encode() for name, text in released.items()}
            written = {**worker.given, **files}
            place = self._grades / assignment
            place.mkdir(mode=0o700, exist_ok=True)
            told: dict[str, Any] = {"due": until, "grace": grace, "notebooks": sorted(released)}
            if worker.folders:
                told["folders"] = True
            # Of an earlier release, as what has become hidden since.
            told["files"], gone = sorted(written), {*self._before(assignment).get("files", ())}
            gone -= {*written}
            if since:
                kernels = sorted({_kernel(text) for text in released.values()})
                rules = {"kernels": kernels, "terminals": terminals, "material": material}
                told["exam"] = {"from": since, **rules, "extra": {}, "paused": {}}
                with folder(place) as base:
                    put(written, [FILES], base, 0)
                    remove((f"{FILES}/{name}" for name in gone), base)
            else:
                with folder(self.place / HAND_OUT) as base:
                    put(written, [assignment], base, self.owner)
                    remove((f"{assignment}/{name}" for name in gone), base)
            with locking(place):
                if since and (before := self._before(assignment).get("exam")):
                    told["exam"] |= {key: before[key] for key in ("extra", "paused")}
                keep(place / RECORD, json.dumps(told))
        return sorted(written)

    def collect(self, assignment: str) -> list[str]:
        """Take what is new in the students' hand-ins; of whom.

        Args:
            assignment: its name, which is that of the folder in a hand-in.

        Raises:
            AssignmentError: it was not released.
        """
        told = self.told(assignment)
        return [name for name in self.members if self._collect(assignment, name, told)]

    def begun(self, assignment: str, student: str) -> bool:
        """Whether there is something of a student's to be handed in."""
        with contextlib.suppress(OSError), self._work(assignment, student) as (base, name):
            return what(name, base) is not None
        return False

    def begin(self, assignment: str, student: str) -> list[str]:
        """Put what was handed out into a student's hand-in; what was written.

        Args:
            assignment: its name.
            student: whose hand-in.

        Raises:
            AssignmentError: it was not released, or there is something already.
        """
        told = self.told(assignment)
        if "exam" in told:
            raise AssignmentError(say("it is an exam: start your notebook when it begins"))
        there = f"{HAND_IN}/{assignment}"
        if self.begun(assignment, student):
            raise AssignmentError(say("there is {folder} already: go on there", folder=there))
        with folder(self.place / HAND_OUT) as base, folder(assignment, base) as below:
            files = take(below, **_depth(told)).files
        with self._theirs(student) as base:
            put(files, [assignment], base, os.fstat(base).st_uid)
        return sorted(files)

    def hand_in(self, assignment: str, student: str) -> Row:
        """Take what a student has written until now; what is known of it then.

        Args:
            assignment: its name.
            student: whose.

        Raises:
            AssignmentError: it was not released, or nothing is there.
        """
        told = self.told(assignment)
        there = f"{HAND_IN}/{assignment}"
        if not self.begun(assignment, student):
            if "exam" in told:
                raise AssignmentError(say("you have not begun: start your notebook"))
            raise AssignmentError(say("there is no folder {folder} in your notebook", folder=there))
        self._collect(assignment, student, told)
        row = self.row(assignment, student, results=False)
        if not row.versions:
            raise AssignmentError(say("there is nothing in {folder}", folder=there))
        return row

    def allow(self, assignment: str, student: str, minutes: float) -> None:
        """Give a student more time in an exam, besides what was given before.

        Args:
            assignment: the exam.
            student: who.
            minutes: how many; fewer than 0: less.

        Raises:
            AssignmentError: it is no exam, or there is no such student.
        """
        self._chosen([student])
        with self._changing(assignment) as rules:
            more = rules["extra"].get(student, 0) + 60 * minutes
            if not abs(more) <= 60 * MOST_MINUTES:  # nor is it a number
                raise AssignmentError(f"{minutes:g} minutes: it can be a month, {MOST_MINUTES}")
            rules["extra"][student] = more

    def pause(self, assignment: str, students: list[str] | None = None) -> None:
        """Let nobody work on an exam until ``resume``, which adds as much time as it was.

        Args:
            assignment: the exam.
            students: who; None: all.

        Raises:
            AssignmentError: it is no exam, or there is no such student.
        """
        told, now = self.told(assignment), _now()
        with self._changing(assignment) as rules:
            for student in self._chosen(students):
                if not is_over(told, student, now):
                    rules["paused"].setdefault(student, now.isoformat())

    def resume(self, assignment: str, students: list[str] | None = None) -> None:
        """Let who was paused go on; arguments and errors as of ``pause``."""
        with self._changing(assignment) as rules:
            for student in self._chosen(students):
                if since := rules["paused"].pop(student, None):
                    begin = max(since, rules["from"], key=datetime.datetime.fromisoformat)
                    gone = _now() - datetime.datetime.fromisoformat(begin)
                    more = max(0, gone.total_seconds())
                    rules["extra"][student] = rules["extra"].get(student, 0) + more

    def finish(
        self,
        exams: Mapping[str, Mapping[str, Any]],
        at_work: Container[str],
        done: set[tuple[str, ...]],
    ) -> Iterator[tuple[str, str]]:
        """Hand in by itself what was written in exams that are over.

        Args:
            exams: the course's, by name, of ``read_exams``.
            at_work: the students whose session goes on; it is for another time.
            done: what need not be looked at any more; is added to.

        Yields:
            Whose work, and why it could not be handed in, which stops nobody else's; empty: it was.
        """
        for assignment, told in exams.items():
            for student in self.members:
                mark = (self.name, assignment, student, end_of(told, student).isoformat())
                if mark in done or student in at_work or not is_over(told, student, _now()):
                    continue
                try:
                    if self.begun(assignment, student) and self._collect(assignment, student, told):
                        yield student, ""
                except (OSError, ValueError, AssignmentError) as error:
                    yield student, f"{assignment} cannot be handed in: {error}"
                else:
                    done.add(mark)

    def differences(self, assignment: str) -> list[str]:
        """What is not any more as it was handed in; nothing, if all is.

        Args:
            assignment: its name.

        Raises:
            AssignmentError: it was not released.
        """
        self.told(assignment)
        place = self._grades / assignment
        listed = _sums(place)
        found = dict(_hashes(place, _files_of(place, "*.*/")))
        gone = [f"{path} is gone" for path in listed if path not in found]
        new = [f"{path} is not listed" for path in found if path not in listed]
        return gone + new + [p for p in found if p in listed and found[p] != listed[p]]

    def archive(self, assignment: str, file: IO[bytes]) -> str:
        """Write all that was handed in, with its hashes, as a tar; the hash of the hashes.

        Args:
            assignment: its name.
            file: where to.

        Raises:
            AssignmentError: it was not released.
        """
        self.told(assignment)
        place = self._grades / assignment
        sums = place / SUMS
        with tarfile.open(fileobj=file, mode="w|") as tar:
            for path in ([sums] if sums.exists() else []) + _files_of(place, "*.*/"):
                tar.add(path, path.relative_to(place.parent), recursive=False)
        return hashlib.sha256(sums.read_bytes() if sums.exists() else b"").hexdigest()

    def grade(
        self,
        assignment: str,
        students: list[str] | None = None,
        *,
        again: bool = False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Grade what was collected and has no result yet.

        Args:
            assignment: its name.
            students: of whom; None: of all.
            again: those that have a result, too.
            tell: is told of each student when there is a result.

        Raises:
            AssignmentError: it was not released, or its source cannot be used any more.
        """
        self.told(assignment)
        with self._alone():
            todo = []
            for student in self._chosen(students):
                version = self._newest(assignment, student)
                if version and (again or not _is_graded(version)):
                    todo.append((student, version))
            workers = [self._worker(assignment) for _ in todo[: os.cpu_count() or 1]]
            with contextlib.ExitStack() as stack:
                free = [stack.enter_context(worker) for worker in workers]
                with ThreadPoolExecutor(max(1, len(free))) as pool:

                    def one(job: tuple[str, Path]) -> None:
                        worker = free.pop()
                        try:
                            self._grade(assignment, *job, worker)
                        finally:
                            free.append(worker)
                        tell(job[0])

                    list(pool.map(one, todo))
            self._write_gradebook()

    def mark(self, assignment: str, student: str, marks: dict[str, Any]) -> None:
        """Keep what a teacher gives by hand to a student's newest version; nothing is run again.

        Args:
            assignment: its name.
            student: whose.
            marks: by notebook and cell, ``points`` and ``comment`` as texts; empty: none.

        Raises:
            AssignmentError: it was not graded yet, or grading has ended, or there are no such
                points or cells.
        """
        self.told(assignment)
        self._chosen([student])
        with self._alone():
            version = self._newest(assignment, student)
            if not version or not (version / "result.json").exists():
                raise AssignmentError(
                    say("{what} of {student} was not graded yet", what=assignment, student=student)
                )
            result = _read(version / "result.json")
            if "notebooks" not in result:  # to which it would be put
                raise AssignmentError(
                    say(
                        "{what} of {student} could not be graded ({why}): grade it again first",
                        **{"what": assignment, "student": student, "why": result["error"]},
                    )
                )
            keep(version / "marks.json", json.dumps(_checked(marks, result["notebooks"])))
            with self._worker(assignment) as worker:
                self._grade(assignment, student, version, worker, again=False)
            self._write_gradebook()

    def work(self, assignment: str, student: str) -> dict[str, Any]:
        """What a teacher is shown of one student's work.

        Args:
            assignment: its name.
            student: whose.

        Raises:
            AssignmentError: it was not released, or there is no such student.
        """
        self.told(assignment)
        self._chosen([student])
        versions = self._versions(assignment, student)
        told = [_read(version / "version.json") for version in versions]
        shown = [{"handed": each["handed"], "late": each["late"]} for each in told]
        pages: list[str] = []
        cells: list[dict[str, Any]] = []
        if versions and (versions[-1] / "result.json").exists():
            marks = _marks(versions[-1])
            result = _read(versions[-1] / "result.json")
            for name, each in sorted(result.get("notebooks", {}).items()):
                pages.append(name)
                cells += _cells(name, each, marks.get(name, {}))
        return {"versions": shown, "pages": pages, "cells": cells}

    def page(self, assignment: str, student: str, notebook: str) -> str:
        """A graded notebook's page; what is in it is the student's.

        Args:
            assignment: its name.
            student: whose.
            notebook: its name without ending.

        Raises:
            AssignmentError: there is none.
        """
        self.told(assignment)
        self._chosen([student])
        version = self._newest(assignment, student)
        names = [path.name for path in version.glob("*.html")] if version else []
        if not version or f"{notebook}.html" not in names:
            raise AssignmentError(
                say("there is no result {what} of {student}", what=notebook, student=student)
            )
        return (version / f"{notebook}.html").read_text()

    def sheet(self, assignment: str) -> dict[str, str]:
        """The notebooks as they were handed out.

        Raises:
            AssignmentError: it was not released.
        """
        told = self.told(assignment)
        at = (self._grades / assignment, FILES) if "exam" in told else None
        place, name = at or (self.place / HAND_OUT, assignment)
        with folder(place) as base, folder(name, base) as below:
            return _texts(take(below).files, told["notebooks"])

    def texts(self, assignment: str, student: str) -> dict[str, str]:
        """The notebooks of a student's newest version; none: nothing was handed in.

        Raises:
            AssignmentError: it was not released, or there is no such student.
        """
        self._chosen([student])
        wanted = self.told(assignment)["notebooks"]
        version = self._newest(assignment, student)
        return _handed(version, wanted)[0] if version else {}

    def feedback(self, assignment: str, students: list[str] | None = None) -> list[str]:
        """Put the feedback on the newest version into the students' hand-ins; to whom.

        Args:
            assignment: its name.
            students: to whom; None: to all.

        Raises:
            AssignmentError: it was not released.
        """
        self.told(assignment)
        done = []
        with self._alone():
            for student in self._chosen(students):
                version = self._newest(assignment, student)
                if not version or not (version / "result.json").exists():
                    continue
                pages = {path.name: path.read_bytes() for path in version.glob("*.html")}
                owner = self._hand_in(student).stat().st_uid
                with contextlib.suppress(OSError), folder(self._hand_in(student)) as base:
                    put(pages, [FEEDBACK, assignment], base, owner)
                    keep(version / "returned", "")
                    done.append(student)
        return done

    def rows(self, assignment: str) -> list[Row]:
        """What is known of each student's work.

        Args:
            assignment: its name.

        Raises:
            AssignmentError: it was not released.
        """
        self.told(assignment)
        return [self.row(assignment, student) for student in self.members]

    def gradebook(self) -> str:
        """All results as CSV."""
        file = io.StringIO()
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        for assignment in self.assignments():
            due = self.told(assignment)["due"]
            for row in self.rows(assignment):
                score = "" if row.score is None else row.score
                table.writerow(
                    {
                        **{"assignment": assignment, "duedate": due, "timestamp": row.handed},
                        **{"student_id": row.student, "raw_score": score, "score": score},
                        **{"max_score": "" if row.max_score is None else row.max_score},
                        **{"late_submission_penalty": 0, "late": row.late},
                        **{"by_hand": row.by_hand, "problems": no_formula("; ".join(row.problems))},
                    }
                )
        return file.getvalue()

    def told(self, assignment: str) -> dict[str, Any]:
        """What was said when an assignment was released.

        Raises:
            AssignmentError: it was not, or what was said is damaged.
        """
        try:
            return read_record(self._grades / _name(assignment) / RECORD)
        except DamagedError as error:
            raise AssignmentError(str(error)) from None
        except (FileNotFoundError, NotADirectoryError):
            there = ", ".join(self.assignments()) or "none"
            raise AssignmentError(
                say(
                    "{what} of {course} was not released; released: {there}",
                    **{"what": assignment, "course": self.name, "there": there},
                )
            ) from None

    def _chosen(self, students: list[str] | None) -> list[str]:
        for student in students or ():
            if student not in self.members:
                raise AssignmentError(f"{student} is no student of {self.name}")
        return self.members if students is None else students

    def _hand_in(self, student: str) -> Path:
        return self.place / HAND_IN / student

    @contextlib.contextmanager
    def _work(self, assignment: str, student: str) -> Iterator[tuple[int, str]]:
        """Where a student works: the descriptor of a folder, and the name of the one in it."""
        if "exam" in self.told(assignment):
            path = work_of(self.place, assignment, student, self._hand_in(student).lstat().st_uid)
            with folder(path.parent) as base:
                yield base, path.name
        else:
            with folder(self._hand_in(student)) as base:
                yield base, assignment

    @contextlib.contextmanager
    def _changing(self, assignment: str) -> Iterator[dict[str, Any]]:
        """The rules of an exam, to be changed."""
        with locking(self._grades / _name(assignment)):
            told = self.told(assignment)
            if "exam" not in told:
                raise AssignmentError(
                    say("{what} is no exam: it has no beginning", what=assignment)
                )
            yield told["exam"]
            keep(self._grades / assignment / RECORD, json.dumps(told))

    @contextlib.contextmanager
    def _theirs(self, student: str) -> Iterator[int]:
        try:
            with folder(self._hand_in(student)) as base:
                yield base
        except FileNotFoundError:
            raise AssignmentError(say("start your notebook once: it makes your hand-in")) from None

    def _versions(self, assignment: str, student: str) -> list[Path]:
        try:
            place = self._of(assignment, student)
        except FileNotFoundError:  # who never came
            return []
        place.mkdir(mode=0o700, exist_ok=True)
        return sorted(path for path in place.iterdir() if path.name.isdigit())

    def _before(self, assignment: str) -> dict[str, Any]:
        """What was said when it was released before: who has more time in an exam keeps it."""
        with contextlib.suppress(AssignmentError):
            return self.told(assignment)
        return {}

    def _of(self, assignment: str, student: str) -> Path:
        """Where a student's versions are; an earlier student of the name had another number."""
        owner = self._hand_in(student).lstat().st_uid
        return self._grades / assignment / f"{student}.{owner}"

    def _newest(self, assignment: str, student: str) -> Path | None:
        return next(reversed(self._versions(assignment, student)), None)

    def _collect(self, assignment: str, student: str, told: Mapping[str, Any]) -> bool:
        if not self.begun(assignment, student):
            return False
        self._versions(assignment, student)
        place = self._of(assignment, student)
        # Who hands in does not wait for others' notebooks that are graded.
        with locking(place):
            return self._collect_into(place, assignment, student, told)

    def _collect_into(
        self, place: Path, assignment: str, student: str, told: Mapping[str, Any]
    ) -> bool:
        before = self._versions(assignment, student)
        with self._work(assignment, student) as (base, name):
            found = what(name, base)
            if found is None:
                return False
            taken = Taken(problems={assignment: f"it is {found}"})
            with contextlib.suppress(OSError), folder(name, base) as below:
                taken = take(below, **_depth(told))
        if not taken.files and not taken.problems:
            return False
        taken.changed = taken.changed or _now().timestamp()
        text = json.dumps([sorted(taken.problems), _digests(taken.files)])
        digest = hashlib.sha256(text.encode()).hexdigest()
        if before and _read(before[-1] / "version.json")["digest"] == digest:
            self._list(assignment, place)  # of a hand-in that was cut off it is not yet
            return False
        number = int(before[-1].name) + 1 if before else 1
        fresh = place / ".new"
        shutil.rmtree(fresh, ignore_errors=True)
        (fresh / "handed").mkdir(mode=0o700, parents=True)
        with folder(fresh / "handed") as base:
            put(taken.files, [], base, 0)
        handed = datetime.datetime.fromtimestamp(taken.changed, datetime.UTC)
        late = False
        if told["due"] and "exam" not in told:  # at whose end nobody writes any more
            until = datetime.datetime.fromisoformat(told["due"])
            late = handed > until + datetime.timedelta(minutes=told["grace"])
        version = {"digest": digest, "handed": handed.isoformat(timespec="seconds"), "late": late}
        keep(fresh / "version.json", json.dumps({**version, "problems": taken.problems}))
        fresh.rename(place / f"{number:04}")
        flush(place)
        self._list(assignment, place)
        return True

    def _list(self, assignment: str, theirs: Path) -> None:
        """List the hashes of what a student handed in that are not; what is, is as it was."""
        place = self._grades / assignment
        with locking(place):
            listed = _sums(place)
            new = [path for path in _files_of(theirs) if str(path.relative_to(place)) not in listed]
            if found := dict(_hashes(place, new)):
                lines = (f"{digest}  {path}\n" for path, digest in (listed | found).items())
                keep(place / SUMS, "".join(lines))

    def _grade(
        self,
        assignment: str,
        student: str,
        version: Path,
        worker: "_Worker",
        *,
        again: bool = True,
    ) -> None:
        """Grade a version, or put what is given by hand into what was graded."""
        marks = _marks(version)
        notebooks, beside = _handed(version, worker.released, folders=worker.folders)
        before = None
        if not again:
            told = _read(version / "result.json").get("notebooks", {})
            before = {name: each["error"] for name, each in told.items() if "error" in each}
            paths = {name: version / f"{name}{ENDING}" for name in told}
            notebooks = {name: path.read_text() for name, path in paths.items() if path.exists()}
        told = {"student": student, "notebooks": notebooks, "marks": marks, "before": before}
        result = {**worker.ask(**told, files=_hex(beside)), "marks": marks}
        if not again and "error" in result:  # what came of the tests stays
            raise AssignmentError(result["error"])
        texts = {}
        for name, each in result.get("notebooks", {}).items():
            page = each.pop("feedback", None) or _page(name, each["error"])
            texts[f"{name}.html"] = page.encode()
            if graded := each.pop("autograded", None):
                texts[f"{name}{ENDING}"] = graded.encode()
        with folder(version) as base:
            put(texts, [], base, 0)
        with contextlib.suppress(FileNotFoundError):
            (version / "returned").unlink()
        with folder(self.place / RESULTS) as base:
            put(texts, [assignment, student], base, self.owner)
        # At last: what has a result is not graded again by a run that goes on.
        keep(version / "result.json", json.dumps({**result, "graded": _now().isoformat()}))

    def row(self, assignment: str, student: str, *, results: bool = True) -> Row:
        """What is known of a student's work.

        Args:
            assignment: its name.
            student: whose.
            results: what came of it, too.
        """
        versions = self._versions(assignment, student)
        if not versions:
            return Row(student)
        told = _read(versions[-1] / "version.json")
        problems = [f"{name}: {why}" for name, why in told["problems"].items()]
        result: dict[str, Any] = {}
        if results and (versions[-1] / "result.json").exists():
            result = _read(versions[-1] / "result.json")
            problems += [result["error"]] if "error" in result else []
            for name, each in result.get("notebooks", {}).items():
                problems += [f"{name}: {each['error']}"] if "error" in each else []
        return Row(
            student,
            told["handed"],
            told["late"],
            len(versions),
            result.get("score"),
            result.get("max_score"),
            bool(result.get("by_hand")),
            (versions[-1] / "returned").exists(),
            _brief(problems),
            str(result.get("graded", "")),
        )

    def _write_gradebook(self) -> None:
        with folder(self.place / RESULTS) as base:
            put({"gradebook.csv": self.gradebook().encode()}, [], base, self.owner)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Two teachers at once are one after another."""
        with locking(self._grades):
            yield

    def _worker(self, assignment: str, *, release: bool = False) -> "_Worker":
        with folder(self.place / SOURCE) as base:
            try:
                with folder(_name(assignment), base) as below:
                    folders = any(what(name, below) for name in _EXERCISE)
                    taken = take(below, **_depth({"folders": folders}))
            except OSError:
                there = ", ".join(sorted(os.listdir(base))) or "nothing"  # noqa: PTH208
                raise AssignmentError(
                    say(
                        "{place} has no folder {what}; it has: {there}",
                        place=f"courses/{self.name}/{SOURCE}",
                        what=assignment,
                        there=there,
                    )
                ) from None
        for name, why in taken.problems.items():
            raise AssignmentError(f"{SOURCE}/{assignment}/{name}: {why}")
        if not folders and not any(name.endswith(ENDING) for name in taken.files):
            raise AssignmentError(
                f"{SOURCE}/{assignment} has no notebook, and no {_EXERCISE[0]} as an exercise has"
            )
        return _Worker(assignment, taken.files, self.owner, folders=folders, release=release)


class _Worker:
    """The process that understands notebooks; it is started anew when it has ended."""

    def __init__(
        self,
        assignment: str,
        files: dict[str, bytes],
        owner: int,
        *,
        folders: bool,
        release: bool,
    ) -> None:
        self._owner, self.folders = owner, folders
        notebooks = {
            name.removesuffix(ENDING): each.decode(errors="replace")
            for name, each in files.items()
            if name.endswith(ENDING) and not folders
        }
        beside = {k: v for k, v in files.items() if k.removesuffix(ENDING) not in notebooks}
        told = {"assignment": assignment, "notebooks": notebooks, "files": _hex(beside)}
        self._first = json.dumps({**told, "folders": folders, "release": release})
        self._process: subprocess.Popen[str] | None = None
        self.released: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self.given: dict[str, bytes] = {}

    def __enter__(self) -> "_Worker":
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def ask(self, **request: Any) -> dict[str, Any]:
        """What comes of a student's work; ``error`` where the process did not survive it."""
        if self._process is None:
            self._start()
        try:
            return self._answer(json.dumps(request))
        except (OSError, ValueError) as error:
            self._end()
            return {"error": f"grading ended: {error}"}

    def _start(self) -> None:
        self._process = subprocess.Popen(
            _WORKER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            **without_rights(self._owner),
        )
        try:
            answer = self._answer(self._first)
        except (OSError, ValueError) as error:
            self._end()
            raise AssignmentError(f"the notebooks cannot be read: {error}") from error
        if "error" in answer:
            self._end()
            raise AssignmentError(answer["error"])
        self.released, self.missing = answer["released"], answer["missing"]
        given = answer.get("given", {})
        self.given = {name: bytes.fromhex(each) for name, each in given.items()}

    def _answer(self, request: str) -> dict[str, Any]:
        assert self._process and self._process.stdin and self._process.stdout  # noqa: S101
        timer = threading.Timer(PATIENCE, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(f"{request}\n")
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        finally:
            timer.cancel()
        return answer

    def _end(self) -> None:
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None


def without_rights(owner: int) -> dict[str, Any]:
    """How a process is started that reads what students wrote: as nobody but a course's number.

    Args:
        owner: the course's user and group.
    """
    whose = {"user": owner, "group": owner, "extra_groups": []}
    return {"env": _ENVIRONMENT, "cwd": "/", **whose}


def deadline(due: str) -> str:
    """A deadline in the machine's time as one that nobody can misread.

    Args:
        due: as 2026-12-01T12:00; empty: none.

    Raises:
        AssignmentError: it is no time, or a clock is turned forward over it.
    """
    if not due:
        return ""
    try:
        told = datetime.datetime.fromisoformat(due)
        if told.year not in YEARS:
            raise ValueError(due)
    except ValueError:
        raise AssignmentError(
            say("{text} is no time; write it as 2026-12-01T12:00", text=repr(due))
        ) from None
    sure = told.astimezone(datetime.UTC)
    if told.tzinfo is None and sure.astimezone().replace(tzinfo=None) != told:
        raise AssignmentError(
            say("{time} does not exist: clocks are turned forward then", time=due)
        )
    return sure.isoformat(timespec="seconds")


def _depth(told: Mapping[str, Any]) -> dict[str, Any]:
    """How a folder is taken: of an exercise all, of notebooks those and what is beside them."""
    return {"kept": _EXERCISE, "deep": DEPTH} if told.get("folders") else {}


def _handed(
    version: Path, wanted: Iterable[str], *, folders: bool = False
) -> tuple[dict[str, str], dict[str, bytes]]:
    """What was handed in: the notebooks that are wanted, and what is beside them."""
    with folder(version / "handed") as base:
        files = take(base, **_depth({"folders": folders})).files
    notebooks = _texts(files, wanted)
    return notebooks, {name: each for name, each in files.items() if not name.endswith(ENDING)}


def _texts(files: dict[str, bytes], wanted: Iterable[str]) -> dict[str, str]:
    """The notebooks that are wanted, which are taken out of some files."""
    notebooks = {}
    for name in wanted:
        if (found := matching(f"{name}{ENDING}", files)) is not None:
            notebooks[name] = files.pop(found).decode(errors="replace")
    return notebooks


def _brief(problems: list[str]) -> tuple[str, ...]:
    """Problems as they fit into a page and a table: names and words in them are a student's."""
    shown = [each if len(each) <= LONG else f"{each[:LONG]}…" for each in problems[:MANY]]
    return (*shown, *[f"and {len(problems) - MANY} more"] * (len(problems) > MANY))


def _marks(version: Path) -> dict[str, Any]:
    """What was given by hand to a version."""
    path = version / "marks.json"
    return _read(path) if path.exists() else {}


def _files_of(place: Path, whose: str = "") -> list[Path]:
    """The files that a student handed in, in all versions; by a pattern, those of several."""
    return sorted(path for path in place.glob(f"{whose}[0-9]*/handed/**/*") if path.is_file())


def _hashes(place: Path, paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Files with the hash of each, as sha256sum is told of them in a place."""
    for path in paths:
        name = str(path.relative_to(place))
        # Of what was taken before names were looked at.
        if "\n" not in name and name.encode(errors="replace").decode() == name:
            yield name, hashlib.sha256(path.read_bytes()).hexdigest()


def _sums(place: Path) -> dict[str, str]:
    try:
        lines = (place / SUMS).read_bytes().decode().split("\n")
    except FileNotFoundError:
        return {}
    found = (line.partition("  ") for line in lines)
    return {path: digest for digest, _, path in found if path}


def _kernel(notebook: str) -> str:
    """The kernel that a notebook has; Python's where it says none."""
    metadata = json.loads(notebook)["metadata"]
    return str(metadata.get("kernelspec", {}).get("name") or "python3")


def _is_graded(version: Path) -> bool:
    """Whether there is a result, with all that was given by hand."""
    path = version / "result.json"
    return path.exists() and _read(path).get("marks", {}) == _marks(version)


def _cells(notebook: str, result: dict[str, Any], marks: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells to which a teacher may give points or a comment."""
    points, solutions = result.get("cells", {}), result.get("solutions", [])
    found = []
    for name in dict.fromkeys((*points, *solutions)):
        given = marks.get(name, {})
        told = {"notebook": notebook, "cell": name, "solution": name in solutions}
        told |= {"auto": result.get("auto", {}).get(name), "most": points.get(name, [0, None])[1]}
        told |= {"by_hand": name in result.get("by_hand", [])}
        told |= {"points": given.get("points", ""), "comment": given.get("comment", "")}
        found.append({k: "" if v is None and k != "most" else v for k, v in told.items()})
    return found


def _checked(marks: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
    """What a teacher typed beside cells, as it is kept."""
    kept: dict[str, dict[str, Any]] = {}
    for notebook, cells in marks.items():
        known = results.get(notebook, {})
        for cell, typed in cells.items():
            given: dict[str, Any] = {}
            if text := typed.get("points", "").strip():
                if cell not in known.get("cells", {}):
                    raise AssignmentError(
                        say("{what} has no cell {cell} with points", what=notebook, cell=cell)
                    )
                most = known["cells"][cell][1]
                try:
                    given["points"] = float(text.replace(",", "."))
                except ValueError:
                    raise AssignmentError(
                        say("{cell}: {text} is no number of points", cell=cell, text=repr(text))
                    ) from None
                if not 0 <= given["points"] <= most:
                    raise AssignmentError(
                        say(
                            "{cell}: {text} points; it has 0 to {most}",
                            cell=cell,
                            text=text,
                            most=f"{most:g}",
                        )
                    )
            if text := typed.get("comment", "").strip():
                if cell not in known.get("solutions", []):
                    raise AssignmentError(
                        say(
                            "{what} has no cell {cell} that a student solves",
                            what=notebook,
                            cell=cell,
                        )
                    )
                given["comment"] = text
            if given:
                kept.setdefault(notebook, {})[cell] = given
    return kept


def matching(wanted: str, names: Any) -> str | None:
    """The name that is meant: the same, or the only one that differs in case or normal form."""
    if wanted in names:
        return wanted

    def alike(name: str) -> str:
        return unicodedata.normalize("NFC", name).casefold()

    found = [name for name in names if alike(name) == alike(wanted)]
    return found[0] if len(found) == 1 else None


def _name(assignment: str) -> str:
    if not assignment or assignment.startswith(".") or "/" in assignment or "\0" in assignment:
        raise AssignmentError(f"{assignment!r} is no name of an assignment")
    if legible(assignment) != assignment:  # a line of the firewall's has an exam's
        raise AssignmentError(f"{assignment!r} cannot be written: call the folder otherwise")
    if assignment == FEEDBACK:
        raise AssignmentError(f"{FEEDBACK!r} is where feedback goes: call the assignment otherwise")
    return assignment


def _page(name: str, why: str) -> str:
    head = f'<html lang="en"><meta charset="utf-8"><title>{html.escape(name)}</title>'
    return f"<!DOCTYPE html>{head}<main>{html.escape(f'{name}: {why}')}</main></html>"


def _digests(files: dict[str, bytes]) -> list[list[str]]:
    return [[name, hashlib.sha256(content).hexdigest()] for name, content in sorted(files.items())]


def _hex(files: dict[str, bytes]) -> dict[str, str]:
    return {name: content.hex() for name, content in files.items()}


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
