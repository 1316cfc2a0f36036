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
        CommandFailedError: it exited with another status than 0, ran out of time, or left a
            process behind that still writes to its stdout, so that what it printed is not known.
        Exception: whatever ``on_line`` raised, once the command has been stopped.
    """
    log.debug("$ %s", shlex.join(argv))
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(env),
        cwd=cwd,
        start_new_session=True,
    )
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    failed: list[Exception] = []

    def follow(stream: IO[bytes]) -> None:
        for raw in stream:  # to its end in any case: a full pipe would stop the command
            line = raw.decode(errors="replace").rstrip("\n")
            log.debug("  %s", line)
            tail.append(line)
            if on_line and not failed:
                try:
                    on_line(line)
                except Exception as error:
                    failed.append(error)
                    process.terminate()

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
    if failed:
        stop_group(process)
        raise failed[0]
    text = b"".join(out).decode(errors="replace")
    if not returncode and not out:
        stop_group(process)
        tail.append("(it ended, but a process that it left behind kept its output open)")
        raise CommandFailedError(argv, returncode, "\n".join(tail))
    if returncode:
        shown = "\n".join(tail) or "\n".join(text.splitlines()[-TAIL_LINES:])
        raise CommandFailedError(argv, returncode, shown)
    return text


def feed(
    argv: Sequence[str],
    write: Callable[[IO[bytes]], None],
    *,
    env: Mapping[str, str] | None = None,
) -> None:
    """Write to a command's standard input and wait for its end.

    Whatever it complains about goes to a file in memory, so that neither side ever waits for the
    other, and a full disk keeps nothing of it back.

    Args:
        argv: the command and its arguments.
        write: writes all there is; a command that reads no further ends it.
        env: variables on top of ours; the locale is always C.UTF-8.

    Raises:
        CommandFailedError: it exited with another status than 0.
        Exception: whatever ``write`` raised, once the command has been stopped.
    """
    log.debug("$ %s", shlex.join(argv))
    with open(os.memfd_create("told"), "w+b") as told:  # noqa: PTH123 (it has no path)
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=told,
            stderr=told,
            env=_environment(env),
            start_new_session=True,
        )
        assert process.stdin is not None  # noqa: S101 (a pipe was asked for)
        try:
            with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
                write(pipe)
            returncode = process.wait()
        except BaseException:
            stop_group(process)
            raise
        told.seek(0)
        lines = told.read().decode(errors="replace").splitlines()
    for line in lines:
        log.debug("  %s", line)
    if returncode:
        raise CommandFailedError(argv, returncode, "\n".join(lines[-TAIL_LINES:]))


def _environment(env: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}


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
