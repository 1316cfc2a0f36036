"""safeexec's command line and report, on a box: run one program under limits.

The options, their defaults and the report are those of github.com/cemc/safeexec, so that a
site switches by changing a path. What differs is what was wrong there: a program that someone
killed is not said to have met a time limit, memory that was used is reported and its limit is
named, and no root is needed.
"""

import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from provision.errors import ApplianceError
from provision.guest.sandbox.box import Box, Channels, run
from provision.guest.sandbox.limits import Ended, Limits, Verdict

KIB = 1024
PYTHON = {"PYTHONIOENCODING": "utf-8", "PYTHONHOME": "/", "PYTHONPATH": "/static"}
# Private memory that a process may reserve beyond what it may use: interpreters reserve freely.
_RESERVE = 1 << 30


class SafeexecOptions(NamedTuple):
    """safeexec's options; names, units and defaults are its own.

    Args:
        cpu, clock: seconds of processor and wall time.
        mem: kbytes of memory in all.
        core, stack, fsize: kbytes of a core dump, of the stack, and of each written file.
        nproc: processes beside the first.
        nfile: open files.
        niceness: 10 to 19.
        uidplus, gid: the user number is uidplus plus our process id.
        report_fd, report_file: where the report goes; stderr without either.
        chroot_dir: the root file system; None: this host's own, read-only.
        exec_dir: where the program starts.
        env_vars: ``A=B`` lines, or ``PY``; None: our own environment.
        share_newnet: stay in our network.
        silent: no report.
        command: the program and its arguments.
    """

    cpu: int = 10
    clock: int = 60
    mem: int = 32768
    core: int = 0
    stack: int = 8192
    fsize: int = 0
    nproc: int = 0
    nfile: int = 512
    niceness: int = 16
    uidplus: int = 10000
    gid: int = 1000
    report_fd: int = -1
    report_file: str | None = None
    chroot_dir: str | None = None
    exec_dir: str | None = None
    env_vars: str | None = None
    share_newnet: bool = False
    silent: bool = False
    command: tuple[str, ...] = ()


NUMBERS = (
    *("cpu", "mem", "uidplus", "core", "nproc", "fsize", "stack", "clock", "nfile", "gid"),
    *("niceness", "report_fd"),
)
TEXTS = ("report_file", "chroot_dir", "exec_dir", "env_vars")
FLAGS = ("share_newnet", "silent")

# As scanf reads one: what follows is not looked at. A negative one, which the original took for a
# number near 2**32, is none.
_NUMBER = re.compile(r"\s*\+?([0-9]{1,4000})")
_LARGEST = (1 << 31) - 1

_HELP = {
    "uidplus": ("number", "+ pid = uid"),
    "gid": ("group id", "group id"),
    "cpu": ("seconds", "seconds cpu time"),
    "clock": ("seconds", "seconds wall time"),
    "mem": ("kbytes", "kbytes total memory"),
    "core": ("kbytes", "kbytes max core dump"),
    "nproc": ("number", "processes"),
    "fsize": ("kbytes", "max kbytes written by all files"),
    "nfile": ("number", "max open file pointers"),
    "niceness": ("number", "(19=min priority, 10=max)"),
}


class UsageMistakeError(Exception):
    """The options cannot be carried out; the text is for stderr."""


def parse(words: Sequence[str]) -> SafeexecOptions:
    """Read safeexec's options, up to ``--exec``.

    Raises:
        UsageMistakeError: with the original's words.
    """
    values: dict[str, Any] = {}
    rest = iter(enumerate(words))
    for index, word in rest:
        name = word.removeprefix("--")
        if word == "--exec":
            values["command"] = tuple(words[index + 1 :])
            break
        if not word.startswith("--") or name not in (*NUMBERS, *TEXTS, *FLAGS):
            raise UsageMistakeError(f"error: Invalid option: {word}")
        if name in FLAGS:
            values[name] = True
            continue
        _, value = next(rest, (0, None))
        if value is None:
            raise UsageMistakeError("")
        if name in TEXTS:
            values[name] = value
        elif found := _NUMBER.match(value):
            values[name] = min(int(found[1]), _LARGEST)
        else:
            raise UsageMistakeError(f"error: Failed to match the numeric argument for {word}")
    profile = SafeexecOptions(**values)
    if not profile.command:
        raise UsageMistakeError("")
    _validate(profile)
    return profile


def _validate(profile: SafeexecOptions) -> None:
    many, huge = 4194304, 41943040
    rules = [
        (profile.cpu > 0, "Cpu time must be greater than zero"),
        (0 <= profile.mem < huge, f"Memory limit must be smaller than {huge}"),
        (0 <= profile.core < many, f"Core limit must be smaller than {many}"),
        (0 <= profile.stack < many, f"Stack limit must be smaller than {many}"),
        (0 <= profile.fsize < many, f"File size limit must be smaller than {many}"),
        (0 <= profile.nproc < 65536, "Number of process(es) must be smaller than 65536"),
        (profile.clock > 0, "Wall clock time must be greater than zero"),
        (profile.clock < many, f"Wall clock time must be smaller than {many}"),
        (0 <= profile.uidplus < many, f"uidplus must be smaller than {many}"),
        (0 <= profile.nfile <= 1024, "File number limit must be no larger than 1024"),
        (10 <= profile.niceness <= 19, "Niceness must be between 10 and 19"),
        (1 <= profile.gid <= 65535, "Group id must be no larger than 65535"),
    ]
    for holds, message in rules:
        if not holds:
            raise UsageMistakeError(f"error: {message}")


def usage(program: str) -> str:
    """What the options are."""
    lines = [f"\nusage: {program} <options> --exec <command>", "Available options:"]
    for name, (unit, meaning) in _HELP.items():
        default = SafeexecOptions._field_defaults[name]
        lines.append(f"  --{name:<13}<{unit}>".ljust(32) + f"Default: {default} {meaning}")
    lines += [
        "  --chroot_dir   <dir>".ljust(32) + "Default: NULL (path starting with /)",
        "  --exec_dir     <dir>".ljust(32) + "Default: NULL (relative to chroot_dir)",
        '  --env_vars     "X=Y\\nA=B", PY'.ljust(32) + "Default: inherit calling",
        "  --report_file  <filename>".ljust(32) + "Default: stderr (relative to .)",
        "  --report_fd    <int>".ljust(32) + "Default: -1 (a numbered file descriptor instead)",
        "  --share_newnet".ljust(32) + "Stay in the network of the caller",
        "Return: 0 - everything went ok; nonzero - internal errors, over-limit, etc.\n",
    ]
    return "\n".join(lines)


def environment(profile: SafeexecOptions) -> dict[str, str]:
    """The variables of the program."""
    if profile.env_vars is None:
        return dict(os.environ)
    if profile.env_vars == "PY":
        return dict(PYTHON)
    pairs = (line.partition("=") for line in profile.env_vars.split("\n") if line)
    return {name: value for name, _, value in pairs if name}


def make_box(profile: SafeexecOptions, pid: int) -> Box:
    """The box for a profile; ``pid`` gives the user its number."""
    memory = profile.mem * KIB
    return Box(
        root=Path(profile.chroot_dir or "/"),
        command=profile.command,
        limits=Limits(
            clock=profile.clock,
            cpu=profile.cpu,
            memory=memory,
            data=memory + _RESERVE,
            disk=max(profile.fsize, 64) * KIB,
            tasks=profile.nproc + 1,
            files=profile.nfile,
            file_size=profile.fsize * KIB,
            stack=profile.stack * KIB,
            core=profile.core * KIB,
            nice=profile.niceness,
        ),
        environment=environment(profile),
        directory=profile.exec_dir or "/",
        user=profile.uidplus + pid,
        group=profile.gid,
        shares_network=profile.share_newnet,
    )


def verdict(profile: SafeexecOptions, ended: Ended) -> str:
    """The first line of the report."""
    limited = {
        Verdict.CLOCK: "Time Limit Exceeded",
        Verdict.CPU: "Time Limit Exceeded",
        Verdict.MEMORY: "Memory Limit Exceeded",
        Verdict.OUTPUT: "Output Limit Exceeded",
        Verdict.DISK: "Output Limit Exceeded",
        Verdict.SETUP: "Internal Error",
    }
    if ended.verdict in limited:
        return limited[ended.verdict]
    if ended.memory > profile.mem * KIB:
        return "Memory Limit Exceeded"
    code = ended.code or 0
    if code == 128 + signal.SIGXFSZ:
        return "Output Limit Exceeded"
    if 128 < code <= 128 + 31:
        return f"Command terminated by signal ({code - 128}: {signal.Signals(code - 128).name})"
    return f"Command exited with non-zero status ({code})" if code else "OK"


def report(profile: SafeexecOptions, ended: Ended, elapsed: int) -> str:
    """The whole report, as safeexec writes it."""
    # At a time limit the original shows the limit itself, not what was measured shortly before.
    user = float(profile.cpu) if ended.verdict is Verdict.CPU else ended.user
    return (
        f"{verdict(profile, ended)}\n"
        f"elapsed time: {elapsed} seconds\n"
        f"memory usage: {ended.memory // KIB} kbytes\n"
        f"cpu usage: {user:.3f} seconds\n"
    )


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0 when the program ended well within its limits."""
    try:
        profile = parse(sys.argv[1:] if words is None else words)
    except UsageMistakeError as mistake:
        if str(mistake):
            sys.stderr.write(f"{mistake}\n")
        sys.stderr.write(usage("safeexec") + "\n")
        return 1
    try:
        with _report_to(profile) as sink:
            begun = int(time.time())
            ended = _run(profile)
            if not profile.silent:
                sink.write(report(profile, ended, int(time.time()) - begun))
            return 0 if verdict(profile, ended) == "OK" else 1
    except OSError as error:  # nowhere to report to
        sys.stderr.write(f"error: {error}\n")
        return 1


def _run(profile: SafeexecOptions) -> Ended:
    """Run the program; a box that cannot be made is told on stderr, and is an end too."""
    try:
        if profile.chroot_dir is not None and not Path(profile.chroot_dir).is_dir():
            raise NotADirectoryError(f"no directory {profile.chroot_dir}")
        return run(make_box(profile, os.getpid()), Channels(capture=False))
    except (OSError, ApplianceError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return Ended(Verdict.SETUP, None, b"", b"", 0, 0, 0, 0)


def _report_to(profile: SafeexecOptions) -> TextIO:
    if profile.report_file is not None:
        return Path(profile.report_file).open("w")
    if profile.report_fd != -1:
        return os.fdopen(profile.report_fd, "w")
    return os.fdopen(os.dup(2), "w")


if __name__ == "__main__":
    sys.exit(main())
