"""Hand-ins as root reads them, and what root writes where somebody else may have been before."""

import json
import os
import time
from pathlib import Path

import pytest

from provision.guest.assignments import places
from provision.guest.assignments.course import Course
from provision.guest.assignments.errors import AssignmentError
from provision.guest.assignments.places import folder, put, remove, take
from provision.guest.assignments.times import deadline
from provision.guest.assignments.versions import matching
from provision.guest.pool.courses import PLACE
from provision.guest.pool.exams import GRADES, RECORD


def test_only_files_are_taken(tmp_path: Path) -> None:
    (tmp_path / "work.ipynb").write_text("{}")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "sub").mkdir()
    (tmp_path / "x.ipynb").mkdir()
    (tmp_path / ".hidden").write_text("")
    os.mkfifo(tmp_path / "pipe")
    os.utime(tmp_path / "work.ipynb", (0, 0))
    with folder(tmp_path) as descriptor:
        taken = take(descriptor)
    assert taken.files == {"work.ipynb": b"{}"}
    assert taken.problems == {
        **{"link": "it is a link", "pipe": "it is a pipe", "x.ipynb": "it is a folder"},
    }
    assert time.time() - taken.changed < 60


def test_no_more_is_read_than_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(bytes(400 << 10))
    os.truncate(tmp_path / "c", 1 << 40)
    monkeypatch.setattr(places, "ALL", 600 << 10)
    monkeypatch.setattr(places, "FILES", 2)
    with folder(tmp_path) as descriptor:
        taken = take(descriptor)
    assert set(taken.files) == {"a"}
    assert taken.problems["c"] == "there are more than 2 files"
    assert taken.problems["b"].startswith("it has 0 MB; a file may have 20")


@pytest.mark.parametrize(
    "name", ["a\nb", "a\u2028b", "a\x0cb", "a\rb", "a\u0085b", b"\xff", "a\nb/c", "x" * 255]
)
def test_no_name_of_one_student_keeps_others_from_handing_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | bytes
) -> None:
    monkeypatch.setattr(os, "fchown", lambda *_: None)
    grades = tmp_path / PLACE / "algebra" / GRADES / "one"
    grades.mkdir(parents=True)
    told = {"due": "", "grace": 0, "notebooks": [], "folders": True}
    (grades / RECORD).write_text(json.dumps(told))
    (tmp_path / PLACE / "algebra/material").mkdir()
    course = Course(tmp_path, "algebra", {"members": ["carl", "emmy"], "teachers": []})
    for student in course.members:
        (course.place / "hand-in" / student / "one").mkdir(parents=True)
    odd = course.place / "hand-in/carl/one" / os.fsdecode(name)
    odd.parent.mkdir(exist_ok=True)
    odd.write_text("x")
    (course.place / "hand-in/emmy/one/work.py").write_text("1")
    assert course.collect("one") == ["carl", "emmy"]
    assert course.collect("one") == []
    assert course.differences("one") == []
    (row,) = (row for row in course.rows("one") if row.student == "carl")
    assert row.problems == () if len(name) == 255 else "cannot be written" in row.problems[0]
    json.dumps(row.problems, ensure_ascii=False).encode()


def test_folders_without_files_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        (tmp_path / f"a{number}").mkdir()
    monkeypatch.setattr(places, "FILES", 5)
    with folder(tmp_path) as descriptor:
        taken = take(descriptor, deep=2)
    assert (taken.folders, [*taken.problems]) == (5, ["a5"])


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    own, trap = tmp_path / "own", tmp_path / "trap"
    own.mkdir()
    trap.mkdir()
    (trap / "kept").write_text("kept")
    (own / "page").symlink_to(trap / "kept")
    (own / "feedback").symlink_to(trap)
    with folder(own) as base:
        put({"page": b"new"}, [], base, os.getuid())
        with pytest.raises(OSError, match="feedback"):
            put({"page": b"new"}, ["feedback"], base, os.getuid())
        put({"page": b"new"}, ["a", "b"], base, os.getuid())
    assert (own / "page").read_text() == (own / "a/b/page").read_text() == "new"
    assert (trap / "kept").read_text() == "kept"
    with folder(own) as base:
        remove(["feedback/kept", "a/b/page", "a/b", "none/x"], base)
    assert [path.name for path in trap.iterdir()] == ["kept"]
    assert [path.name for path in (own / "a").rglob("*")] == ["b"]


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()


@pytest.mark.usefixtures("berlin")
def test_a_deadline_is_in_local_time_and_one_that_no_clock_shows_is_refused() -> None:
    assert deadline("2026-12-01T12:00") == "2026-12-01T11:00:00+00:00"
    assert deadline("2026-10-25T02:30") == "2026-10-25T00:30:00+00:00"  # the first of two
    assert deadline("2026-12-01T12:00Z") == "2026-12-01T12:00:00+00:00"
    assert deadline("") == ""
    none = ("noon", "9999-12-31T23:59", "0001-01-01T00:00")
    for wrong, words in (("2026-03-29T02:30", "exist"), *((each, "is no time") for each in none)):
        with pytest.raises(AssignmentError, match=words):
            deadline(wrong)


def test_a_name_that_differs_in_case_or_normal_form_is_meant_if_there_is_one() -> None:
    assert matching("ä.ipynb", ["Ä.IPYNB", "b"]) == "Ä.IPYNB"
    assert matching("ä.ipynb", ["A\u0308.ipynb"]) == "A\u0308.ipynb"
    assert matching("a.ipynb", ["A.ipynb", "a.ipynb"]) == "a.ipynb"
    assert matching("a.ipynb", ["A.ipynb", "a.IPYNB"]) is None
