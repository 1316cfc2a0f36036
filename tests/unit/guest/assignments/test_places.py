"""Hand-ins as root reads them, and what root writes where somebody else may have been before."""

import os
import time
from pathlib import Path

import pytest

from provision.guest.assignments import places
from provision.guest.assignments.course import AssignmentError, deadline, matching
from provision.guest.assignments.places import folder, put, take


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
    assert [path.name for path in trap.iterdir()] == ["kept"]


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
    for wrong, words in (("2026-03-29T02:30", "does not exist"), ("noon", "is no time")):
        with pytest.raises(AssignmentError, match=words):
            deadline(wrong)


def test_a_name_that_differs_in_case_or_normal_form_is_meant_if_there_is_one() -> None:
    assert matching("ä.ipynb", ["Ä.IPYNB", "b"]) == "Ä.IPYNB"
    assert matching("ä.ipynb", ["A\u0308.ipynb"]) == "A\u0308.ipynb"
    assert matching("a.ipynb", ["A.ipynb", "a.ipynb"]) == "a.ipynb"
    assert matching("a.ipynb", ["A.ipynb", "a.IPYNB"]) is None
