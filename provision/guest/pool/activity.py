"""When a session has been idle too long, or has lasted too long, and the notice about it.

Time is the machine's own, which neither a clock that is set nor a machine that slept moves: who
opens the lid after lunch finds the session as it was.
"""

import contextlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BUSY_SHARE = 0.2  # of one processor; an idle server and its kernels use about a hundredth


@dataclass
class Watch:
    """Watches one session.

    Args:
        timeout: seconds without use after which it should end; 0: never.
        expiry: seconds after which it should end in any case; 0: never.
    """

    timeout: float
    expiry: float
    _seen: float = field(default_factory=time.monotonic)
    _mark: Any = None
    _used: tuple[float, float] | None = None

    def overdue(self, mark: Any, *, age: float, processor: float | None = None) -> str | None:
        """Why the session should end now, in words for its student; None while it may go on.

        Args:
            mark: whatever changes when the session is used.
            age: seconds since the session began.
            processor: seconds of processor time that it has used; None: not known.
        """
        now = time.monotonic()
        if mark != self._mark or self._computes(now, processor):
            self._mark, self._seen = mark, now
        if self.timeout and now - self._seen > self.timeout:
            return f"after {_words(self.timeout)} without use"
        if self.expiry and age > self.expiry:
            return f"after {_words(self.expiry)}, as every session does"
        return None

    def _computes(self, now: float, processor: float | None) -> bool:
        """Whether it works on something, though nobody looks."""
        before, self._used = self._used, None if processor is None else (now, processor)
        if before is None or processor is None or now <= before[0]:
            return False
        return (processor - before[1]) / (now - before[0]) > BUSY_SHARE


def processor_time(uid: int) -> float | None:
    """Seconds of processor time of a user's sessions, or None where the kernel does not tell."""
    file = Path(f"/sys/fs/cgroup/user.slice/user-{uid}.slice/cpu.stat")
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(file.read_text().split()[1]) / 1e6
    return None


def age_of(pid: int) -> float:
    """Seconds since a process began; 0 when it is gone."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        up = float(Path("/proc/uptime").read_text().split()[0])
        return up - int(stat[19]) / os.sysconf("SC_CLK_TCK")
    return 0.0


class Notices:
    """What students should read when they come back, one file each.

    Args:
        directory: readable by the hub's user only.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, student: str, reason: str) -> None:
        """Note that a session has ended by itself, and why."""
        self._put(
            student,
            f"Your last session ended by itself at {time.strftime('%H:%M')}, {reason}. "
            "What was saved is in your files; notebooks save themselves every 30 seconds.",
        )

    def note_stop(self, student: str, by: str) -> None:
        """Note that somebody has stopped a session.

        Args:
            student: whose it was.
            by: who did it.
        """
        self._put(
            student,
            f"Your last session was stopped at {time.strftime('%H:%M')} by {by}. Your files are "
            "safe: what was saved is there, and notebooks save themselves every 30 seconds. What "
            "cells had defined is gone: run them again.",
        )

    def read(self, student: str) -> str:
        """The notice for a student; empty when there is none."""
        with contextlib.suppress(OSError):
            return (self._directory / student).read_text()
        return ""

    def _put(self, student: str, text: str) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._directory / student).write_text(text)

    def clear(self, student: str) -> None:
        """Forget a notice."""
        (self._directory / student).unlink(missing_ok=True)


def _words(seconds: float) -> str:
    for unit, size in (("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count} {unit}{'s' * (count != 1)}"
    return f"{seconds:g} seconds"
