import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from provision.errors import GuestError
from provision.fleet.inventory import Host
from provision.fleet.many import Pace, RunRecord, Tell, run_on
from provision.progress import Silent, note, reporting, step

HOSTS = [Host(str(n), "h", 22, "u", Path("/k"), "") for n in range(6)]


def failing(*names: str) -> Any:
    def work(host: Host, tell: Tell) -> Mapping[str, Any]:
        tell("try", "")
        if host.name in names:
            raise GuestError("broken")
        return {"after": "2"}

    return work


def results(pace: Pace, *names: str, record: RunRecord | None = None) -> list[str]:
    return [row.result for row in run_on(HOSTS, failing(*names), pace, record)]


def test_one_failure_is_one_row() -> None:
    assert results(Pace(2), "3") == ["ok"] * 3 + ["failed"] + ["ok"] * 2


def test_a_failing_canary_ends_the_run() -> None:
    assert results(Pace(1, canary=2), "0") == ["failed"] + ["skipped"] * 5


def test_an_end_after_so_many_failures() -> None:
    assert results(Pace(1, most_failures=2), "0", "1", "2") == ["failed"] * 2 + ["skipped"] * 4


def test_no_more_at_once_than_asked() -> None:
    running, most, lock = 0, 0, threading.Lock()
    gate = threading.Barrier(2)

    def work(host: Host, tell: Tell) -> Mapping[str, Any]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        gate.wait(5)
        with lock:
            running -= 1
        return {}

    assert all(row.result == "ok" for row in run_on(HOSTS, work, Pace(2)))
    assert most == 2


def test_a_surprise_is_one_hosts() -> None:
    def work(host: Host, tell: Tell) -> Mapping[str, Any]:
        raise ZeroDivisionError

    assert {row.result for row in run_on(HOSTS, work, Pace(3))} == {"failed"}


def test_a_run_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    task = {"upgrade": "sage"}
    results(Pace(2), "4", record=RunRecord.new(task, HOSTS))
    asked: list[str] = []

    def work(host: Host, tell: Tell) -> Mapping[str, Any]:
        asked.append(host.name)
        return {}

    rows = run_on(HOSTS, work, Pace(2), RunRecord.last(task))
    assert asked == ["4"]
    assert {row.result for row in rows} == {"ok"}


def test_what_is_to_be_read_is_shown_and_steps_are_the_rows() -> None:
    class Recorder(Silent):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def start(self, title: str, depth: int) -> None:
            self.seen.append(title)

        def note(self, message: str) -> None:
            self.seen.append(message)

    def work(host: Host, tell: Tell) -> Mapping[str, Any]:
        with step("pack"):
            note(f"a wheel of {host.name} is yanked")
        return {}

    recorder = Recorder()
    with reporting(recorder):
        run_on(HOSTS, work, Pace(2))
    assert sorted(recorder.seen) == [f"a wheel of {each.name} is yanked" for each in HOSTS]
