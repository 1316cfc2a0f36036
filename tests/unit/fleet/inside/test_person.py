"""Where what is kept of one person is found."""

from pathlib import Path

import pytest

from provision.fleet.inside import person


def test_what_was_graded_of_a_person_is_found_and_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(person, "students", lambda: tmp_path)
    course = tmp_path / ".courses/algebra"
    mine = ["grades/sheet/emmy.50001", "grades/sheet/emmy.50007", "results/sheet/emmy"]
    others = ["grades/sheet/emmy.c.50002", "grades/sheet/carl.50003", "results/sheet/carl"]
    for place in (*mine, *others, "hand-in/emmy"):
        (course / place).mkdir(parents=True)
    for name, student in (("algebra", "emmy"), ("sets", "carl")):
        book = tmp_path / f".courses/{name}/results/gradebook.csv"
        book.parent.mkdir(parents=True, exist_ok=True)
        book.write_text(f"assignment,student_id,score\nsheet,{student},3\n")
    found = [(what, str(path.relative_to(course))) for what, path in person._paths("emmy")]
    assert found == [
        ("hand-in", "hand-in/emmy"),
        *(("grades", place) for place in (*mine, "results/gradebook.csv")),
    ]
