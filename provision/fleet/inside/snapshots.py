"""Which snapshot is meant by a name or a time.

A time without a zone is the appliance's own. It means the last snapshot that is not after it, and
reaches to the end of what it names: a day to midnight, a minute to its last second.
"""

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass

from .program import RefusedError

LATEST = "latest"
SHOWN = "%Y-%m-%d %H:%M:%S %z"
SHORTEST = 4
TIME = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)"
    r"(?:[T ](?P<clock>\d\d:\d\d(?P<seconds>:\d\d(?P<fraction>\.\d{1,9})?)?)"
    r" ?(?P<zone>Z|UTC|[+-]\d\d:?\d\d)?)?"
)
FORMS = (
    "a time is written as in 2026-11-20, 2026-11-20 15:00 or 2026-11-20T15:00:30+01:00, and a"
    f" snapshot by {SHORTEST} letters or more of its name"
)


@dataclass(frozen=True)
class Snapshot:
    """What can be restored from.

    Args:
        identity: restic's name, 64 hexadecimal digits.
        time: when it was begun, with its zone.
    """

    identity: str
    time: datetime.datetime

    @property
    def name(self) -> str:
        """The short name."""
        return self.identity[:8]

    @property
    def said(self) -> str:
        """Name and time, in the appliance's zone."""
        return f"snapshot {self.name} of {self.time.astimezone():{SHOWN}}"


def choose(wanted: str, known: Sequence[Snapshot]) -> Snapshot:
    """The snapshot that a name or a time means.

    Args:
        wanted: ``latest``, a time, or a name, which may be shortened while it is the only one.
        known: all there are.

    Raises:
        RefusedError: it cannot be read, means none or several.
    """
    if not known:
        raise RefusedError("there is no backup yet")
    ordered = sorted(known, key=lambda each: each.time)
    if wanted == LATEST:
        return ordered[-1]
    if TIME.fullmatch(wanted):
        until = end_of(wanted)
        before = [each for each in ordered if each.time < until]
        if not before:
            raise RefusedError(f"no backup is as old as {wanted}; the first is {ordered[0].said}")
        return before[-1]
    if not re.fullmatch(rf"[0-9a-f]{{{SHORTEST},64}}", wanted):
        raise RefusedError(f"{wanted!r} is no time and no snapshot: {FORMS}")
    named = [each for each in ordered if each.identity.startswith(wanted)]
    if len(named) != 1:
        told = f"means {' and '.join(each.said for each in named)}" if named else "is no snapshot"
        raise RefusedError(f"{wanted!r} {told}")
    return named[0]


def end_of(wanted: str) -> datetime.datetime:
    """The first moment after what a time names.

    Args:
        wanted: as ``TIME`` has it.

    Raises:
        RefusedError: there is no such day or hour, or two where the clock was put back.
    """
    found = TIME.fullmatch(wanted)
    assert found is not None  # noqa: S101 (the caller has looked)
    zone = (found["zone"] or "").replace("UTC", "Z")
    try:
        begin = datetime.datetime.fromisoformat(f"{found['day']}T{found['clock'] or '00:00'}{zone}")
    except ValueError as error:
        raise RefusedError(f"{wanted!r} is no time: {error}") from None
    try:
        if not found["clock"]:
            return (begin + datetime.timedelta(days=1)).astimezone()
        if not zone and begin.astimezone().utcoffset() != _later(begin).utcoffset():
            both = f"{begin.astimezone():%z} or {_later(begin):%z}"
            raise RefusedError(f"{wanted!r} is when the clock is changed: add the zone, {both}")
        step = {"minutes": 1} if not found["seconds"] else {"seconds": 1}
        step = {"microseconds": 1} if found["fraction"] else step
        return begin.astimezone() + datetime.timedelta(**step)
    except (OverflowError, OSError, ValueError) as error:  # which, differs between Pythons
        raise RefusedError(f"{wanted!r} is no time: {error}") from None


def _later(time: datetime.datetime) -> datetime.datetime:
    return time.replace(fold=1).astimezone()
