"""The assignments of a course: released, collected, graded, returned. Root's part.

Below a course's directory are the teachers' ``source`` and ``results``, and root's own ``grades``:
of each assignment its deadline, and of each student what was handed in (``versions``), what came of
it (``rows``), and what teachers gave by hand (``marks``). An exam (``pool.exams``) has its files
there, too, which nobody is shown before. A result is there whole or not at all, so that a run that
was cut off goes on where it was.
"""

import contextlib
import datetime
import html
import json
import os
from collections.abc import Callable, Container, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from provision.guest.assignments import versions
from provision.guest.assignments.errors import AssignmentError
from provision.guest.assignments.marks import check_marks, is_graded, list_cells, read_marks
from provision.guest.assignments.places import Taken, folder, legible, put, remove, take, what
from provision.guest.assignments.rows import Row, read_row, write_table
from provision.guest.assignments.times import MOST_MINUTES, deadline, now
from provision.guest.assignments.unprivileged import Worker
from provision.guest.assignments.versions import (
    ENDING,
    EXERCISE,
    depth,
    pick,
    read_json,
    read_version,
)
from provision.guest.pool.courses import HAND_IN, SHARED, TEACHING, course_directory
from provision.guest.pool.exams import FILES, GRADES, RECORD, end_of, is_over, read_record, work_of
from provision.guest.typed import DamagedError
from provision.guest.whole import keep, locking
from provision.guest.words import say

FEEDBACK = "feedback"
SOURCE, RESULTS = TEACHING
HAND_OUT = SHARED[1]


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
        told = self.record(assignment)
        return [name for name in self.members if self._collect(assignment, name, told)]

    def has_work(self, assignment: str, student: str) -> bool:
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
        told = self.record(assignment)
        if "exam" in told:
            raise AssignmentError(say("it is an exam: start your notebook when it begins"))
        there = f"{HAND_IN}/{assignment}"
        if self.has_work(assignment, student):
            raise AssignmentError(say("there is {folder} already: go on there", folder=there))
        with folder(self.place / HAND_OUT) as base, folder(assignment, base) as below:
            files = take(below, **depth(told)).files
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
        told = self.record(assignment)
        there = f"{HAND_IN}/{assignment}"
        if not self.has_work(assignment, student):
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
        self._choose([student])
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
        told, since = self.record(assignment), now()
        with self._changing(assignment) as rules:
            for student in self._choose(students):
                if not is_over(told, student, since):
                    rules["paused"].setdefault(student, since.isoformat())

    def resume(self, assignment: str, students: list[str] | None = None) -> None:
        """Let who was paused go on; arguments and errors as of ``pause``."""
        with self._changing(assignment) as rules:
            for student in self._choose(students):
                if since := rules["paused"].pop(student, None):
                    begin = max(since, rules["from"], key=datetime.datetime.fromisoformat)
                    gone = now() - datetime.datetime.fromisoformat(begin)
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
                if mark in done or student in at_work or not is_over(told, student, now()):
                    continue
                try:
                    if self.has_work(assignment, student) and self._collect(
                        assignment, student, told
                    ):
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
        self.record(assignment)
        return versions.differences(self._grades / assignment)

    def archive(self, assignment: str, file: IO[bytes]) -> str:
        """Write all that was handed in, with its hashes, as a tar; the hash of the hashes.

        Args:
            assignment: its name.
            file: where to.

        Raises:
            AssignmentError: it was not released.
        """
        self.record(assignment)
        return versions.archive(self._grades / assignment, file)

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
        self.record(assignment)
        with self._alone():
            todo = []
            for student in self._choose(students):
                version = self._newest(assignment, student)
                if version and (again or not is_graded(version)):
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
        self.record(assignment)
        self._choose([student])
        with self._alone():
            version = self._newest(assignment, student)
            if not version or not (version / "result.json").exists():
                raise AssignmentError(
                    say("{what} of {student} was not graded yet", what=assignment, student=student)
                )
            result = read_json(version / "result.json")
            if "notebooks" not in result:  # to which it would be put
                raise AssignmentError(
                    say(
                        "{what} of {student} could not be graded ({why}): grade it again first",
                        **{"what": assignment, "student": student, "why": result["error"]},
                    )
                )
            keep(version / "marks.json", json.dumps(check_marks(marks, result["notebooks"])))
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
        self.record(assignment)
        self._choose([student])
        versions = self._versions(assignment, student)
        told = [read_json(version / "version.json") for version in versions]
        shown = [{"handed": each["handed"], "late": each["late"]} for each in told]
        pages: list[str] = []
        cells: list[dict[str, Any]] = []
        if versions and (versions[-1] / "result.json").exists():
            marks = read_marks(versions[-1])
            result = read_json(versions[-1] / "result.json")
            for name, each in sorted(result.get("notebooks", {}).items()):
                pages.append(name)
                cells += list_cells(name, each, marks.get(name, {}))
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
        self.record(assignment)
        self._choose([student])
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
        told = self.record(assignment)
        at = (self._grades / assignment, FILES) if "exam" in told else None
        place, name = at or (self.place / HAND_OUT, assignment)
        with folder(place) as base, folder(name, base) as below:
            return pick(take(below).files, told["notebooks"])

    def texts(self, assignment: str, student: str) -> dict[str, str]:
        """The notebooks of a student's newest version; none: nothing was handed in.

        Raises:
            AssignmentError: it was not released, or there is no such student.
        """
        self._choose([student])
        wanted = self.record(assignment)["notebooks"]
        version = self._newest(assignment, student)
        return read_version(version, wanted)[0] if version else {}

    def feedback(self, assignment: str, students: list[str] | None = None) -> list[str]:
        """Put the feedback on the newest version into the students' hand-ins; to whom.

        Args:
            assignment: its name.
            students: to whom; None: to all.

        Raises:
            AssignmentError: it was not released.
        """
        self.record(assignment)
        done = []
        with self._alone():
            for student in self._choose(students):
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
        self.record(assignment)
        return [self.row(assignment, student) for student in self.members]

    def gradebook(self) -> str:
        """All results as CSV; of an assignment that is damaged, a line that says so."""
        table: list[tuple[str, str, Row]] = []
        for assignment in self.assignments():
            try:
                due, rows = self.record(assignment)["due"], self.rows(assignment)
            except AssignmentError as error:
                due, rows = "", [Row("", problems=(str(error),))]
            table += [(assignment, due, row) for row in rows]
        return write_table(table)

    def record(self, assignment: str) -> dict[str, Any]:
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

    def _choose(self, students: list[str] | None) -> list[str]:
        for student in students or ():
            if student not in self.members:
                raise AssignmentError(f"{student} is no student of {self.name}")
        return self.members if students is None else students

    def _hand_in(self, student: str) -> Path:
        return self.place / HAND_IN / student

    @contextlib.contextmanager
    def _work(self, assignment: str, student: str) -> Iterator[tuple[int, str]]:
        """Where a student works: the descriptor of a folder, and the name of the one in it."""
        if "exam" in self.record(assignment):
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
            told = self.record(assignment)
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
        return versions.find(place)

    def _before(self, assignment: str) -> dict[str, Any]:
        """What was said when it was released before: who has more time in an exam keeps it."""
        with contextlib.suppress(AssignmentError):
            return self.record(assignment)
        return {}

    def _of(self, assignment: str, student: str) -> Path:
        """Where a student's versions are; an earlier student of the name had another number."""
        owner = self._hand_in(student).lstat().st_uid
        return self._grades / assignment / f"{student}.{owner}"

    def _newest(self, assignment: str, student: str) -> Path | None:
        return next(reversed(self._versions(assignment, student)), None)

    def _collect(self, assignment: str, student: str, told: Mapping[str, Any]) -> bool:
        if not self.has_work(assignment, student):
            return False
        self._versions(assignment, student)
        place = self._of(assignment, student)
        # Who hands in does not wait for others' notebooks that are graded.
        with locking(place):
            with self._work(assignment, student) as (base, name):
                found = what(name, base)
                if found is None:
                    return False
                taken = Taken(problems={assignment: f"it is {found}"})
                with contextlib.suppress(OSError), folder(name, base) as below:
                    taken = take(below, **depth(told))
            return versions.add(place, taken, told)

    def _grade(
        self,
        assignment: str,
        student: str,
        version: Path,
        worker: Worker,
        *,
        again: bool = True,
    ) -> None:
        """Grade a version, or put what is given by hand into what was graded."""
        marks = read_marks(version)
        notebooks, beside = read_version(version, worker.released, folders=worker.folders)
        before = None
        if not again:
            told = read_json(version / "result.json").get("notebooks", {})
            before = {name: each["error"] for name, each in told.items() if "error" in each}
            paths = {name: version / f"{name}{ENDING}" for name in told}
            notebooks = {name: path.read_text() for name, path in paths.items() if path.exists()}
        told = {"student": student, "notebooks": notebooks, "marks": marks, "before": before}
        result = {**worker.ask(beside, **told), "marks": marks}
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
        keep(version / "result.json", json.dumps({**result, "graded": now().isoformat()}))

    def row(self, assignment: str, student: str, *, results: bool = True) -> Row:
        """What is known of a student's work.

        Args:
            assignment: its name.
            student: whose.
            results: what came of it, too.
        """
        return read_row(student, self._versions(assignment, student), results=results)

    def _write_gradebook(self) -> None:
        with folder(self.place / RESULTS) as base:
            put({"gradebook.csv": self.gradebook().encode()}, [], base, self.owner)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Two teachers at once are one after another."""
        with locking(self._grades):
            yield

    def _worker(self, assignment: str, *, release: bool = False) -> Worker:
        with folder(self.place / SOURCE) as base:
            try:
                with folder(_name(assignment), base) as below:
                    folders = any(what(name, below) for name in EXERCISE)
                    taken = take(below, **depth({"folders": folders}))
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
                f"{SOURCE}/{assignment} has no notebook, and no {EXERCISE[0]} as an exercise has"
            )
        return Worker(assignment, taken.files, self.owner, folders=folders, release=release)


def _kernel(notebook: str) -> str:
    """The kernel that a notebook has; Python's where it says none."""
    metadata = json.loads(notebook)["metadata"]
    return str(metadata.get("kernelspec", {}).get("name") or "python3")


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
