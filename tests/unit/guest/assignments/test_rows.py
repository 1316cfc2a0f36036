"""What teachers are told of a student's work, whatever a student has called it."""

import csv
import io
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from provision.guest.assignments.course import Course
from provision.guest.assignments.desk import _learn, _teach
from provision.guest.assignments.marks import is_graded
from provision.guest.pool.courses import PLACE
from provision.guest.pool.exams import GRADES, RECORD


def test_no_student_makes_a_row_that_no_table_takes(tmp_path: Path) -> None:
    grades = tmp_path / PLACE / "algebra" / GRADES / "one"
    grades.mkdir(parents=True)
    (grades / RECORD).write_text(json.dumps({"due": "", "grace": 0, "notebooks": []}))
    (tmp_path / PLACE / "algebra/material").mkdir()
    course = Course(tmp_path, "algebra", {"members": ["carl"], "teachers": []})
    (course.place / "hand-in/carl").mkdir(parents=True)
    version = course._of("one", "carl") / "0001"
    version.mkdir(parents=True)
    problems = {f"{'d/' * 700}{number}": "it is a link" for number in range(200)}
    told = {"digest": "", "handed": "", "late": False, "problems": problems}
    (version / "version.json").write_text(json.dumps(told))
    result = {"notebooks": {"work": {"error": "x" * 1_000_000}}}
    (version / "result.json").write_text(json.dumps(result))
    (row,) = csv.DictReader(io.StringIO(course.gradebook()))
    assert row["problems"].endswith("and 151 more")
    assert len(row["problems"]) < 25_000


def test_what_is_damaged_hides_nothing_else(tmp_path: Path) -> None:
    """Of an assignment: neither the others, in any list; of a version: no other student's."""
    for name in ("one", "torn"):
        grades = tmp_path / PLACE / "algebra" / GRADES / name
        grades.mkdir(parents=True)
        (grades / RECORD).write_text(json.dumps({"due": "", "grace": 0, "notebooks": []}))
    (tmp_path / PLACE / "algebra/material").mkdir()
    (tmp_path / PLACE / "algebra/source").mkdir()
    course = Course(tmp_path, "algebra", {"members": ["carl", "emmy"], "teachers": []})
    told = {"digest": "", "handed": "2026-11-30T12:00:00+00:00", "late": False, "problems": {}}
    for student in course.members:
        (course.place / "hand-in" / student).mkdir(parents=True)
        version = course._of("one", student) / "0001"
        version.mkdir(parents=True)
        (version / "version.json").write_text(json.dumps(told))
    (course._of("one", "carl") / "0001/version.json").write_text('{"digest": ')
    (course._of("one", "carl") / "0001/result.json").write_text("{")
    (grades / RECORD).write_text('{"due": ')

    one, torn = _teach(course, "")["assignments"]
    assert one["name"] == "one"
    assert "trouble" not in one
    assert (torn["name"], f"{grades / RECORD} is damaged" in torn["trouble"]) == ("torn", True)
    one, torn = _learn(course, "emmy")
    assert (one["versions"], torn["name"], "trouble" in torn) == (1, "torn", True)
    carl, emmy, rest = csv.DictReader(io.StringIO(course.gradebook()))
    assert carl["problems"].startswith("version 1 cannot be read: ")
    assert (emmy["student_id"], emmy["timestamp"], emmy["problems"]) == ("emmy", told["handed"], "")
    assert (rest["assignment"], "is damaged" in rest["problems"]) == ("torn", True)
    assert not is_graded(course._of("one", "carl") / "0001")
    (course.place / "hand-in/carl/one").mkdir()
    (course.place / "hand-in/carl/one/work.ipynb").write_text("{}")
    assert course.collect("one") == ["carl"]
    assert course.row("one", "carl").versions == 2


def test_what_was_cut_off_before_teachers_have_it_is_graded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / PLACE / "algebra/material").mkdir(parents=True)
    course = Course(tmp_path, "algebra", {"members": ["carl"], "teachers": []})
    version = tmp_path / "0001"
    (version / "handed").mkdir(parents=True)
    worker: Any = SimpleNamespace(
        released=[],
        folders=False,
        ask=lambda *_, **__: {"notebooks": {"work": {"feedback": "page"}}},
    )
    monkeypatch.setattr(os, "fchown", lambda *_: None)
    (course.place / "results").rmdir()  # as if the power went there
    with pytest.raises(OSError, match="results"):
        course._grade("one", "carl", version, worker)
    assert not (version / "result.json").exists()
