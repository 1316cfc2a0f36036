"""Waiting for what comes about by itself. The standard library only: this goes to guests too."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(
    ask: Callable[[], T],
    seconds: float,
    *,
    pause: float = 0.2,
    despite: type[Exception] | tuple[type[Exception], ...] = (),
) -> T:
    """Ask until the answer is true, once at least.

    Args:
        ask: what to ask.
        seconds: how long to go on.
        pause: seconds between an answer and the next question.
        despite: errors that mean "not yet"; the last is raised when the time is over.

    Returns:
        The last answer; a false one says that the time is over.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            if (answer := ask()) or time.monotonic() > deadline:
                return answer
        except despite:
            if time.monotonic() > deadline:
                raise
        time.sleep(pause)
