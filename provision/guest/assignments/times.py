"""The times that teachers type, as no clock can misread them."""

import datetime

from provision.guest.assignments.errors import AssignmentError
from provision.guest.words import say

# Beyond them no clock can reckon, and then no exam of any course begins or ends.
MOST_MINUTES, YEARS = 31 * 24 * 60, range(2000, 3000)


def deadline(due: str) -> str:
    """A deadline in the machine's time as one that nobody can misread.

    Args:
        due: as 2026-12-01T12:00; empty: none.

    Raises:
        AssignmentError: it is no time, or a clock is turned forward over it.
    """
    if not due:
        return ""
    try:
        told = datetime.datetime.fromisoformat(due)
        if told.year not in YEARS:
            raise ValueError(due)
    except ValueError:
        raise AssignmentError(
            say("{text} is no time; write it as 2026-12-01T12:00", text=repr(due))
        ) from None
    sure = told.astimezone(datetime.UTC)
    if told.tzinfo is None and sure.astimezone().replace(tzinfo=None) != told:
        raise AssignmentError(
            say("{time} does not exist: clocks are turned forward then", time=due)
        )
    return sure.isoformat(timespec="seconds")


def now() -> datetime.datetime:
    """The time, of which a zone is told."""
    return datetime.datetime.now(datetime.UTC)
