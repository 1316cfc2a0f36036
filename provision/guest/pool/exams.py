"""Exams: assignments that run from one time until another, in sessions that have nothing else.

What was said of an exam is kept with its assignment (``.courses/NAME/grades/ASSIGNMENT``), where
root alone writes. Whether a session is an exam's is decided by this and the clock when root opens
it, never by the hub or the student. The files on which a student works are in ``.courses/NAME/
exam/ASSIGNMENT``; no other session is shown them, before or after.
"""

import contextlib
import datetime
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from provision.guest.pool.courses import PLACE, SHARED, View, hand_in_directory
from provision.guest.typed import DamagedError, load, of
from provision.guest.whole import flush, locking

GRADES, RECORD, FILES = "grades", "assignment.json", "files"
MEND = "hand it out anew: notebook-assignments release"
WORK = "exam"
OPEN = Path("/run/notebook-exams")  # of each account in an exam, what closes its network
ROOM = 512 << 20  # bytes beside a student's quota: who has filled that writes all the same
KERNELS = Path("/usr/local/share/jupyter/kernels")
OPT, KEPT = Path("/opt"), "notebook"  # which runs the session itself
PROGRAMS = (
    *(Path("/usr/bin", name) for name in ("git", "rclone", "ssh", "scp", "sftp", "curl", "wget")),
    Path("/usr/lib/git-core"),
)
SETTINGS = {  # what has others in an exam: it saves three times as often
    Path("/etc/notebook/exam.json"): Path("/opt/notebook/share/jupyter/lab/settings/overrides.json")
}
_Rules = TypedDict(
    "_Rules",
    {
        "from": str,
        "kernels": list[str],
        "terminals": bool,
        "material": bool,
        "extra": dict[str, float],
        "paused": dict[str, str],
    },
)


class _Told(TypedDict):
    due: str
    grace: int
    notebooks: list[str]
    exam: NotRequired[_Rules]


@dataclass(frozen=True)
class Exam:
    """A student's exam that has begun and not ended.

    Args:
        course, assignment: which.
        until: when it ends for this student.
        kernels: names of those that may be started.
        terminals: whether there are any.
        material: whether the course's is shown.
        paused: since when nobody works on it; None: it goes on.
    """

    course: str
    assignment: str
    until: datetime.datetime
    kernels: tuple[str, ...] = ()
    terminals: bool = False
    material: bool = False
    paused: datetime.datetime | None = None

    @property
    def name(self) -> str:
        """As it is known to root's side alone."""
        return f"{self.course}/{self.assignment}"


@dataclass(frozen=True)
class Exams:
    """The exams of some courses, as they were said to be when they were read.

    Args:
        told: by course and assignment, what was said.
        damage: by course, what is wrong with those that cannot be read, which may be exams.
    """

    told: Mapping[str, Mapping[str, dict[str, Any]]]
    damage: Mapping[str, Sequence[str]]


def read_exams(directory: Path, courses: Iterable[str]) -> Exams:
    """Read the exams of courses; one that is damaged keeps no other from being read.

    Args:
        directory: of all students.
        courses: their names.
    """
    told: dict[str, dict[str, dict[str, Any]]] = {}
    damage: dict[str, list[str]] = {}
    for course in sorted(courses):
        for path in sorted((directory / PLACE / course / GRADES).glob(f"*/{RECORD}")):
            try:
                about = read_record(path)
            except (OSError, DamagedError) as error:
                damage.setdefault(course, []).append(str(error))
            else:
                if "exam" in about:
                    told.setdefault(course, {})[path.parent.name] = about
    return Exams(told, damage)


def read_record(path: Path) -> dict[str, Any]:
    """What was said when an assignment was released.

    Args:
        path: its file.

    Raises:
        OSError: it cannot be read.
        DamagedError: it is damaged.
    """
    about: dict[str, Any] = load(dict[str, Any], path, MEND)
    try:
        of(_Told, about)
        if rules := about.get("exam"):
            times = [begin_of(about), end_of(about, ""), *map(_time, rules["paused"].values())]
            times += [end_of(about, student) for student in rules["extra"]]
            if not all(each.tzinfo for each in times):
                raise ValueError("a time is without its zone")
    except (ValueError, TypeError, OverflowError) as error:
        raise DamagedError(f"{path} is damaged: {error}; {MEND}") from None
    return about


def exam_of(
    directory: Path, student: str, courses: Mapping[str, Any], now: datetime.datetime
) -> Exam | None:
    """The exam in which a student is; None: in none.

    Args:
        directory: of all students.
        student: who.
        courses: from ``read_courses``.
        now: the time.

    Raises:
        DamagedError: nobody knows, for what was said of an assignment cannot be read.
    """
    mine = {name: {"members": [student]} for name, c in courses.items() if student in c["members"]}
    exams = read_exams(directory, mine)
    exam = exams_now(exams, mine, now).get(student)
    if not exam:
        for first, *_ in exams.damage.values():
            raise DamagedError(first)
    return exam


def exams_now(exams: Exams, courses: Mapping[str, Any], now: datetime.datetime) -> dict[str, Exam]:
    """The exams that go on, by student.

    Args:
        exams: of all courses.
        courses: from ``read_courses``.
        now: the time.
    """
    found: dict[str, Exam] = {}
    for course, known in exams.told.items():
        for assignment, told in known.items():
            if begin_of(told) > now:
                continue
            for student in courses[course]["members"]:
                if student not in found and not is_over(told, student, now):
                    found[student] = _exam(course, assignment, told, student)
    return found


def _exam(course: str, assignment: str, told: Mapping[str, Any], student: str) -> Exam:
    rules = told["exam"]
    since = rules["paused"].get(student)
    return Exam(
        course,
        assignment,
        end_of(told, student),
        tuple(rules["kernels"]),
        rules["terminals"],
        rules["material"],
        _time(since) if since else None,
    )


def begin_of(told: Mapping[str, Any]) -> datetime.datetime:
    """When an exam begins."""
    return _time(told["exam"]["from"])


def end_of(told: Mapping[str, Any], student: str) -> datetime.datetime:
    """When an exam ends for a student, who may have more time than the others."""
    seconds = told["exam"]["extra"].get(student, 0)
    return _time(told["due"]) + datetime.timedelta(seconds=seconds)


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def is_over(told: Mapping[str, Any], student: str, now: datetime.datetime) -> bool:
    """Whether an exam has ended for a student; one that is paused has not."""
    return student not in told["exam"]["paused"] and end_of(told, student) <= now


def work_of(course: Path, assignment: str, student: str, owner: int) -> Path:
    """Where a student's work on an exam is.

    Args:
        course: the course's directory.
        assignment: the exam.
        student: who; another one of the same name has another number.
        owner: the student's number.
    """
    return course / WORK / assignment / f"{student}.{owner}"


def make_work(directory: Path, exam: Exam, student: str) -> Path:
    """A student's files of an exam, with what is handed out where there are none yet.

    Args:
        directory: of all students.
        exam: which.
        student: who.

    Raises:
        OSError: the disk is full.
    """
    course = directory / PLACE / exam.course
    owner = hand_in_directory(directory, course, student).stat().st_uid
    path = work_of(course, exam.assignment, student, owner)
    if path.is_dir():
        return path
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locking(path.parent):
        fresh = path.with_name(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(course / GRADES / exam.assignment / FILES, fresh)
        if exam.material:
            (fresh / SHARED[0]).mkdir(exist_ok=True)
        for each in (fresh, *fresh.iterdir()):
            os.chown(each, owner, owner)
            each.chmod(0o700 if each.is_dir() else 0o600)
        # A power cut leaves no folder whose files are empty.
        for each in (*fresh.iterdir(), fresh):
            flush(each)
        with contextlib.suppress(OSError):  # another session was faster
            fresh.rename(path)
        flush(path.parent)
    return path


def material_of(directory: Path, exam: Exam, work: Path) -> View | None:
    """The course's material, if an exam shows it and the student has left its place there."""
    place = work / SHARED[0]
    if not exam.material or place.is_symlink() or not place.is_dir():
        return None
    return View(directory / PLACE / exam.course / SHARED[0], SHARED[0], writable=False)


def arguments(exam: Exam) -> list[str]:
    """What a session's server is told besides what the hub tells it."""
    kernels = [f"--KernelSpecManager.allowed_kernelspecs={name}" for name in exam.kernels]
    return [*kernels, f"--ServerApp.terminals_enabled={exam.terminals}"]


def omissions(exam: Exam, kernels: Path = KERNELS) -> Iterator[Path]:
    """The programs and folders of which an exam's session has nothing.

    Args:
        exam: which.
        kernels: where each has its description.
    """
    yield from (path for path in PROGRAMS if path.exists())
    there = [path for path in kernels.glob("*/kernel.json") if path.exists()]
    programs = {path.parent.name: _program(path) for path in there}
    used = {_top(programs[name]) for name in exam.kernels if name in programs}
    used |= {OPT / KEPT, OPT / "python"}  # ``python3`` is of one of them
    others = {_top(program) for program in programs.values()} - used
    yield from sorted(path for path in others if path.exists())


def _program(description: Path) -> Path:
    return Path(json.loads(description.read_text())["argv"][0]).resolve()


def _top(program: Path) -> Path:
    """A program, or the folder of all that belongs to it."""
    return OPT / program.parts[2] if program.is_relative_to(OPT) else program


def close_network(account: str, uid: int, exam: Exam | None, place: Path = OPEN) -> None:
    """Leave an account in an exam nothing but the hub's API; the others have what they had.

    What closes it is a file of the firewall's, which reads it again whenever it starts.

    Args:
        account: its name.
        uid: its number.
        exam: which; None: none.
        place: of these files.

    Raises:
        CalledProcessError: the firewall refuses.
    """
    path, element = place / f"{account}.nft", f"element inet notebook closed {{ {uid} }}"
    if exam is None and not path.exists():
        return
    name = " ".join(exam.name.split("\n")) if exam else ""  # what follows would be an order
    text = f"# {name}\nadd {element}\n" if exam else f"add {element}\ndelete {element}\n"
    path.write_text(text)
    subprocess.run(["/usr/sbin/nft", "-f", str(path)], check=True)
    if exam is None:
        path.unlink()


def exams_by_account(place: Path = OPEN) -> dict[str, str]:
    """The accounts in exams, and which."""
    found: dict[str, str] = {}
    for path in place.glob("*.nft"):
        with contextlib.suppress(FileNotFoundError):
            found[path.stem] = path.read_text().partition("\n")[0].removeprefix("# ")
    return found
