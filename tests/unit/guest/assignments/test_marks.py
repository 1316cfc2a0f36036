"""What a teacher types beside cells, and what a student's names may look like in a table."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from provision.guest.assignments.course import Course
from provision.guest.assignments.errors import AssignmentError
from provision.guest.assignments.marks import check_marks
from provision.guest.pool.courses import PLACE
from provision.guest.pool.exams import GRADES, RECORD
from provision.guest.words import no_formula

RESULTS = {"work": {"cells": {"test": [3, 3], "why": [0, 2]}, "solutions": ["why"]}}


def test_what_is_typed_is_kept_and_what_is_empty_is_not() -> None:
    typed = {"work": {"why": {"points": " 1,5", "comment": "nearly "}, "test": {"points": ""}}}
    assert check_marks(typed, RESULTS) == {"work": {"why": {"points": 1.5, "comment": "nearly"}}}


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"work": {"why": {"points": "2.5"}}}, "why: 2.5 points; it has 0 to 2"),
        ({"work": {"why": {"points": "-1"}}}, "why: -1 points; it has 0 to 2"),
        ({"work": {"why": {"points": "nan"}}}, "why: nan points; it has 0 to 2"),
        ({"work": {"why": {"points": "much"}}}, "why: 'much' is no number of points"),
        ({"work": {"who": {"points": "1"}}}, "work has no cell who with points"),
        ({"play": {"why": {"points": "1"}}}, "play has no cell why with points"),
        ({"work": {"test": {"comment": "x"}}}, "work has no cell test that a student solves"),
    ],
)
def test_what_cannot_be_given_is_said(typed: dict[str, Any], words: str) -> None:
    with pytest.raises(AssignmentError) as told:
        check_marks(typed, RESULTS)
    assert str(told.value) == words


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", "\t=1"])
def test_no_name_is_a_formula_in_a_table(name: str) -> None:
    assert no_formula(name) == f"'{name}"
    assert no_formula(f"work.ipynb {name}") == f"work.ipynb {name}"


@pytest.mark.parametrize(
    ("before", "answer", "words"),
    [
        (
            {"error": "grading ended: x"},
            {},
            r"one of carl could not be graded \(grading ended: x\)",
        ),
        ({"notebooks": RESULTS}, {"error": "grading ended: y"}, "grading ended: y"),
    ],
)
def test_points_by_hand_leave_what_came_of_grading(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: dict[str, Any],
    answer: dict[str, Any],
    words: str,
) -> None:
    """Where grading ended there is nothing to put them to: it does not become a missing hand-in."""
    (tmp_path / PLACE / "algebra/material").mkdir(parents=True)
    course = Course(tmp_path, "algebra", {"members": ["carl"], "teachers": []})
    grades = course.place / GRADES / "one"
    grades.mkdir()
    (grades / RECORD).write_text(json.dumps({"due": "", "grace": 0, "notebooks": ["work"]}))
    (course.place / "hand-in/carl").mkdir(parents=True)
    version = course._of("one", "carl") / "0001"
    (version / "handed").mkdir(parents=True)
    (version / "result.json").write_text(json.dumps(before))

    @contextlib.contextmanager
    def working(*_: str) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(released={"work": ""}, folders=False, ask=lambda *_, **__: answer)

    monkeypatch.setattr(course, "_worker", working)
    for marks in ({}, {"work": {"why": {"points": "1"}}}):
        with pytest.raises(AssignmentError, match=words):
            course.mark("one", "carl", marks)
        assert json.loads((version / "result.json").read_text()) == before
