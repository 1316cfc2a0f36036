"""Who comes first on the pages of students, and what is said to whoever asks about them."""

from pathlib import Path
from typing import Any

import pytest

from provision.guest.assignments import desk
from provision.guest.hub.roll import order, sessions, size

CLASS = {"members": ["emmy", "carl"], "teachers": ["noether"], "quota": 1}
OTHER = {"members": ["ada"], "teachers": ["marker"], "quota": 1}


def test_who_has_a_session_comes_first_then_who_waits() -> None:
    now = {"sessions": {"nb2@localhost": {"student": "zoe", "age": 70}}}
    there = sessions(now)
    assert there == {"zoe": {"student": "zoe", "age": 70, "account": "nb2@localhost"}}
    rows: list[dict[str, Any]] = [
        {"name": "emmy", "session": None},
        {"name": "ada", "session": None, "waiting": False},
        {"name": "karl", "session": None, "waiting": True},
        {"name": "zoe", "session": there.get("zoe")},
    ]
    assert [row["name"] for row in order(rows)] == ["zoe", "karl", "ada", "emmy"]
    assert sessions({}) == {}


@pytest.mark.parametrize(
    ("number", "text"), [(None, ""), (0, "0 "), (999, "999 "), (1536, "1.5 K"), (20 << 30, "20 G")]
)
def test_bytes_in_short(number: float | None, text: str) -> None:
    assert size(number) == text


@pytest.fixture
def two_courses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("algebra", "other"):
        (tmp_path / ".courses" / name / "material").mkdir(parents=True)
    monkeypatch.setattr(desk, "read_courses", lambda _: {"algebra": CLASS, "other": OTHER})
    settings = type("Settings", (), {"directory": tmp_path})
    monkeypatch.setattr(desk, "read_settings", lambda: settings)
    monkeypatch.setattr("os.chown", lambda *_: None)


@pytest.mark.usefixtures("two_courses")
def test_a_teacher_may_reach_the_students_of_the_own_course() -> None:
    everybody = {"students": ["carl", "emmy"]}
    assert desk.answer("may", "noether", "algebra") == everybody
    assert desk.answer("may", "noether", "algebra", "emmy", "carl") == everybody


@pytest.mark.usefixtures("two_courses")
@pytest.mark.parametrize(
    "words",
    [
        ("noether", "other"),
        ("noether", "other", "ada"),
        ("noether", "algebra", "ada"),
        ("noether", "algebra", "emmy", "ada"),  # one stranger, and nothing is done to anybody
        ("noether", "algebra", "noether"),
        ("noether", "algebra", "Emmy"),
        ("noether", "algebra", "emmy "),
        ("noether", "algebra", ""),
        ("noether", "algebra", "sageadm"),
        ("emmy", "algebra"),
        ("emmy", "algebra", "emmy"),
        ("ada", "algebra"),
        ("", "algebra"),
        ("noether", ""),
        ("noether", "."),
        ("noether", "../algebra"),
        ("noether", "algebra/"),
        ("noether", "algebra\x00"),
        ("noether", "Algebra"),
        ("noether", "<b>"),
    ],
)
def test_nobody_reaches_anybody_else(words: tuple[str, ...]) -> None:
    with pytest.raises(desk.AbsentError):
        desk.answer("may", *words)


@pytest.mark.usefixtures("two_courses")
def test_who_leaves_a_course_is_out_of_reach_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    left = {"algebra": {**CLASS, "members": ["carl"]}}
    monkeypatch.setattr(desk, "read_courses", lambda _: left)
    assert desk.answer("may", "noether", "algebra") == {"students": ["carl"]}
    with pytest.raises(desk.AbsentError):
        desk.answer("may", "noether", "algebra", "emmy")
