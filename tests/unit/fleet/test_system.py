"""When a system may be started anew, and what a class list becomes."""

import datetime

import pytest

from provision.errors import UsageError
from provision.fleet.classroom import with_passwords
from provision.fleet.system import check_window, in_window


@pytest.mark.parametrize(
    ("window", "now", "inside"),
    [
        (None, "12:00", True),
        ("02:00-05:00", "02:00", True),
        ("02:00-05:00", "05:00", False),
        ("22:00-05:00", "23:30", True),
        ("22:00-05:00", "04:59", True),
        ("22:00-05:00", "12:00", False),
    ],
)
def test_the_window(window: str | None, now: str, inside: bool) -> None:
    assert in_window(window, datetime.time.fromisoformat(now)) is inside


@pytest.mark.parametrize("text", ["2:00-5:00", "25:00-05:00", "night"])
def test_no_window(text: str) -> None:
    with pytest.raises(UsageError, match="no window"):
        check_window(text)


def test_passwords_are_made_where_there_are_none() -> None:
    text, made = with_passwords('emmy,"noether, 1882"\n\nsofya\nada,\n')
    assert list(made) == ["sofya", "ada"]
    lines = text.splitlines()
    assert lines[0] == 'emmy,"noether, 1882"'
    assert lines[2] == f"sofya,{made['sofya']}"
    assert with_passwords(text) == (text, {})
