"""Workers that have imported what they need: one process, from which root has each forked.

Whoever asks, which only root can, sends a course's number and the worker's line, and keeps the
connection: its end is the worker's. One that has done its work rests for a while, for the course's
next request, with the boxes that it has begun. Where nobody answers a worker is started the usual
way.
"""

import contextlib
import gc
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from provision.guest.assignments.boxes import WORKER_MEMORY
from provision.guest.assignments.forks import REST, Fork, Forks
from provision.guest.nursery.fresh import directory
from provision.guest.sandbox import cgroups
from provision.guest.sandbox.limits import Verdict

SOCKET = Path("/run/notebook-workers.socket")
IDLE = 900.0  # seconds after which what nobody needs goes, with its 100 MiB
BEGIN = 60.0  # seconds until it answers, if it must be begun first
TIDY = 10.0  # seconds for one that rests to leave nothing
PATIENCE = 1.0  # seconds for a request, whose sender is root
PYTHON = "/opt/notebook/bin/python"
_STARTED = (PYTHON, "-c", "from provision.guest.assignments.worker import main; main()")
ENVIRONMENT = {
    **{"PATH": "/opt/notebook/bin:/usr/bin:/bin", "PYTHONPATH": "/opt/nbgrader"},
    **{"LANG": "C.UTF-8", "HOME": "/nonexistent", "PYTHONWARNINGS": "ignore"},
}
_LONGEST, _LISTENS = 4096, 3  # bytes of a request; as systemd has it
_EMPTY = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'


def without_rights(owner: int) -> dict[str, Any]:
    """How a process is started that reads what students wrote: as nobody but a course's number.

    Args:
        owner: the course's user and group.
    """
    whose = {"user": owner, "group": owner, "extra_groups": []}
    return {"env": ENVIRONMENT, "cwd": "/", **whose}


class WorkerProcess:
    """A worker that runs, and the line to it.

    Args:
        owner: the course's user and group, which it has.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, owner: int) -> None:
        theirs_in, writing = os.pipe2(os.O_CLOEXEC)
        reading, theirs_out = os.pipe2(os.O_CLOEXEC)
        self.writing = os.fdopen(writing, "w", encoding="utf-8")
        self.reading = os.fdopen(reading, encoding="utf-8")
        self._life: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._life = _ask(owner, theirs_in, theirs_out)
            if not self._life:
                self._process = subprocess.Popen(
                    _STARTED,
                    stdin=theirs_in,
                    stdout=theirs_out,
                    stderr=subprocess.DEVNULL,
                    **without_rights(owner),
                )
        finally:
            os.close(theirs_in)
            os.close(theirs_out)

    def kill(self) -> None:
        """End it now; from any thread."""
        if self._life:
            with contextlib.suppress(OSError):
                self._life.shutdown(socket.SHUT_WR)
        if self._process:
            self._process.kill()

    def close(self, *, rests: bool = False) -> None:
        """Let go of all that is of it.

        Args:
            rests: whether it has answered all, and may go on with the course's next request.
        """
        with contextlib.suppress(OSError):  # what it did not read
            self.writing.close()
        if rests and self._life:
            with contextlib.suppress(OSError):
                self._life.send(REST)
        self.kill()
        if self._life:
            with contextlib.suppress(OSError):
                while self._life.recv(_LONGEST):  # until it is nobody's
                    pass
            self._life.close()
        if self._process:
            self._process.wait()
        self.reading.close()


def _ask(owner: int, *line: int) -> socket.socket | None:
    """The connection by which a worker lives; None: nobody answers."""
    life = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    life.settimeout(BEGIN)
    with contextlib.suppress(OSError):
        life.connect(str(SOCKET))
        socket.send_fds(life, [json.dumps({"owner": owner}).encode()], list(line))
        if life.recv(_LONGEST):
            return life
    life.close()
    return None


def main() -> None:
    """Serve the socket that the system's manager listens on."""
    from provision.guest.assignments import worker  # noqa: PLC0415 - nbgrader, which root has not

    listener = socket.socket(fileno=_LISTENS)
    delegated, numbers = cgroups.delegation(), itertools.count()
    # No worker takes alone what all may.
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = cgroups.memory(min(WORKER_MEMORY, machine // 2))
    begun_in = directory(sys.prefix)
    worker.prepare()
    # Of which templates and questions are kept.
    first = worker.Assignment("first", {"first": _EMPTY}, {})
    first.grade("nobody", {"first": _EMPTY}, {}, {}, before={})
    first.close()
    gc.collect()
    gc.freeze()

    def take() -> Fork | None:
        if directory(sys.prefix) != begun_in and not forks.busy():
            # The notebook was renewed: who asks is answered by the next one of us.
            raise EOFError
        life, _ = listener.accept()
        life.settimeout(PATIENCE)
        line: list[int] = []
        try:
            message, line, *_ = socket.recv_fds(life, _LONGEST, 2)
            owner = int(json.loads(message)["owner"])
            life.send(b"begun")
            if woken := _wake(forks, owner, life, line):
                return woken
            group = None
            if delegated:
                # All that it begins is counted as one, and ends with it.
                group = delegated.group(f"worker-{next(numbers)}", limits)
            return _fork(owner, life, line, group)
        except (OSError, ValueError, LookupError, TypeError):  # it has gone, or is not ours
            life.close()
            return None
        finally:
            for each in line:
                os.close(each)

    forks = Forks(listener, take, IDLE)
    forks.serve()


@dataclass
class _Worker(Fork):
    """One of a course's: its number, the socket by which it is given a line, its cgroup."""

    owner: int = field(kw_only=True)
    control: socket.socket = field(kw_only=True)
    group: cgroups.Cgroup | None = field(kw_only=True)

    def end(self, verdict: Verdict) -> None:
        """Kill it; one that rests tidies up first."""
        resting = self.rests
        if not resting:
            super().end(verdict)
        self.control.close()
        self.rests = False
        self.until = time.monotonic() + TIDY if resting else self.until

    def bury(self) -> None:
        super().bury()
        self.control.close()
        if self.group:
            with contextlib.suppress(OSError):  # what does not end yet goes with the service
                self.group.remove()


def _wake(forks: Forks, owner: int, life: socket.socket, line: list[int]) -> Fork | None:
    """Give the line to one of the course's that rests; None: there is none."""
    for each in forks.resting():
        if isinstance(each, _Worker) and each.owner == owner:
            try:
                socket.send_fds(each.control, [b"next"], line)
            except OSError:  # it has just ended, or reads nothing
                each.end(each.verdict)
            else:
                each.wake(life)
                return each
    return None


def _fork(owner: int, life: socket.socket, line: list[int], group: cgroups.Cgroup | None) -> Fork:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)  # no worker holds us up
    try:
        pid = os.fork()
    except OSError:
        for each in (ours, theirs):
            each.close()
        if group:
            group.remove()
        raise
    if not pid:
        _be(owner, theirs, group)
    theirs.close()
    socket.send_fds(ours, [b"next"], line)
    return _Worker(pid, life, owner=owner, control=ours, group=group)


def _be(owner: int, control: socket.socket, group: cgroups.Cgroup | None) -> NoReturn:
    """Be a course's worker."""
    from provision.guest.assignments import worker  # noqa: PLC0415

    status = 1
    try:
        if group:
            group.add(os.getpid())
        os.setsid()
        os.setgroups([])
        os.setresgid(owner, owner, owner)
        os.setresuid(owner, owner, owner)
        nothing = os.open(os.devnull, os.O_WRONLY)
        for number in (1, 2):  # what it says is of students' notebooks
            os.dup2(nothing, number)
        os.dup2(control.fileno(), 3, inheritable=False)
        os.closerange(4, os.sysconf("SC_OPEN_MAX"))
        given = socket.socket(fileno=3)
        with worker.keeping_boxes():
            while line := socket.recv_fds(given, _LONGEST, 2)[1]:
                for each in line:  # no box has them
                    os.set_inheritable(each, False)
                reading, writing = line
                with os.fdopen(reading) as questions, os.fdopen(writing, "w") as answers:
                    worker.serve(questions, answers)
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
