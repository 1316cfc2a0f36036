import datetime
import os
from pathlib import Path

import pytest

from provision.guest.pool import notes
from provision.guest.pool.exams import Exam

NOON = datetime.datetime(2026, 12, 1, 12, tzinfo=datetime.UTC)
UNTIL = NOON + datetime.timedelta(minutes=90)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setattr(notes, "keep", lambda path, text, **_: path.write_text(text))
    path = tmp_path / "exams.json"
    resting = Exam("algebra", "<b>test", UNTIL, paused=NOON)
    notes.write({"emmy": Exam("algebra", "test", UNTIL), "carl": resting}, os.getgid(), path)
    return path


def test_who_is_paused_reads_since_when_and_what_happens(place: Path) -> None:
    at = NOON.astimezone().strftime("%H:%M")
    said = notes.pause_of("carl", place)
    assert f"The exam <b>test has been paused for you since {at}." in said
    assert "What you have saved is kept, and the break is added to your time." in said
    page = notes.note("carl", place)
    assert f'id="{notes.PAUSED}"' in page
    assert "&lt;b&gt;test" in page


def test_others_read_until_when_or_nothing(place: Path) -> None:
    assert notes.pause_of("emmy", place) == ""
    at = UNTIL.astimezone().strftime("%H:%M")
    assert notes.note("emmy", place).startswith(f"The exam test goes on, for you until {at}.")
    assert notes.note("noether", place) == ""


def test_without_the_service_nobody_reads_anything(tmp_path: Path) -> None:
    assert notes.note("carl", tmp_path / "missing.json") == ""
    (tmp_path / "half.json").write_text('{"carl": {')
    assert notes.note("carl", tmp_path / "half.json") == ""


def test_what_is_as_it_was_is_not_written_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes, "keep", lambda *_, **__: pytest.fail("written again"))
    resting = Exam("algebra", "<b>test", UNTIL, paused=NOON)
    notes.write({"emmy": Exam("algebra", "test", UNTIL), "carl": resting}, os.getgid(), place)
