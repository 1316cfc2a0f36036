"""However an upgrade ends, no snapshot of it is left in the way of what comes next."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from provision.errors import HypervisorError
from provision.fleet import system
from provision.fleet.inventory import Host
from provision.fleet.remote import ApplianceBusyError, StepError
from provision.fleet.system import LostError
from provision.fleet.upgrade import WentBackError
from provision.machine.ssh import NoAnswerError

HOST = Host("a", "127.0.0.1", 22, "sageadm", Path("/k"), "http://127.0.0.1:1")


@dataclass
class Snapshot:
    done: list[str] = field(default_factory=list)
    broken: bool = False

    def take(self) -> None:
        self.done.append("take")

    def back(self) -> None:
        self.done.append("back")
        if self.broken:
            raise HypervisorError("VirtualBox refuses")

    def start(self) -> None:
        self.done.append("start")

    def drop(self) -> None:
        self.done.append("drop")


@pytest.fixture
def snapshot(monkeypatch: pytest.MonkeyPatch) -> Snapshot:
    made = Snapshot()
    monkeypatch.setattr(system, "_fallback", lambda host: made)
    monkeypatch.setattr(system, "healthy", lambda url, patience: None)
    return made


def _upgrade(error: BaseException | None) -> None:
    with system._fallen_back(HOST, lambda step, detail: None):
        if error:
            raise error


@pytest.mark.parametrize(
    "error",
    [
        *(ZeroDivisionError(), KeyError("stores"), KeyboardInterrupt(), SystemExit(1)),
        *(WentBackError("x"), NoAnswerError("x"), StepError("x"), HypervisorError("x")),
    ],
)
def test_whatever_goes_wrong_the_snapshot_goes(snapshot: Snapshot, error: BaseException) -> None:
    with pytest.raises(type(error)):
        _upgrade(error)
    assert snapshot.done == ["take", "drop"]


def test_what_goes_well_leaves_none(snapshot: Snapshot) -> None:
    _upgrade(None)
    assert snapshot.done == ["take", "drop"]


def test_what_is_lost_goes_back(snapshot: Snapshot) -> None:
    with pytest.raises(WentBackError, match="root disk is as it was"):
        _upgrade(LostError("gone"))
    assert snapshot.done == ["take", "back", "start", "drop"]


def test_what_cannot_go_back_is_left_to_look_at(snapshot: Snapshot) -> None:
    snapshot.broken = True
    with pytest.raises(HypervisorError):
        _upgrade(LostError("gone"))
    assert snapshot.done == ["take", "back"]


def test_the_snapshot_of_who_took_over_stays(snapshot: Snapshot) -> None:
    with pytest.raises(ApplianceBusyError):
        _upgrade(ApplianceBusyError("another"))
    assert snapshot.done == ["take"]
