"""Workers that have imported what they need: one process, from which root has each forked.

Whoever asks, which only root can, sends a course's number and the worker's line, and keeps the
connection: its end is the worker's. Where nobody answers a worker is started the usual way.
"""

import contextlib
import gc
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from provision.guest.assignments.forks import Fork, Forks
from provision.guest.nursery.fresh import directory

SOCKET = Path("/run/notebook-workers.socket")
IDLE = 900.0  # seconds after which what nobody needs goes, with its 100 MiB
BEGIN = 60.0  # seconds until it answers, if it must be begun first
PATIENCE = 5.0  # seconds for a request, whose sender is root
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

    def close(self) -> None:
        """End it, and let go of all that is of it."""
        self.kill()
        if self._life:
            with contextlib.suppress(OSError):
                while self._life.recv(_LONGEST):  # until it is no more
                    pass
            self._life.close()
        if self._process:
            self._process.wait()
        self.reading.close()
        with contextlib.suppress(OSError):  # what it did not read
            self.writing.close()


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
    begun_in = directory(sys.prefix)
    worker.prepare()
    with tempfile.TemporaryDirectory() as scratch:  # of which templates and questions are kept
        first = worker.Assignment("first", {"first": _EMPTY}, {}, Path(scratch))
        first.grade("nobody", {"first": _EMPTY}, {}, {}, before={})
    gc.collect()
    gc.freeze()

    def take() -> Fork | None:
        if directory(sys.prefix) != begun_in and not forks.any():
            # The notebook was renewed: who asks is answered by the next one of us.
            raise EOFError
        life, _ = listener.accept()
        life.settimeout(PATIENCE)
        try:
            message, descriptors, *_ = socket.recv_fds(life, _LONGEST, 2)
            owner = int(json.loads(message)["owner"])
        except (OSError, ValueError):  # it has gone
            life.close()
            return None
        if not (pid := os.fork()):
            _be(worker.main, owner, descriptors)
        for each in descriptors:
            os.close(each)
        with contextlib.suppress(OSError):  # it has gone
            life.send(b"begun")
        return Fork(pid, life)

    forks = Forks(listener, take, IDLE)
    forks.serve()


def _be(work: Any, owner: int, line: list[int]) -> NoReturn:
    """Be a course's worker."""
    status = 1
    try:
        os.setsid()
        os.setgroups([])
        os.setresgid(owner, owner, owner)
        os.setresuid(owner, owner, owner)
        nothing = os.open(os.devnull, os.O_WRONLY)  # what it says is of students' notebooks
        for number, descriptor in enumerate((*line, nothing)):
            os.dup2(descriptor, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        work()
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
