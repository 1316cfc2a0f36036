"""The jail for Python programs: run source or a program, get a report."""

import contextlib
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_OUTPUT = 1 << 20
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Report:
    """What came of a run.

    Args:
        verdict: the first line of safeexec's report, ``OK`` when all was well;
            ``Output Limit Exceeded`` too when it printed more than it may.
        elapsed: wall seconds, whole.
        memory: kbytes at the peak.
        cpu: processor seconds outside the kernel.
        stdout, stderr: what it printed.
    """

    verdict: str
    elapsed: int
    memory: int
    cpu: float
    stdout: bytes
    stderr: bytes

    @property
    def ok(self) -> bool:
        """Whether the program ended with status 0 within its limits."""
        return self.verdict == "OK"


def run_python(
    code: str,
    jail: Path,
    *,
    stdin: bytes = b"",
    arguments: tuple[str, ...] = (),
    output: int = _OUTPUT,
    **limits: int,
) -> Report:
    """Run Python source in a jail, from any program; it starts a process of its own.

    Args:
        code: the source.
        jail: a directory that `rootfs.build` made.
        stdin: what it can read.
        arguments: its ``sys.argv[1:]``.
        output: bytes kept of each of stdout and stderr; the rest is dropped.
        limits: safeexec's numeric options: ``cpu``, ``clock``, ``mem``, ``nproc``, ``fsize``…

    Raises:
        ValueError: a limit is unknown or out of range.
    """
    return run(
        ("/bin/python3", "-u", "-S", "-c", code, *arguments),
        jail,
        stdin=stdin,
        env_vars="PY",
        output=output,
        **limits,
    )


def run(
    command: tuple[str, ...],
    jail: Path,
    *,
    stdin: bytes = b"",
    env_vars: str | None = None,
    output: int = _OUTPUT,
    **limits: int,
) -> Report:
    """Run a program of a jail; see `run_python`.

    Raises:
        ValueError: an option is not as safeexec has it.
    """
    with tempfile.NamedTemporaryFile("r", prefix="jail-report-") as report:
        argv = [sys.executable, "-m", "provision.guest.jail.safeexec", "--chroot_dir", str(jail)]
        argv += ["--report_file", report.name]
        if env_vars is not None:
            argv += ["--env_vars", env_vars]
        for name, value in limits.items():
            argv += [f"--{name}", str(value)]
        argv += ["--exec", *command]
        with (
            subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ) as process,
            ThreadPoolExecutor(2) as pool,
        ):
            assert process.stdin and process.stdout and process.stderr  # noqa: S101 (pipes)
            out = pool.submit(_beginning, process.stdout, output)
            err = pool.submit(_beginning, process.stderr, output)
            with contextlib.suppress(BrokenPipeError), process.stdin:
                process.stdin.write(stdin)
        (stdout, more), (stderr, yet_more) = out.result(), err.result()
        lines = report.read().splitlines()
    if len(lines) != 4:
        raise ValueError(stderr.decode(errors="replace").strip())
    numbers = [line.split(": ")[1].split()[0] for line in lines[1:]]
    return Report(
        verdict="Output Limit Exceeded" if more or yet_more else lines[0],
        elapsed=int(numbers[0]),
        memory=int(numbers[1]),
        cpu=float(numbers[2]),
        stdout=stdout,
        stderr=stderr,
    )


def _beginning(stream: IO[bytes], most: int) -> tuple[bytes, bool]:
    """What fits of a stream that is read to its end, and whether there was more."""
    kept, more = stream.read(most), False
    while stream.read(_CHUNK):
        more = True
    return kept, more
