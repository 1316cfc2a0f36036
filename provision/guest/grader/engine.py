"""Engines: run a task's tar somewhere that the task cannot leave, and bring back its outputs."""

import contextlib
import dataclasses
import os
import shutil
import signal
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from provision.errors import UsageError
from provision.guest.sandbox import box, gate
from provision.guest.sandbox.cgroups import Delegation, delegation
from provision.guest.sandbox.image import WORK
from provision.guest.sandbox.limits import Ended, Limits, Verdict

FINISHED, FAILED, TIMEOUT = "finished", "failed", "timeout"
OUTPUTS = ("output", "test_output", "stdout", "stderr")

_PROGRAM = "tmc-run"
_BEGINNING = 200  # bytes of it that tell what it is
# The first line feed says that the box is complete; `run-task.sh` says the rest.
_UNPACK_AND_RUN = "printf '\\n'\n" + (Path(box.__file__).parent / "run-task.sh").read_text()
_NOTHING_TO_START = {
    b"missing": "tmc-run is missing",
    b"dangling": "tmc-run is a link that leads nowhere",
    b"no-file": "tmc-run is no file",
    b"closed": "tmc-run is not executable",
}
_NOT_STARTED = b"\0not started\0"
_NOT_EXECUTABLE, _NOT_FOUND, _LAST_SIGNAL = 126, 127, 64


@dataclass(frozen=True)
class Result:
    """What came of a task.

    Args:
        status: ``finished`` (exit code 0), ``timeout`` or ``failed``.
        exit_code: of tmc-run, 128 + N when signal N killed it; None when there was none.
        output, test_output, stdout, stderr: cut to the limit; bytes that are no UTF-8 are
            replaced.
        reason: why it did not finish, for a person; empty when it did.
        seconds, cpu: wall and processor seconds.
        memory: bytes at the peak.
    """

    status: str
    exit_code: int | None
    output: str = ""
    test_output: str = ""
    stdout: str = ""
    stderr: str = ""
    reason: str = ""
    seconds: float = 0
    cpu: float = 0
    memory: int = 0

    def asdict(self) -> dict[str, Any]:
        """The result as JSON's types."""
        return dataclasses.asdict(self)


class Engine(Protocol):
    """A way to run a task."""

    name: str

    def run(self, archive: Path, image: str, limits: Limits, *, name: str) -> Result:
        """Run ``tmc-run`` of a tar to its end; blocking, from any thread.

        Args:
            archive: the uploaded tar; it is only read.
            image: the name of the root file system.
            limits: what the task may use.
            name: unique among running tasks.

        Raises:
            UsageError: there is no such image.
            OSError: this host is out of files, processes or memory; the task may be tried again.
        """

    def images(self) -> list[str]:
        """The images that a task may name."""

    def status(self) -> dict[str, str]:
        """How each kind of limit is kept on this host, for `doctor` and the status page."""


class Bubblewrap:
    """The default engine: a bubblewrap box on a read-only root.

    Args:
        roots: a directory with one mounted (or unpacked) root file system for each image.
        delegated: the cgroup for boxes; None: look for one.
        way_out: opens the port inside each box that leads to a filtering proxy; None: no network.
    """

    name = "bubblewrap"

    def __init__(
        self,
        roots: Path,
        delegated: Delegation | None = None,
        way_out: gate.Gate | None = None,
    ) -> None:
        self.roots, self.way_out = roots, way_out
        self.delegated = delegated or delegation()
        box.sweep(roots)

    def run(self, archive: Path, image: str, limits: Limits, *, name: str) -> Result:
        """Run a task in a box; see `Engine.run`."""
        if image not in self.images():
            raise UsageError(f"no image {image!r}", hint=f"there are: {', '.join(self.images())}")
        cage = box.Box(
            root=self.roots / image,
            command=("/bin/sh", "-c", _UNPACK_AND_RUN),
            limits=limits,
            environment={
                **box.ENVIRONMENT,
                "HOME": WORK,
                **(gate.variables() if self.way_out else {}),
            },
            directory=WORK,
        )
        with archive.open("rb") as feed, Held(self.way_out) as held:
            channels = box.Channels(feed=feed, on_first_output=held.take)
            ended = box.run(cage, channels, name=name, delegated=self.delegated)
            held.check(ended)
            return judge(ended, held.outputs(limits.output), full=held.is_full())

    def images(self) -> list[str]:
        """The names below ``roots``."""
        if not self.roots.is_dir():
            return []
        return sorted(p.name for p in self.roots.iterdir() if (p / "bin/sh").exists())

    def status(self) -> dict[str, str]:
        """See `Engine.status`."""
        grouped = self.delegated is not None
        watched = "rlimits and a look every 25 ms: no cgroup v2 is delegated to this service"
        return {
            "bubblewrap": shutil.which("bwrap") or "missing: apt-get install bubblewrap",
            "memory": "cgroup v2" if grouped else watched,
            "tasks": "cgroup v2 and rlimit" if grouped else "rlimit in the box's user namespace",
            "cpu": "cgroup v2 and rlimit" if grouped else watched,
            "disk": "size of the box's memory file system",
            "system calls": "seccomp",
            "network": "a filtering proxy" if self.way_out else "none",
        }


class Held:
    """What we hold of a box while it runs: its directory, and the door to the proxy.

    Args:
        way_out: opens the door; None: there is none.
        tap: for a kernel in the box, see `gate.Gate.open`.
    """

    def __init__(self, way_out: gate.Gate | None, *, tap: bool = False) -> None:
        self._way_out, self._tap = way_out, tap
        self._stack = contextlib.ExitStack()
        self._problem: OSError | None = None
        self.work: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def take(self, first: int) -> None:
        """Take hold of a box that is complete, before its command goes on.

        The directory stays readable through the descriptor after the box has gone, when nothing
        can change it any more.
        """
        try:
            flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
            self.work = os.open(f"/proc/{first}/root{WORK}", flags)
            self._stack.callback(os.close, self.work)
            if self._way_out:
                self._way_out.open(first, tap=self._tap)
                self._stack.callback(self._way_out.close, first)
        except OSError as error:
            self._problem = error

    def check(self, ended: Ended) -> None:
        """Raise what went wrong, unless the box ended first."""
        if self._problem and ended.verdict is Verdict.EXITED:
            raise self._problem

    def outputs(self, most: int) -> dict[str, bytes]:
        """The output files; see `read_outputs`."""
        return {} if self.work is None else read_outputs(self.work, most)

    def is_full(self) -> bool:
        """Whether the box's memory file system has no byte left."""
        return self.work is not None and os.fstatvfs(self.work).f_bfree == 0


def judge(ended: Ended, files: dict[str, bytes], *, full: bool = False) -> Result:
    """Turn the end of a box that ran the script above into a task's result.

    Args:
        ended: how the box ended.
        files: what `read_outputs` found.
        full: whether there was no room left for outputs.
    """
    started = ended.stdout.startswith(b"\n")
    printed, errors = ended.stdout[1:] if started else b"", ended.stderr
    status, code, reason = FAILED, ended.code, ""
    if ended.verdict in (Verdict.CLOCK, Verdict.CPU):
        status, code, reason = TIMEOUT, None, ended.verdict.value
    elif ended.verdict is not Verdict.EXITED:
        code, reason = None, ended.verdict.value
    elif ended.stdout in _NOTHING_TO_START:
        reason = _NOTHING_TO_START[ended.stdout]
    elif not started:
        code, reason = None, "the tar could not be unpacked"
    elif printed == _NOT_STARTED and code in (_NOT_EXECUTABLE, _NOT_FOUND):
        # What the shell says of its exec is no word of the task's, and misleads.
        printed = errors = b""
        reason = _start_failure(code, files.get(_PROGRAM, b""))
    elif code != 0:
        reason = _explain(code, files.get(_PROGRAM, b""))
    elif not full:
        status = FINISHED
    if full and ended.verdict is Verdict.EXITED:
        told = "its file system, /tmp, was full at the end: outputs may be cut"
        reason = f"{reason}; {told}" if reason else told
    output = files.get("output.txt", files.get("test_output.txt", b""))
    return Result(
        status=status,
        exit_code=code,
        output=_text(output),
        test_output=_text(files.get("test_output.txt", output)),
        stdout=_text(printed or files.get("stdout.txt", b"")),
        stderr=_text(errors or files.get("stderr.txt", b"")),
        reason=reason,
        seconds=round(ended.seconds, 4),
        cpu=round(ended.cpu, 4),
        memory=ended.memory,
    )


def read_outputs(directory: int, most: int) -> dict[str, bytes]:
    """Read the output files of a directory that a task has left, and how its tmc-run begins.

    Only regular files count: a link, FIFO, socket or directory of that name is no output.

    Args:
        directory: an open directory whose processes are all gone.
        most: bytes to keep of each; a sparse giant costs no more.
    """
    found = {}
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    sizes = {**{f"{name}.txt": most for name in OUTPUTS}, _PROGRAM: _BEGINNING}
    for name, size in sizes.items():
        with contextlib.suppress(OSError):
            descriptor = os.open(name, flags, dir_fd=directory)
            with os.fdopen(descriptor, "rb") as stream:
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    found[name] = stream.read(size)
    return found


def _start_failure(code: int, beginning: bytes) -> str:
    """Why the kernel did not execute a file that is there and executable.

    Args:
        code: the shell's: not found, or not executable.
        beginning: of the file, if it is still there.
    """
    what = "is not in the image" if code == _NOT_FOUND else "cannot be executed"
    if _is_crlf(beginning):
        return f"tmc-run has the line ends of Windows (CRLF): its interpreter {what}"
    if beginning.startswith(b"#!"):
        words = beginning.partition(b"\n")[0][2:].split()
        return f"the interpreter of tmc-run, {_text(words[0] if words else b'')!r}, {what}"
    return f"the interpreter or loader of tmc-run {what}"


def _explain(code: int | None, beginning: bytes) -> str:
    """What an exit status of a tmc-run that was started means."""
    known = {
        _NOT_EXECUTABLE: ": a command that it called could not be executed",
        _NOT_FOUND: ": a command that it called was not found",
    }
    said = f"tmc-run exited with status {code}{known.get(code or 0, '')}"
    if code and 0 < (number := code - 128) <= _LAST_SIGNAL:
        try:
            name = f" ({signal.Signals(number).name})"
        except ValueError:
            name = ""
        said = f"tmc-run was killed by signal {number}{name}, or exited with status {code}"
    if _is_crlf(beginning):
        said += "; it has the line ends of Windows (CRLF)"
    return said


def _is_crlf(beginning: bytes) -> bool:
    return beginning.partition(b"\n")[0].endswith(b"\r")


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
