"""How far a renewal has come, and the way back: one file, and a timer until it is confirmed.

What is put beside the old one goes received -> unpacked -> proven -> switching -> switched ->
healthy. Until it is healthy a timer and the next boot lead back, whatever becomes of the host that
asked for it; what was proven stays so, for the next try.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from . import incoming
from .answers import SHOWN, State
from .leases import sessions
from .program import RefusedError, free_memory, later, read, run, write

LATE = "it went back by itself: the confirmation came too late"


@dataclass(frozen=True)
class Journal:
    """The file and the timer.

    Args:
        place: the directory of what is renewed.
        timer: the unit that leads back.
    """

    place: Path
    timer: str

    def state(self) -> State:
        """How far it has come."""
        return State.read(read(self.place / "state.json"))

    def write(self, state: State) -> None:
        """Replace the state as a whole."""
        empty = asdict(State())
        said = {key: value for key, value in asdict(state).items() if value != empty[key]}
        write(self.place / "state.json", json.dumps(said))

    def advance(self, step: str, **more: Any) -> None:
        """Note that it has come so far."""
        self.write(replace(self.state(), step=step, since=int(time.time()), **more))

    def require(self, *steps: str) -> State:
        """Refuse unless it is at one of these steps."""
        state = self.state()
        if state.step not in steps:
            raise RefusedError(f"it is {state.step}: {state.reason or 'begin anew'}")
        return state

    def wait(self, seconds: float, *words: str) -> None:
        """Carry out a verb in so many seconds, unless it is confirmed before."""
        later(self.timer, seconds, *words)

    def rest(self) -> None:
        """Wait no longer."""
        run("systemctl", "stop", f"{self.timer}.timer", check=False)


@dataclass(frozen=True)
class Renewal:
    """The journal of what is put beside the old one, and shown in its place.

    Args:
        journal: of it.
        current: tells what is shown; None: nothing.
        lead_back: shows what was shown before.
        room: a place of the file system that it is put on.
    """

    journal: Journal
    current: Callable[[], str | None]
    lead_back: Callable[[str | None], None]
    room: Path

    @property
    def incoming(self) -> Path:
        """Where what is transferred comes to."""
        return self.journal.place / "incoming"

    def facts(self) -> dict[str, Any]:
        """What ``answers.Beside`` has, of the file system that the new one is put on."""
        room = os.statvfs(self.room)
        return {
            "current": self.current(),
            "free": room.f_bavail * room.f_frsize,
            "memory": free_memory(),
            "sessions": sessions(),
            "state": self.journal.state(),
            "incoming": incoming.sizes(self.incoming),
        }

    def receive(self, name: str, digest: str, size: str) -> None:
        """Check a transferred archive and note it as received.

        Raises:
            RefusedError: it is not whole.
        """
        incoming.check(self.incoming / digest, digest, int(size))
        self.came(name, "received", digest=digest)

    def came(self, name: str, step: str, **more: Any) -> None:
        """Note that this one has come so far; of another one nothing stays noted."""
        if self.journal.state().name != name:
            self.journal.write(State(name))
        self.journal.advance(step, **more)

    @contextlib.contextmanager
    def switching(self, name: str, seconds: str) -> Iterator[State]:
        """Around the switch to a proven one, which lasts so many seconds unless it is confirmed.

        Raises:
            RefusedError: it has not been proven.
        """
        state = self.journal.state()
        if state.name != name or state.step != "proven":
            raise RefusedError(f"{name} has not been proven")
        self.came(name, "switching", old=self.current())
        self.journal.wait(float(seconds), "recover")
        yield state
        self.came(name, "switched")

    def confirm(self, name: str) -> None:
        """What is shown stays.

        Raises:
            RefusedError: it is not shown any more.
        """
        if self.journal.state().step not in ("switched", "healthy") or self.current() != name:
            raise RefusedError(LATE)
        self.came(name, "healthy")
        self.journal.rest()

    def back(self, reason: str) -> str | None:
        """Show the old one again, for good; tells which one failed, unless it was confirmed."""
        state = self.journal.state()
        if state.name is None or state.step == "healthy":
            return None
        if state.step in SHOWN:
            self.lead_back(state.old)
        self.journal.write(State(failed=state.name, reason=reason))
        self.journal.rest()
        return state.name

    def recover(self, lead_back: Callable[[str | None], None] | None = None) -> None:
        """Show the old one after a renewal that nobody confirmed; the new one stays proven.

        Args:
            lead_back: how, where nothing of it runs yet.
        """
        state = self.journal.state()
        if state.step in SHOWN:
            (lead_back or self.lead_back)(state.old)
            self.journal.write(replace(state, step="proven"))
