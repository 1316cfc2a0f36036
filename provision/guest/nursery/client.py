"""A session's side: a child of a nursery, with the face of ``subprocess.Popen``."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from provision.guest.nursery.wire import ForkRefusedError, ForkRequest, send_request

PATIENCE = 5.0
WORD_SECONDS = 1.0
UNKNOWN = 1  # exit status of a kernel whose nursery has gone


class Forked:
    """A kernel whose parent is its nursery.

    Args:
        pid: its number.
        connection: to its nursery, which tells how it ended.
    """

    stdin = stdout = stderr = None

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._connection = connection
        self._connection.setblocking(False)
        self._pidfd = os.pidfd_open(pid)
        self._until = 0.0  # when we no longer wait for its nursery's word

    def poll(self) -> int | None:
        """None while it runs, otherwise its exit status, negative if a signal ended it."""
        if self.returncode is not None:
            return self.returncode
        gone = False
        try:
            heard = _receive(self._connection)
            gone = "status" not in heard
            self.returncode = heard.get("status")
        except BlockingIOError:
            pass
        if self.returncode is None and _wait(self._pidfd, 0):
            self._until = self._until or time.monotonic() + WORD_SECONDS
            if gone or time.monotonic() > self._until:
                self.returncode = UNKNOWN
        if self.returncode is not None:
            self._connection.close()
            os.close(self._pidfd)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            TimeoutExpired: it runs on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            _wait(self._pidfd, left)
            time.sleep(0.005)  # its nursery tells how, a moment later
        return status

    def send_signal(self, number: int) -> None:
        """Signal it, and it alone, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def read_as_standard_input(self) -> None:
        """Make its end the end of our standard input, for a program that does nothing but wait."""
        os.dup2(self._connection.fileno(), 0)
        os.set_blocking(0, True)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


def fork(
    nursery: Path,
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str | None,
    stdin: int | None = None,
) -> Forked:
    """Ask a nursery for a child.

    Args:
        nursery: where it listens.
        argv: the child's command.
        env: its whole environment.
        cwd: its working directory; None: this process's.
        stdin: its standard input; None: a pipe at its end, as jupyter_client leaves it.

    Raises:
        ForkRefusedError: the nursery forks none.
        OSError: there is no nursery, or it does not answer in time.
    """
    mask = os.umask(0o077)
    os.umask(mask)
    with contextlib.ExitStack() as opened:
        connection = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        connection.settimeout(PATIENCE)
        connection.connect(str(nursery))
        if stdin is None:
            stdin, end = os.pipe()
            os.close(end)
            opened.callback(os.close, stdin)
        place = os.open(cwd or ".", os.O_PATH | os.O_DIRECTORY)
        opened.callback(os.close, place)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it says why
            send_request(
                connection, ForkRequest(tuple(argv), dict(env), mask), [stdin, 1, 2, place]
            )
        heard = _receive(connection)
        if "pid" not in heard:
            raise ForkRefusedError(str(heard.get("refused", heard or "it closed the connection")))
        return Forked(int(heard["pid"]), connection.dup())


def _receive(connection: socket.socket) -> dict[str, Any]:
    """What a nursery says; nothing once it has gone."""
    try:
        message = connection.recv(4096)
    except ConnectionResetError:
        message = b""
    return dict(json.loads(message)) if message else {}


def _wait(pidfd: int, seconds: float | None) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if seconds is None else seconds * 1000))
