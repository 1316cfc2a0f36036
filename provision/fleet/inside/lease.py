"""Who changes this appliance now: lease VERB [ARGUMENT...], as root; one JSON object out.

A run has an id. It takes the lease first (``take``), each of its steps holds it, and ``release``
ends it. While it is fresh no other run begins, unless it takes over: then the next step of the
first is refused. What is done by one program at once (a new account, a restore) holds the lock
alone, which ends with its process. What the appliance itself does, by a timer or at boot, asks
nobody.
"""

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import IO, Any

from .program import RefusedError, answer, boot_id, read, try_lock, write

STATE = Path("/var/lib/appliance/run.json")
LOCK = Path("/var/lib/appliance/run.lock")
FRESH_SECONDS = 300  # after the last sign of life
WAIT_SECONDS = 20.0  # for what is done at once
RUN, TAKE_OVER, OWN = "--run=", "--take-over", "--own"
NO_ID = "a run has an id, given as --run=ID; `take` begins one"


class BusyError(RefusedError):
    """Another run is at work."""


def take(what: str, who: str, origin: str, *how: str) -> dict[str, Any]:
    """Begin a run, or go on with it after a new start; ``how`` may be ``--take-over``.

    Args:
        what: it is to do, for people.
        who: asks for it, likewise.
        origin: which process on which host; whoever knows that it is gone may take over.
        how: see above.
    """
    run = _options.run
    if not run:
        raise RefusedError(NO_ID)
    with _locking(fcntl.LOCK_EX):
        there = read(STATE)
        if there.get("run") != run and is_fresh(there) and TAKE_OVER not in how:
            return {"busy": describe(there), "origin": there.get("origin", "")}
        _write({"run": run, "what": what, "who": who, "origin": origin})
    return {}


def renew() -> dict[str, Any]:
    """The run is still at work, though between two steps."""
    with _locking(fcntl.LOCK_SH):
        there = _own(_options.run)
        _write(there)
    return {}


def release() -> dict[str, Any]:
    """The run has ended; that of another is left alone."""
    with _locking(fcntl.LOCK_EX):
        if read(STATE).get("run") == _options.run:
            STATE.unlink()
    return {}


def is_fresh(there: dict[str, Any]) -> bool:
    """Whether a run is at work: it gave a sign of life lately, or had no time to since the boot."""
    if not there.get("run"):
        return False
    then = there.get("at", 0) if there.get("boot") == boot_id() else 0
    return bool(since_boot() - then < FRESH_SECONDS)


def describe(there: dict[str, Any]) -> str:
    """What a run is, for people."""
    return f"{there.get('who', 'somebody')} is at work here: {there.get('what', 'a change')}"


def since_boot() -> float:
    """Seconds since this machine, or container, was started; no clock that anybody sets."""
    ticks = int(Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


class _Options:
    """What stands before the verb."""

    run, take_over, own = "", False, False


_options = _Options()


@contextlib.contextmanager
def guarding(held: Collection[str] = (), alone: Collection[str] = ()) -> Iterator[None]:
    """Around what a program does: take our options off the command line, and heed them.

    Args:
        held: the verbs that are steps of a run.
        alone: the verbs that are done at once, while no run is at work.
    """
    while len(sys.argv) > 1 and sys.argv[1].startswith("--"):
        word = sys.argv.pop(1)
        _options.run = word.removeprefix(RUN) if word.startswith(RUN) else _options.run
        _options.take_over |= word == TAKE_OVER
        _options.own |= word == OWN
    verb = sys.argv[1]
    with contextlib.ExitStack() as stack:
        try:
            if verb in held and not _options.own:
                stack.enter_context(_step())
            elif verb in alone and not _options.own:
                stack.enter_context(changing(verb))
        except RefusedError as error:
            busy = isinstance(error, BusyError)
            print(json.dumps({"error": str(error)} | ({"busy": True} if busy else {})))  # noqa: T201
            sys.exit(1)
        yield


@contextlib.contextmanager
def _step() -> Iterator[None]:
    """Hold the lease for one step; nobody takes over in the middle of it."""
    with _locking(fcntl.LOCK_SH):
        if not _options.run:
            there = read(STATE)
            raise BusyError(describe(there)) if is_fresh(there) else RefusedError(NO_ID)
        _write(_own(_options.run))
        yield


@contextlib.contextmanager
def changing(what: str) -> Iterator[None]:
    """Have the appliance to oneself, for a ``with`` block of what one program does at once.

    Args:
        what: is done, for whoever is refused meanwhile.

    Raises:
        BusyError: a run is at work.
    """
    with _locking(fcntl.LOCK_EX, what):
        there = read(STATE)
        if there.get("run") != (_options.run or None) and is_fresh(there):
            if not _options.take_over:
                raise BusyError(describe(there))
            STATE.unlink()
        yield


def _own(run: str) -> dict[str, Any]:
    there = read(STATE)
    if there.get("run") != run:
        by = f"; {describe(there)}" if there.get("run") else ""
        raise BusyError(f"this run has lost the appliance to another{by}")
    return there


def _write(there: dict[str, Any]) -> None:
    write(STATE, json.dumps({**there, "boot": boot_id(), "at": since_boot()}), mode=0o600)


@contextlib.contextmanager
def _locking(kind: int, verb: str = "") -> Iterator[IO[str]]:
    """Hold the lock; what is done at once is waited for, but not for ever."""
    LOCK.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with os.fdopen(os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+") as file:
        if not try_lock(file, WAIT_SECONDS, kind=kind):
            now = file.read(200).strip() or describe(read(STATE))
            raise BusyError(f"a step is still at work: {now}")
        if kind == fcntl.LOCK_EX:
            file.truncate(0)
            file.write(verb)
            file.flush()
        yield file


VERBS: dict[str, Callable[..., dict[str, Any]]] = {"take": take, "renew": renew, "release": release}


def main() -> None:
    """Carry out one verb."""
    with guarding():
        answer(VERBS)
