"""The jail for Python programs: run source or a program, get a report."""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Report:
    """What came of a run.

    Args:
        verdict: the first line of safeexec's report, ``OK`` when all was well.
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
    code: str, jail: Path, *, stdin: bytes = b"", arguments: tuple[str, ...] = (), **limits: int
) -> Report:
    """Run Python source in a jail, from any program; it starts a process of its own.

    Args:
        code: the source.
        jail: a directory that `rootfs.build` made.
        stdin: what it can read.
        arguments: its ``sys.argv[1:]``.
        limits: safeexec's numeric options: ``cpu``, ``clock``, ``mem``, ``nproc``, ``fsize``…

    Raises:
        ValueError: a limit is unknown or out of range.
    """
    return run(
        ("/bin/python3", "-u", "-S", "-c", code, *arguments),
        jail,
        stdin=stdin,
        env_vars="PY",
        **limits,
    )


def run(
    command: tuple[str, ...],
    jail: Path,
    *,
    stdin: bytes = b"",
    env_vars: str | None = None,
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
        done = subprocess.run(argv, input=stdin, capture_output=True, check=False)
        lines = report.read().splitlines()
    if len(lines) != 4:
        raise ValueError(done.stderr.decode(errors="replace").strip())
    numbers = [line.split(": ")[1].split()[0] for line in lines[1:]]
    return Report(
        verdict=lines[0],
        elapsed=int(numbers[0]),
        memory=int(numbers[1]),
        cpu=float(numbers[2]),
        stdout=done.stdout,
        stderr=done.stderr,
    )
