"""Cells as nbgrader knows them; no notebook is run."""

from typing import Any

import pytest

from provision.guest.assignments.cells import about, book, cell, give_back

TOLD = {"double": about("double", solution=True), "test": about("test", grade=True, points=3)}


@pytest.mark.parametrize(
    ("said", "known"),
    [
        (about("double", solution=True, grade=True, points=99), TOLD["double"]),
        (about("test", solution=True), TOLD["test"]),
        ({"grade_id": "test"}, TOLD["test"]),
        (about("more", grade=True, points=99), None),
        ({"grade_id": ["double"]}, None),
        ({}, None),
        ("double", None),
    ],
)
def test_what_a_cell_is_its_teacher_says(said: Any, known: dict[str, Any] | None) -> None:
    mine = book([cell("code", "1", {"nbgrader": said, "mine": 1}), cell("code", "2")], {})
    give_back(mine, TOLD)
    assert mine["cells"][0]["metadata"] == {"mine": 1} | ({"nbgrader": known} if known else {})
    assert mine["cells"][1]["metadata"] == {}
    assert mine["cells"][0]["metadata"].get("nbgrader") is not known or known is None  # a copy
