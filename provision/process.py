"""Run host commands: argv lists only, output into the build log, nothing left behind."""

import contextlib
import logging
import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from provision.errors import ApplianceError, HostNotReadyError

log = logging.getLogger(__name__)

TAIL_LINES = 30
GRACE_SECONDS = 10


class CommandFailedError(ApplianceError):
    """A host command exited with a status other than 0.

    Args:
        argv: the command, shown ready to paste.
        returncode: its exit status; negative for a signal.
        tail: the last lines that it printed.
    """

    def __init__(self, argv: Sequence[str], returncode: int, tail: str) -> None:
        super().__init__(f"command failed with status {returncode}: {shlex.join(argv)}\n{tail}")
        self.argv = tuple(argv)
        self.returncode = returncode
        self.tail = tail


def require(tool: str, package: str) -> str:
    """Find a host tool, also in the sbin directories that an ordinary user's PATH lacks.

    Args:
        tool: the executable's name.
        package: the Debian package that provides it, for the hint.

    Raises:
        HostNotReadyError: it is not installed.
    """
    path = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"
    if found := shutil.which(tool, path=path):
        return found
    raise HostNotReadyError(f"{tool} is not installed", hint=f"sudo apt-get install {package}")


def run(
    argv: Sequence[str],
    *,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
    on_line: Callable[[str], None] | None = None,
) -> str:
    """Run a command to its end and return what it printed on stdout.

    The command gets its own process group, which is stopped when we are interrupted or
    time runs out; its stderr, line by line, goes to the log and to ``on_line``.

    Args:
        argv: the command and its arguments.
        stdin: bytes for its standard input; without any it reads end of file.
        env: variables on top of ours; the locale is always C.UTF-8.
        cwd: the directory to run in.
        timeout: seconds until it is stopped.
        on_line: called with each line of stderr, for progress.

    Raises:
        CommandFailedError: it exited with another status than 0, or ran out of time.
    """
    log.debug("$ %s", shlex.join(argv))
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
        cwd=cwd,
        start_new_session=True,
    )
    tail: deque[str] = deque(maxlen=TAIL_LINES)

    def follow(stream: IO[bytes]) -> None:
        for raw in stream:
            line = raw.decode(errors="replace").rstrip("\n")
            log.debug("  %s", line)
            tail.append(line)
            if on_line:
                on_line(line)

    assert process.stdout is not None and process.stderr is not None  # noqa: S101 (both are pipes)
    out: list[bytes] = []
    stdout = process.stdout
    readers = [
        threading.Thread(target=follow, args=(process.stderr,), daemon=True),
        threading.Thread(target=lambda: out.append(stdout.read()), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
                pipe.write(stdin or b"")
        returncode = process.wait(timeout)
    except BaseException as error:
        stop_group(process)
        if isinstance(error, subprocess.TimeoutExpired):
            tail.append(f"(stopped after {timeout:g} s)")
            raise CommandFailedError(argv, -signal.SIGTERM, "\n".join(tail)) from None
        raise
    for reader in readers:
        reader.join(GRACE_SECONDS)
    text = b"".join(out).decode(errors="replace")
    if returncode:
        shown = "\n".join(tail) or "\n".join(text.splitlines()[-TAIL_LINES:])
        raise CommandFailedError(argv, returncode, shown)
    return text


def stop_group(process: subprocess.Popen[bytes], *, grace: float = GRACE_SECONDS) -> None:
    """End a process that leads its own group: SIGTERM, then SIGKILL after ``grace`` seconds."""
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        return
