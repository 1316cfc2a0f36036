"""Run VBoxManage: one command at a time, unlocalised, retried while a session is locked."""

import contextlib
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from vbox.errors import InterruptedError, LockedError, PassingError, from_output

log = logging.getLogger(__name__)

DEFAULT_TIMEOUT = 120.0
STOP_SECONDS = 30.0
RETRY_SECONDS = 0.1
# Three in a hundred VBoxManage 7.2 hang for ten seconds when they end: its worker thread misses the
# word to stop, and what it has to say is not written before. A mere question is asked once more.
QUESTIONS = frozenset({"getextradata", "list", "showmediuminfo", "showvminfo"})
HANG_SECONDS = 2.0
_PERCENT = re.compile(rb"(\d{1,3})%\.{0,3}")
_BEGUN = re.compile(rb"\d{0,3}\Z")  # a number whose percent sign comes with the next chunk

Progress = Callable[[float], None]


@dataclass(frozen=True)
class VBoxManage:
    """One VBoxManage, and so one VirtualBox of one user.

    Args:
        path: the program.
        env: variables on top of ours, for example ``VBOX_USER_HOME`` and
            ``VBOX_IPC_SOCKETID``, which together select another VirtualBox service.
        patience: seconds for which a locked machine or medium is asked again.
    """

    path: Path
    env: Mapping[str, str] = field(default_factory=dict)
    patience: float = 5.0

    def run(
        self,
        *args: str,
        timeout: float | None = DEFAULT_TIMEOUT,
        on_progress: Progress | None = None,
    ) -> str:
        """Run one VBoxManage command and return its stdout.

        When time runs out or an exception (Ctrl-C) meets us, VBoxManage gets SIGINT, on which it
        cancels its task and removes what it has half made; SIGKILL would leave the service
        writing.

        Args:
            args: the command and its arguments.
            timeout: seconds; None for work as long as its data, such as a clone.
            on_progress: called with 0 to 100 while it works.

        Raises:
            LockedError: the machine or medium stayed locked for ``patience`` seconds.
            InterruptedError: time ran out, or a signal ended VBoxManage.
            VBoxError: any other failure, by its kind.
        """
        deadline = time.monotonic() + self.patience
        hurried = args[0] in QUESTIONS and (timeout is None or timeout > HANG_SECONDS)
        while True:
            try:
                return self._once(args, HANG_SECONDS if hurried else timeout, on_progress)
            except InterruptedError as error:
                if not hurried or not isinstance(error.__cause__, subprocess.TimeoutExpired):
                    raise
                hurried = False
                log.debug("no answer yet, asking again: %s", shlex.join(args))
            except (LockedError, PassingError) as error:
                again = isinstance(error, LockedError) or args[0] in QUESTIONS
                if not again or time.monotonic() > deadline:
                    raise
                log.debug("%s, asking again: %s", error, shlex.join(args))
                time.sleep(RETRY_SECONDS)

    def version(self) -> tuple[int, ...]:
        """VirtualBox's version, for example ``(7, 2, 22)``."""
        found = re.search(r"^(\d+)\.(\d+)\.(\d+)", self.run("--version"), re.MULTILINE)
        return tuple(int(part) for part in found.groups()) if found else ()

    def _once(
        self, args: tuple[str, ...], timeout: float | None, on_progress: Progress | None
    ) -> str:
        log.debug("$ VBoxManage %s", shlex.join(args))
        process = subprocess.Popen(
            [*_dies_with_us(), str(self.path), *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment(),
            start_new_session=True,  # a terminal's Ctrl-C reaches us, and VBoxManage through us
        )
        assert process.stdout and process.stderr  # noqa: S101 (both are pipes)
        out: list[bytes] = []
        err: list[bytes] = []
        readers = [
            threading.Thread(target=_follow, args=(process.stdout, out, None), daemon=True),
            threading.Thread(target=_follow, args=(process.stderr, err, on_progress), daemon=True),
        ]
        for reader in readers:
            reader.start()
        try:
            status = _wait(process, timeout)
        except BaseException as error:
            _stop(process)
            if isinstance(error, subprocess.TimeoutExpired):
                raise InterruptedError(
                    f"VBoxManage {args[0]}: stopped after {timeout:g} s"
                ) from error
            raise
        for reader in readers:
            reader.join(1)  # the service that VBoxManage started may keep its pipes open
        stderr = b"".join(err).decode(errors="surrogateescape")
        if status < 0:
            raise InterruptedError(f"VBoxManage {args[0]}: ended by {signal.Signals(-status).name}")
        if status:
            raise from_output(args, status, stderr)
        text = b"".join(out).decode(errors="surrogateescape")
        return text.replace("\r\n", "\n")  # Windows

    def _environment(self) -> dict[str, str]:
        """Ours, with English in UTF-8: under plain ``C`` a non-ASCII argument is fatal."""
        environment = {**os.environ, **self.env, "LC_ALL": "C.UTF-8"}
        environment.pop("LANGUAGE", None)
        return environment


def _dies_with_us() -> list[str]:
    """Have the kernel send SIGINT to VBoxManage should we be killed (Linux with util-linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "INT"] if setpriv else []


def _wait(process: subprocess.Popen[bytes], timeout: float | None) -> int:
    """Wait as `Popen.wait` does, which with a timeout looks but each twentieth of a second.

    Most commands are over in as much, and an appliance that is defined takes sixty of them.
    """
    waiting = threading.Thread(target=process.wait, daemon=True)
    waiting.start()
    waiting.join(timeout)
    if waiting.is_alive():
        raise subprocess.TimeoutExpired(process.args, timeout or 0.0)
    return process.returncode


def _follow(stream: IO[bytes], into: list[bytes], on_progress: Progress | None) -> None:
    begun = b""
    with contextlib.suppress(ValueError, OSError):
        while chunk := os.read(stream.fileno(), 65536):
            into.append(chunk)
            begun += chunk
            if on_progress and (percents := _PERCENT.findall(begun)):
                on_progress(float(percents[-1]))
            begun = _BEGUN.findall(begun)[0]


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Have VBoxManage cancel and clean up; kill it only when it does not."""
    with contextlib.suppress(ProcessLookupError, ValueError):  # Windows cannot send it
        process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
