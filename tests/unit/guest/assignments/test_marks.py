"""What a teacher types beside cells, and what a student's names may look like in a table."""

from typing import Any

import pytest

from provision.guest.assignments.course import AssignmentError, _checked
from provision.guest.words import no_formula

RESULTS = {"work": {"cells": {"test": [3, 3], "why": [0, 2]}, "solutions": ["why"]}}


def test_what_is_typed_is_kept_and_what_is_empty_is_not() -> None:
    typed = {"work": {"why": {"points": " 1,5", "comment": "nearly "}, "test": {"points": ""}}}
    assert _checked(typed, RESULTS) == {"work": {"why": {"points": 1.5, "comment": "nearly"}}}


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
        _checked(typed, RESULTS)
    assert str(told.value) == words


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", "\t=1"])
def test_no_name_is_a_formula_in_a_table(name: str) -> None:
    assert no_formula(name) == f"'{name}"
    assert no_formula(f"work.ipynb {name}") == f"work.ipynb {name}"
