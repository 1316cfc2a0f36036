"""The command line in a process that has begun already: a fork of one that has imported it all.

A call that starts anew imports for a second of a processor before it begins, and tests of a fleet
call it hundreds of times. What begins, is interrupted or killed in other tests starts anew.
"""

import atexit
import functools
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path

import pytest

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["imported", __name__])


def appliance(
    words: Sequence[str], env: Mapping[str, str], stdin: str, timeout: float
) -> tuple[int, str, str]:
    """Call ``appliance``.

    Args:
        words: its arguments.
        env: its environment.
        stdin: what it reads.
        timeout: seconds.

    Returns:
        Its exit code, what it printed, and what it complained.

    Raises:
        subprocess.TimeoutExpired: it goes on.
    """
    _begin()
    with tempfile.TemporaryDirectory() as place:
        streams = [Path(place, name) for name in ("in", "out", "err")]
        for stream, text in zip(streams, (stdin, "", ""), strict=True):
            stream.write_text(text, newline="")
        process = _forks.Process(target=_run, args=(list(words), dict(env), streams))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(["appliance", *words], timeout)
        return process.exitcode, streams[1].read_text(), streams[2].read_text()


@functools.cache
def _begin() -> None:
    """Have the process that is forked; older Pythons do not tell it where modules are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        forkserver.ensure_running()


def _run(words: list[str], env: dict[str, str], streams: list[Path]) -> None:
    from provision import cli

    os.environ.clear()
    os.environ.update(env)
    for number, stream in enumerate(streams):
        opened = os.open(stream, os.O_RDWR | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 (it ends with this process)
    try:
        cli.main(words)
    finally:
        atexit._run_exitfuncs()
