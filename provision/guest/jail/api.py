"""The jail for Python programs: run source or a program, get a report."""

import contextlib
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from provision.errors import ApplianceError

PROGRAM_BYTES = 1 << 20
ARGUMENT_BYTES = 1 << 16
_OUTPUT = 1 << 20
_CHUNK = 1 << 16
# What the kernel takes as one argument ends at 128 KiB, and all together have an end too.
_DIRECT_BYTES = ARGUMENT_BYTES - 4096
# Takes a larger program from the front of its input, byte for byte, and leaves the rest there.
_LOADER = """\
def main():
    import os, sys
    left, parts, names = int(sys.argv.pop(1)), [], globals()
    while left and (part := os.read(0, min(left, 65536))):
        parts.append(part)
        left -= len(part)
    del names["main"]
    try:
        exec(compile(b"".join(parts), "<program>", "exec", dont_inherit=True), names)
    except SystemExit:
        raise
    except BaseException as error:
        # As if it had been run by itself: without the frame of this loader.
        trace = error.__traceback__.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        raise SystemExit(1) from None
main()
"""


class ProgramError(ApplianceError):
    """A program or argument that no Python could be given, whatever the limits."""


@dataclass(frozen=True)
class RunReport:
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
) -> RunReport:
    """Run Python source in a jail, from any program; it starts a process of its own.

    Args:
        code: the source, at most `PROGRAM_BYTES` in UTF-8.
        jail: a directory that `rootfs.build` made.
        stdin: what it can read.
        arguments: its ``sys.argv[1:]``, at most `ARGUMENT_BYTES` together.
        output: bytes kept of each of stdout and stderr; the rest is dropped.
        limits: safeexec's numeric options: ``cpu``, ``clock``, ``mem``, ``nproc``, ``fsize``…

    Raises:
        ProgramError: the source or an argument is too large, has a NUL in it, or a lone surrogate,
            which is no text. Nothing was run.
        ValueError: a limit is unknown or out of range.
    """
    source = _encode("the program", code, PROGRAM_BYTES)
    if sum(len(_encode("an argument", word, ARGUMENT_BYTES)) for word in arguments) > (
        ARGUMENT_BYTES
    ):
        raise ProgramError(f"the arguments have more than {ARGUMENT_BYTES} bytes together")
    python = ("/bin/python3", "-u", "-S", "-c")
    if len(source) <= _DIRECT_BYTES:
        command = (*python, code, *arguments)
    else:
        command = (*python, _LOADER, str(len(source)), *arguments)
        stdin = source + stdin
    return run(
        command,
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
) -> RunReport:
    """Run a program of a jail; see `run_python`.

    Args:
        command: the program's path in the jail, and its arguments; each has at most
            `ARGUMENT_BYTES`, and all together twice as many.

    Raises:
        ProgramError: a word of the command is too large, or no text that a program can be given.
        ValueError: an option is not as safeexec has it.
    """
    words = [_encode("an argument", word, ARGUMENT_BYTES) for word in command]
    if sum(map(len, words)) > 2 * ARGUMENT_BYTES:
        raise ProgramError(f"the command has more than {2 * ARGUMENT_BYTES} bytes")
    with tempfile.NamedTemporaryFile("r", prefix="jail-report-") as report:
        argv: list[str | bytes] = [
            sys.executable,
            "-m",
            "provision.guest.jail.safeexec",
            "--chroot_dir",
            str(jail),
        ]
        argv += ["--report_file", report.name]
        if env_vars is not None:
            argv += ["--env_vars", env_vars]
        for name, value in limits.items():
            argv += [f"--{name}", str(value)]
        argv += ["--exec", *words]
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
    return RunReport(
        verdict="Output Limit Exceeded" if more or yet_more else lines[0],
        elapsed=int(numbers[0]),
        memory=int(numbers[1]),
        cpu=float(numbers[2]),
        stdout=stdout,
        stderr=stderr,
    )


def _encode(what: str, text: str, most: int) -> bytes:
    """Text as a program is given it, whatever this process's locale is."""
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        number = ord(text[error.start])
        raise ProgramError(
            f"{what} has a lone surrogate, U+{number:04X}, at {error.start}: it is no text"
        ) from None
    if b"\0" in data:
        raise ProgramError(f"{what} has a NUL at {text.index(chr(0))}")
    if len(data) > most:
        raise ProgramError(f"{what} has {len(data)} bytes, more than {most}")
    return data


def _beginning(stream: IO[bytes], most: int) -> tuple[bytes, bool]:
    """What fits of a stream that is read to its end, and whether there was more."""
    kept, more = stream.read(most), False
    while stream.read(_CHUNK):
        more = True
    return kept, more
