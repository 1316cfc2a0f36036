"""Children of a process that has begun what they need: who asks for one ends it by letting go.

Each has a socket to who asked: when the other end is closed the child is killed, unless a word
came before, by which it may rest for the next one. When it has ended the other end reads how.
"""

import math
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from provision.guest.sandbox.limits import Verdict

REST = b"rest"  # the word
REST_SECONDS, MOST_RESTING = 300.0, 2  # each may have a language in memory


@dataclass
class Fork:
    """One that runs.

    Args:
        pid: of its first process, with which all others end.
        life: the socket to who asked.
        until: when it is ended, by the monotonic clock.
        cpu: seconds of processor time after which the kernel ends it.
        rests: whether nobody has it now.
    """

    pid: int
    life: socket.socket
    until: float = math.inf
    cpu: float = math.inf
    rests: bool = False
    verdict: Verdict = Verdict.EXITED
    ended: int = field(init=False)

    def __post_init__(self) -> None:
        self.ended = os.pidfd_open(self.pid)

    @property
    def descriptors(self) -> tuple[int, int]:
        """By which is seen that it has ended, and that it shall; while it rests that is -1."""
        return self.ended, self.life.fileno()

    def end(self, verdict: Verdict) -> None:
        """Kill it."""
        self.verdict, self.until, self.rests = verdict, math.inf, False
        signal.pidfd_send_signal(self.ended, signal.SIGKILL)

    def rest(self) -> None:
        """Let go of who asked; it is ended if nobody comes for a while."""
        self.life.close()
        self.rests, self.until = True, time.monotonic() + REST_SECONDS

    def wake(self, life: socket.socket) -> None:
        """Be somebody's again."""
        self.life, self.rests, self.until = life, False, math.inf

    def bury(self) -> None:
        """Say how it ended, and let go of it."""
        _, status, used = os.wait4(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        used_up = code == 128 + signal.SIGKILL and used.ru_utime + used.ru_stime >= self.cpu - 1
        if used_up or code == 128 + signal.SIGXCPU:
            self.verdict = Verdict.CPU
        with suppress(OSError):
            self.life.send(f"{self.verdict.value}, status {code % 256}".encode())
        self.life.close()
        os.close(self.ended)


class Forks:
    """Those that run.

    Args:
        source: can be read when somebody asks.
        take: forks one for who asks; None: there is none. ``EOFError``: nobody will ask any more.
        idle: seconds after which it is over when nobody asks and none runs.
    """

    def __init__(
        self, source: socket.socket, take: Callable[[], Fork | None], idle: float = math.inf
    ) -> None:
        self._source, self._take, self._idle = source, take, idle
        self._running: dict[int, Fork] = {}  # by each of their descriptors
        self._poller = select.poll()
        self._poller.register(source, select.POLLIN)

    def serve(self) -> None:
        """Until nobody asks any more."""
        over = time.monotonic() + self._idle
        while True:
            soonest = min((each.until for each in self._running.values()), default=over)
            wait = None if soonest == math.inf else max(0.0, soonest - time.monotonic()) * 1000
            for descriptor, _ in self._poller.poll(wait):
                if descriptor != self._source.fileno():
                    self._look(descriptor)
                    continue
                try:
                    born = self._take()
                except EOFError:
                    return
                self._add(born)
            now = time.monotonic()
            for fork in [each for each in self._running.values() if each.until <= now]:
                fork.end(Verdict.CLOCK)
            if self._running:
                over = now + self._idle
            elif now >= over:
                return

    def busy(self) -> bool:
        """Whether somebody has one."""
        return any(not each.rests for each in self._running.values())

    def resting(self) -> list[Fork]:
        """Those that nobody has; one that is woken is taken again."""
        return [each for each in self._running.values() if each.rests]

    def _add(self, born: Fork | None) -> None:
        for descriptor in born.descriptors if born else ():
            if descriptor not in self._running:
                self._poller.register(descriptor, select.POLLIN)
            self._running[descriptor] = born  # type: ignore[assignment]  # it is one

    def _look(self, descriptor: int) -> None:
        if not (fork := self._running.get(descriptor)):
            return  # it was buried in this round
        if descriptor == fork.ended:
            for each in fork.descriptors:
                self._forget(each)
            fork.bury()
            return
        try:
            word = fork.life.recv(len(REST), socket.MSG_DONTWAIT)
        except OSError:
            word = b""
        self._forget(descriptor)
        if word == REST:
            fork.rest()
            for older in sorted(self.resting(), key=lambda found: found.until)[:-MOST_RESTING]:
                older.end(older.verdict)
        else:  # nobody waits for it any more
            fork.end(fork.verdict)

    def _forget(self, descriptor: int) -> None:
        if self._running.pop(descriptor, None):
            self._poller.unregister(descriptor)
