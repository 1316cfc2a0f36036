"""Who is erased is on no roll of a learning platform any more; the others stay."""

import json
from pathlib import Path

import pytest

from provision.fleet.inside import person
from provision.guest.pool.rolls import FILE, enroll, names


def test_who_is_erased_is_on_no_roll(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(person, "students", lambda: tmp_path)
    assert person._leave_rolls("lti-a") is None
    for course, role in (("algebra", "members"), ("other", "teachers")):
        enroll(tmp_path / ".courses", course, "a", {role: ["lti-a", "lti-b"]}, whole=True)
    place = tmp_path / ".courses" / FILE
    assert person._leave_rolls("lti-a") == {"path": str(place)}
    assert "lti-a" not in place.read_text()
    assert names(tmp_path / ".courses", "algebra", "a") == {"lti-b"}
    assert json.loads(place.read_text())["other"]["a"]["teachers"] == ["lti-b"]
    assert person._leave_rolls("lti-a") is None
