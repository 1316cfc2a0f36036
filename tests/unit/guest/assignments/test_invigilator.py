"""A round of the exams' service: what is wrong with one course stops no other's."""

import datetime
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from provision.guest.assignments import invigilator
from provision.guest.assignments.course import Course
from provision.guest.assignments.invigilator import Memory, look, report
from provision.guest.pool import exams

NOW = datetime.datetime.now(datetime.UTC)
COURSES = {
    "algebra": {"members": ["carl"], "teachers": [], "quota": 1},
    "groups": {"members": ["emmy", "sofja"], "teachers": [], "quota": 1},
}


def release(directory: Path, course: str, begin: int, end: int, name: str = "test") -> Path:
    """An exam from so many minutes from now until so many; its record."""
    place = directory / exams.PLACE / course
    (place / "material").mkdir(parents=True, exist_ok=True)
    (place / exams.GRADES / name).mkdir(parents=True)
    times = [(NOW + datetime.timedelta(minutes=each)).isoformat() for each in (begin, end)]
    rules = {"kernels": [], "terminals": False, "material": False, "extra": {}, "paused": {}}
    told = {"due": times[1], "grace": 0, "notebooks": [], "exam": {"from": times[0], **rules}}
    record = place / exams.GRADES / name / exams.RECORD
    record.write_text(json.dumps(told))
    return record


class Lease(SimpleNamespace):
    """A session, as the service sees one."""

    def __init__(self, student: str, account: str = "nb1") -> None:
        self.ended = False
        said = [json.dumps({"port": 1})]
        super().__init__(student=student, account=f"{account}@localhost", said=said)

    def end(self) -> None:
        self.ended = True


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Whose work was handed in."""
    found: list[str] = []

    def collect(_: Course, assignment: str, student: str, told: Any) -> bool:
        found.append(f"{assignment} of {student}")
        return True

    monkeypatch.setattr(invigilator, "STATE", tmp_path)
    monkeypatch.setattr(invigilator.notes, "write", lambda *_: None)
    monkeypatch.setattr(Course, "has_work", lambda *_: True)
    monkeypatch.setattr(Course, "_collect", collect)
    return found


def test_a_damaged_record_stops_no_other_exam_and_is_named_once(
    tmp_path: Path, handed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    damaged, memory = release(tmp_path, "algebra", -90, -1), Memory()
    release(tmp_path, "groups", -90, -1)
    whole = damaged.read_text()
    damaged.write_text(whole[:40])
    look(tmp_path, COURSES, [], memory)
    look(tmp_path, COURSES, [], memory)
    assert handed == ["test of emmy", "test of sofja"]
    said = capsys.readouterr().out
    assert said.count(f"exams: {damaged} is damaged: ") == 1
    assert said.count("groups: of emmy, the exam is handed in") == 1
    damaged.write_text(whole)
    look(tmp_path, COURSES, [], memory)
    assert handed[2:] == ["test of carl"]
    damaged.write_text("")
    look(tmp_path, COURSES, [], memory)
    assert "is damaged" in capsys.readouterr().out, "it is another time"


def test_a_course_that_cannot_be_looked_at_stops_no_other(
    tmp_path: Path, handed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    release(tmp_path, "algebra", -90, -1)
    release(tmp_path, "groups", -90, -1)
    (tmp_path / exams.PLACE / "algebra/material").rmdir()
    look(tmp_path, COURSES, [], Memory())
    assert handed == ["test of emmy", "test of sofja"]
    assert "exams: algebra: " in capsys.readouterr().out


def test_sessions_are_ended_but_where_nobody_knows_whether_it_is_right(
    tmp_path: Path, handed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    release(tmp_path, "algebra", -1, 90).write_text("")
    monkeypatch.setattr(invigilator, "exams_by_account", lambda: {"nb2": "algebra/test"})
    release(tmp_path, "groups", -1, 90)
    leases = [Lease("carl"), Lease("carl", "nb2"), Lease("emmy"), Lease("gauss", "nb2")]
    memory = Memory()
    look(tmp_path, COURSES, leases, memory)  # type: ignore[arg-type]
    assert [each.ended for each in leases] == [False, False, True, True]
    assert memory.at_work == {"carl", "gauss"}
    release(tmp_path, "algebra", -1, 90, "other")
    look(tmp_path, COURSES, leases[:2], memory)  # type: ignore[arg-type]
    assert [each.ended for each in leases[:2]] == [True, True], "it is known what is right"


def test_records_are_read_once_a_round(
    tmp_path: Path, handed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    release(tmp_path, "groups", -90, 90)
    read: list[Path] = []

    def read_record(path: Path) -> Any:
        read.append(path)
        return json.loads(path.read_text())

    monkeypatch.setattr(exams, "read_record", read_record)
    look(tmp_path, COURSES, [Lease("emmy"), Lease("sofja", "nb2")], Memory())  # type: ignore[list-item]
    assert len(read) == 1


def test_what_goes_on_being_wrong_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    known: set[str] = set()
    for troubles in (["a", "b", "a"], ["b"], ["a"], []):
        report(troubles, known)
    assert capsys.readouterr().out.split("\n") == ["exams: a", "exams: b", "exams: a", ""]
    assert known == set()
