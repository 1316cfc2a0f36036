"""The end of an exam: each student's work is handed in, whatever is wrong with another's."""

import contextlib
import datetime
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from provision.guest.assignments import places, versions
from provision.guest.assignments.course import Course
from provision.guest.assignments.errors import AssignmentError
from provision.guest.pool import exams

MEMBERS = ("carl", "emmy", "sofja")
LONG_AGO = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture
def course(tmp_path: Path) -> Course:
    place = tmp_path / exams.PLACE / "algebra" / exams.GRADES / "test"
    place.mkdir(parents=True)
    (tmp_path / exams.PLACE / "algebra" / "material").mkdir()
    rules = {"kernels": ["python3"], "terminals": False, "material": False}
    exam = {"from": LONG_AGO.isoformat(), **rules, "extra": {}, "paused": {}}
    due = (LONG_AGO + datetime.timedelta(hours=1)).isoformat()
    told = {"due": due, "grace": 0, "notebooks": ["work"], "exam": exam}
    (place / exams.RECORD).write_text(json.dumps(told))
    return Course(tmp_path, "algebra", {"members": list(MEMBERS), "teachers": [], "quota": 1})


def told_of(course: Course) -> Mapping[str, Any]:
    return exams.read_exams(course.place.parent.parent, ["algebra"]).told["algebra"]


def test_one_whose_work_cannot_be_taken_keeps_nobody_from_handing_in(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    ill = {"carl"}

    def collect(assignment: str, student: str, _: dict[str, Any]) -> bool:
        if student in ill:
            raise OSError(28, "No space left on device")
        return True

    monkeypatch.setattr(course, "has_work", lambda *_: True)
    monkeypatch.setattr(course, "_collect", collect)
    done: set[tuple[str, ...]] = set()
    told = dict(course.finish(told_of(course), {"sofja"}, done))
    assert told == {
        "carl": "test cannot be handed in: [Errno 28] No space left on device",
        "emmy": "",
    }
    ill.clear()  # it is tried again; and she who was at work has come out
    assert dict(course.finish(told_of(course), (), done)) == {"carl": "", "sofja": ""}
    assert dict(course.finish(told_of(course), (), done)) == {}


def test_a_hand_in_that_was_cut_off_before_it_was_listed_is_listed_by_the_next_round(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a power cut between the version's name and the list of hashes."""
    hand_in = course.place / "hand-in" / "emmy"
    hand_in.mkdir(parents=True)
    owner = hand_in.stat().st_uid
    work = exams.work_of(course.place, "test", "emmy", owner)
    work.mkdir(parents=True)
    (work / "work.ipynb").write_text("{}")
    monkeypatch.setattr(places.os, "fchown", lambda *_: None)

    def cut(*_: object) -> None:
        raise OSError("power")

    with monkeypatch.context() as cutting:
        cutting.setattr(versions, "list_hashes", cut)
        assert "power" in dict(course.finish(told_of(course), (), set()))["emmy"]
    (path,) = course.differences("test")
    assert path == f"emmy.{owner}/0001/handed/work.ipynb is not listed"
    assert dict(course.finish(told_of(course), (), set())) == {}, "it is handed in once"
    assert course.differences("test") == []
    with (course.place / "grades/test" / path.partition(" ")[0]).open("a") as file:
        file.write("more")
    assert dict(course.finish(told_of(course), (), set())) == {}
    assert course.differences("test") == [path.partition(" ")[0]]


@pytest.mark.parametrize("minutes", [float("inf"), float("-inf"), float("nan"), 1e12])
def test_time_that_no_clock_can_reckon_with_is_not_given(course: Course, minutes: float) -> None:
    """With it root's service would end, and with it every exam of every course."""
    with pytest.raises(AssignmentError, match="it can be a month"):
        course.allow("test", "emmy", minutes)
    course.allow("test", "emmy", 10)
    assert course.record("test")["exam"]["extra"] == {"emmy": 600}


def test_a_folder_s_name_is_one_line(course: Course) -> None:
    with pytest.raises(AssignmentError, match="call the folder otherwise"):
        course.release("test\nflush ruleset")
    for name in ("good", "a\nb"):
        (course.place / "source" / name).mkdir(parents=True)
    assert course.sources() == ["good"]


def test_of_an_exam_that_nobody_began_nothing_is_collected(course: Course) -> None:
    for student in MEMBERS:
        (course.place / "hand-in" / student).mkdir(parents=True)
    assert course.collect("test") == []


@pytest.mark.parametrize("begin", ["", "2026-01-01T10:00"])
def test_what_is_hidden_since_an_earlier_release_is_handed_out_no_more(
    course: Course, monkeypatch: pytest.MonkeyPatch, begin: str
) -> None:
    monkeypatch.setattr(os, "fchown", lambda *_: None)
    monkeypatch.setattr(os, "chown", lambda *_, **__: None)
    (course.place / "hand-out").mkdir()
    given = {"test/test_a.py": b"a", "test/test_b.py": b"b"}

    @contextlib.contextmanager
    def working(*_: str, **__: bool) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(released={}, missing={}, folders=False, given=given)

    monkeypatch.setattr(course, "_worker", working)
    course.release("one", "2026-01-01T12:00", begin=begin)
    if begin:
        course.allow("one", "emmy", 5)
    base = course.place / ("grades/one/files" if begin else "hand-out/one")
    (base / "test/more.txt").write_text("a teacher's own")
    del given["test/test_b.py"]
    course.release("one", "2026-01-01T12:00", begin=begin)
    assert {path.name for path in base.rglob("*.*")} == {"test_a.py", "more.txt"}
    if begin:
        assert course.record("one")["exam"]["extra"] == {"emmy": 300}


def test_what_is_damaged_is_said_and_mended_by_another_release(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = course.place / "grades/test" / exams.RECORD
    record.write_text('{"due": ')
    with pytest.raises(AssignmentError, match="hand it out anew"):
        course.collect("test")
    (course.place / "hand-out").mkdir()

    @contextlib.contextmanager
    def working(*_: str, **__: bool) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(released={}, missing={}, folders=False, given={})

    monkeypatch.setattr(course, "_worker", working)
    course.release("test", "2026-01-01T12:00")
    assert course.record("test")["due"] == course_time("2026-01-01T12:00")


def course_time(text: str) -> str:
    return datetime.datetime.fromisoformat(text).astimezone(datetime.UTC).isoformat()
