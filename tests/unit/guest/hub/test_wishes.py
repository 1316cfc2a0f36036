import json
from pathlib import Path

import pytest

from provision.guest.hub.wishes import Wishes, parse


def test_limits_are_kept_and_taken_away(tmp_path: Path) -> None:
    wishes = Wishes(tmp_path)
    wishes.limit("emmy", {"memory": "2G", "cpu": "50", "disk": ""})
    assert wishes.limits() == {"emmy": {"memory": 2 << 30, "cpu": 50}}
    wishes.limit("emmy", {"memory": "", "cpu": " ", "disk": ""})
    assert wishes.limits() == {}


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("memory", "2"),
        ("memory", "-1G"),
        ("memory", "1M"),
        ("cpu", "2G"),
        ("cpu", "0"),
        ("disk", "x"),
    ],
)
def test_nonsense_is_refused(kind: str, word: str) -> None:
    with pytest.raises(ValueError, match=kind):
        parse(kind, word)


def test_root_takes_only_what_is_sound(tmp_path: Path) -> None:
    wishes = Wishes(tmp_path)
    written = {"a": {"memory": "1; rm"}, "b": {"memory": 1 << 60}, "c": 5, "d": {"cpu": 70, "x": 1}}
    (tmp_path / "limits.json").write_text(json.dumps(written))
    assert wishes.limits() == {"d": {"cpu": 70}}
    (tmp_path / "limits.json").write_text("{")
    assert wishes.limits() == {}


def test_a_message_is_shown_for_an_hour(tmp_path: Path) -> None:
    wishes = Wishes(tmp_path)
    wishes.tell("emmy", "Hello <all>")
    assert wishes.messages() == {"emmy": "Hello <all>"}
    (tmp_path / "messages.json").write_text(json.dumps({"emmy": {"text": "old", "time": 1}}))
    assert wishes.messages() == {}
    wishes.tell("emmy", "")
    assert json.loads((tmp_path / "messages.json").read_text()) == {}
