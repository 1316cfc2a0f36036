import time
from pathlib import Path

import pytest

from provision.guest.pool.activity import Notices, Watch


class Clock:
    """The machine's own time, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def test_a_session_that_nobody_uses_is_overdue(clock: Clock) -> None:
    watch = Watch(timeout=3600, expiry=0)
    assert watch.overdue("mark", age=0) is None
    clock.now += 3599
    assert watch.overdue("mark", age=0) is None
    clock.now += 2
    assert watch.overdue("mark", age=0) == "after 1 hour without use"


def test_use_begins_the_time_anew(clock: Clock) -> None:
    watch = Watch(timeout=60, expiry=0)
    for step in range(10):
        clock.now += 50
        assert watch.overdue(step, age=0) is None


def test_a_busy_processor_is_use(clock: Clock) -> None:
    watch = Watch(timeout=60, expiry=0)
    for step in range(10):
        clock.now += 50
        assert watch.overdue("same", age=0, processor=25.0 * step) is None
    for step in range(2):
        clock.now += 50
        last = watch.overdue("same", age=0, processor=225 + 0.1 * step)
    assert last == "after 1 minute without use"


def test_every_session_ends_some_day(clock: Clock) -> None:
    watch = Watch(timeout=0, expiry=7200)
    assert watch.overdue(1, age=7199) is None
    assert watch.overdue(2, age=7201) == "after 2 hours, as every session does"


def test_never_is_never(clock: Clock) -> None:
    watch = Watch(timeout=0, expiry=0)
    clock.now += 10**9
    assert watch.overdue("mark", age=10**9) is None


def test_a_notice_is_for_one_student_until_it_is_cleared(tmp_path: Path) -> None:
    notices = Notices(tmp_path / "notices")
    assert notices.read("alice") == ""
    notices.write("alice", "after 1 hour without use")
    assert "after 1 hour without use" in notices.read("alice")
    assert notices.read("bob") == ""
    notices.clear("alice")
    notices.clear("alice")
    assert notices.read("alice") == ""


def test_who_was_stopped_reads_by_whom_and_that_files_are_safe(tmp_path: Path) -> None:
    notices = Notices(tmp_path / "notices")
    notices.note_stop("alice", "noether")
    assert "by noether" in notices.read("alice")
    assert "files are safe" in notices.read("alice")
