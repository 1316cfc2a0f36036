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


def test_who_is_erased_is_on_no_list_of_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(person, "students", lambda: tmp_path)
    assert person._leave_lists("emmy") is None
    sums = tmp_path / ".courses/algebra/grades/sheet/SHA256SUMS"
    sums.parent.mkdir(parents=True)
    others = [f"{'b' * 64}  {each}/0001/emmy.50001/a" for each in ("emmy.c.50002", "carl.50003")]
    mine = [f"{'a' * 64}  emmy.{number}/0001/handed/a b" for number in (50001, 50007)]
    sums.write_text("\n".join((mine[0], *others, mine[1], "")))
    assert person._leave_lists("emmy") == {"path": str(sums)}
    assert sums.read_text() == "\n".join((*others, ""))
    assert person._leave_lists("emmy") is None
