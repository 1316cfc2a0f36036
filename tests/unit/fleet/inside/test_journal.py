"""How a renewal is noted, confirmed and led back, without a guest."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from provision.fleet.inside import journal
from provision.fleet.inside.answers import SageFacts, State
from provision.fleet.inside.journal import Journal, Renewal
from provision.fleet.inside.program import RefusedError


class Shown:
    """What is shown, and who waits to lead back."""

    def __init__(self, place: Path) -> None:
        self.now: str | None = "old"
        self.waiting: list[str] = []
        self.renewal = Renewal(Journal(place, "back"), lambda: self.now, self.show, place)

    def show(self, name: str | None) -> None:
        self.now = name

    @property
    def state(self) -> State:
        return self.renewal.journal.state()

    def switched(self) -> None:
        self.renewal.came("new", "proven", digest="d")
        with self.renewal.switching("new", "300"):
            self.show("new")


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shown:
    made = Shown(tmp_path)
    monkeypatch.setattr(journal, "later", lambda unit, *_: made.waiting.append(unit))
    monkeypatch.setattr(journal, "run", lambda *_, **__: made.waiting.clear())
    return made


def test_confirmed_it_stays(shown: Shown) -> None:
    shown.switched()
    assert (shown.state.step, shown.state.old, shown.waiting) == ("switched", "old", ["back"])
    shown.renewal.confirm("new")
    assert (shown.now, shown.state.step, shown.waiting) == ("new", "healthy", [])
    assert shown.renewal.back("too late") is None
    assert shown.now == "new"


def test_unconfirmed_it_goes_back_and_stays_proven(shown: Shown) -> None:
    shown.switched()
    shown.renewal.recover()
    assert (shown.now, shown.state.step, shown.state.digest) == ("old", "proven", "d")
    with pytest.raises(RefusedError, match="too late"):
        shown.renewal.confirm("new")


def test_a_power_cut_in_the_middle_of_the_switch(shown: Shown) -> None:
    shown.renewal.came("new", "proven")
    with pytest.raises(KeyboardInterrupt), shown.renewal.switching("new", "300"):
        shown.show("new")
        raise KeyboardInterrupt
    assert shown.state.step == "switching"
    shown.renewal.recover()
    assert (shown.now, shown.state.step) == ("old", "proven")


def test_what_failed_goes_back_for_good(shown: Shown) -> None:
    shown.switched()
    assert shown.renewal.back("no answer") == "new"
    assert (shown.now, shown.state) == ("old", State(failed="new", reason="no answer"))


def test_only_what_was_proven_is_shown(shown: Shown) -> None:
    shown.renewal.came("new", "unpacked")
    for name in ("new", "other"):
        with (
            pytest.raises(RefusedError, match="not been proven"),
            shown.renewal.switching(name, "1"),
        ):
            shown.show(name)
    assert shown.now == "old"


def test_of_another_one_nothing_stays_noted(shown: Shown) -> None:
    shown.renewal.came("one", "proven", digest="d", migrates=True)
    shown.renewal.came("two", "received")
    assert (shown.state.digest, shown.state.migrates) == (None, False)


@pytest.mark.parametrize("text", ["", "{", '{"unknown": 1}'])
def test_a_damaged_file_and_another_releases(shown: Shown, text: str) -> None:
    (shown.renewal.journal.place / "state.json").write_text(text)
    assert shown.state == State()


def test_an_earlier_releases_file_is_understood(shown: Shown) -> None:
    old = {"version": "10.5", "step": "healthy", "old": "10.4", "since": 1}
    (shown.renewal.journal.place / "state.json").write_text(json.dumps(old))
    assert shown.state == State("10.5", "healthy", 1, old="10.4")


def test_an_answer_comes_as_it_was_given() -> None:
    facts = SageFacts(free=1, memory=2, state=State("10.5"), current=None, versions=["10.4"])
    assert SageFacts.read(json.loads(json.dumps(facts, default=asdict))) == facts
