"""Runs the cells of a notebook in two boxes, and carries their words from one to the other.

No box sees the other, a network, or a file of the machine's but programs. What comes from the
pupil's is data; only what the examiner's says is a result.
"""

import contextlib
import dataclasses
import json
import os
import secrets
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.guest.assignments import forkserver
from provision.guest.assignments.kernels import Kernel
from provision.guest.assignments.peer import LONGEST
from provision.guest.nursery import fresh
from provision.guest.sandbox import box
from provision.guest.sandbox.limits import MIB, Limits

SECONDS = 30  # for a cell, or an answer; a test may take two of them
BEGIN = 120  # until a box has its language
GRACE = 5  # until a box that says nothing is ended
# Of one notebook.
LIMITS = Limits(clock=300, cpu=120, memory=1024 * MIB, disk=64 * MIB, tasks=64, output=LONGEST)
# Of tests, each of which has its own time, and of what all are forked of.
EXAMINER_LIMITS = LIMITS._replace(clock=86400, cpu=86400)
SHOWN = LONGEST // 2  # characters of all outputs of a notebook
LIFETIME = 3600  # seconds of what is forked for notebook after notebook
# As all processes of a box are counted: whatever a pupil takes, the examiner has as many.
_TASKS = {
    "pupil": LIMITS.tasks + forkserver.PROCESSES,
    "examiner": 2 * LIMITS.tasks + forkserver.PROCESSES,
}
_PART = LONGEST // 4  # bytes of a file in one message, where each is two characters
SAGE_MEMORY = 2048 * MIB
# Of all that one worker has begun: such a notebook, its language, its examiner, and who reads them.
WORKER_MEMORY = SAGE_MEMORY + 1024 * MIB
# What a forked process has of the language before it does anything; each is counted in full.
_OWN, _SAGE_OWN = 96 * MIB, 512 * MIB
WORK = "/tmp/task"  # noqa: S108 - in a box, on its own memory file system
OURS = "/opt/assignments"  # where our package is in a box
_HERE = "provision/guest/assignments"
_LINKS = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64", "sbin": "usr/sbin"}
_ACCOUNT = {"passwd": f"student:x:1000:1000::{WORK}:/bin/sh\n", "group": "student:x:1000:\n"}
_START = (
    "import sys; sys.path.insert(0, {!r}); "
    "from provision.guest.assignments.forkserver import main; main(sage={}, shell={})"
)


@dataclass(frozen=True)
class Cell:
    """A cell to be run.

    Args:
        source: its text, a program.
        test: whether it is one of the teacher's tests.
    """

    source: str
    test: bool


def root(place: Path, kernel: Kernel) -> Path:
    """Make a root file system to mount programs on; nearly empty.

    Args:
        place: an empty directory.
        kernel: whose programs.
    """
    programs = [str(each)[1:] for each in kernel.places]
    for name in ("usr", *programs, "dev", "tmp", "etc", f"{OURS[1:]}/provision"):
        (place / name).mkdir(parents=True, exist_ok=True)
    for name, target in _LINKS.items():
        (place / name).symlink_to(target)
    for name, text in _ACCOUNT.items():
        (place / "etc" / name).write_text(text)
    return place


class Boxes:
    """The boxes of notebooks of one kernel: each has a pupil's and an examiner's of its own.

    Both are forked within a box whose language was begun once, of which Sage's is most of the
    work; that box has nothing of a student's or of a test's.

    Args:
        root: from ``root``, of the same kernel.
        kernel: what runs the cells.
    """

    def __init__(self, root: Path, kernel: Kernel) -> None:
        self._root, self.kernel = root, kernel
        self._zygote: Zygote | None = None

    def begin(self) -> "Zygote":
        """Begin the language if it is not there: the first notebook waits for less."""
        old = self._zygote and time.monotonic() > self._zygote.begun + LIFETIME
        if self._zygote is None or old or not self._zygote.runs():
            self.close()
            self._zygote = Zygote(self._root, self.kernel)
        return self._zygote

    def run(
        self,
        cells: Sequence[Cell],
        files: Mapping[str, bytes],
        source: Mapping[str, Sequence[str]],
    ) -> list[list[dict[str, Any]]]:
        """Run a notebook's cells one after another; the outputs of each, in nbformat's terms.

        Args:
            cells: in their order.
            files: what is beside the notebook, by name.
            source: what ``Source`` is made of.
        """
        found, whole = self._run(cells, files, source)
        # What ended all may have been of the notebook before.
        return found if whole else self._run(cells, files, source)[0]

    def _run(
        self,
        cells: Sequence[Cell],
        files: Mapping[str, bytes],
        source: Mapping[str, Sequence[str]],
    ) -> tuple[list[list[dict[str, Any]]], bool]:
        """The outputs, and whether what both are forked of is there yet."""
        zygote = self.begin()
        key = secrets.token_hex()  # no pupil knows it
        with (
            Boxed(zygote, "pupil", SECONDS, LIMITS) as pupil,
            Boxed(zygote, "examiner", 2 * SECONDS, EXAMINER_LIMITS) as examiner,
        ):
            examiner.send({"source": {**source}, "key": key}, BEGIN)
            for part in _parts(files):
                pupil.send(part, BEGIN)  # which reads nothing before it has its language
            pupil.send({"files": len(files)})
            for each in (pupil, examiner):  # at the same time
                each.receive(BEGIN)
            found = [
                _examine(cell.source, pupil, examiner, key)
                if cell.test
                else _work(pupil, {"run": cell.source})
                for cell in cells
            ]
            return found, not ((pupil.gone or examiner.gone) and zygote.wait(1))

    def close(self) -> None:
        """End what is left."""
        if self._zygote:
            self._zygote.close()
            self._zygote = None


def _work(pupil: "Boxed", message: dict[str, Any]) -> list[dict[str, Any]]:
    pupil.send(message)
    line = pupil.receive(SECONDS + GRACE)
    if line is None:
        return [_error("NotebookEnded", f"the notebook's program has ended: {pupil.gone}")]
    try:
        return _keep([_check(each) for each in json.loads(line)["done"]], pupil)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pupil.end("it said what it should not")
        return [_error("NotebookEnded", "the cell's output cannot be read")]


def _keep(outputs: list[dict[str, Any]], pupil: "Boxed") -> list[dict[str, Any]]:
    """What there is room for: results are the course's files, whose quota is everybody's."""
    kept: list[dict[str, Any]] = []
    for output in outputs:
        pupil.room -= len(json.dumps(output))
        if pupil.room < 0:
            more = "… and more than is kept\n"
            return [*kept, {"output_type": "stream", "name": "stdout", "text": more}]
        kept.append(output)
    return kept


def _parts(files: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
    """Messages that write files, none of them too long."""
    for name, content in files.items():
        for start in range(0, max(1, len(content)), _PART):
            yield {"file": name, "part": content[start : start + _PART].hex()}


def _examine(source: str, pupil: "Boxed", examiner: "Boxed", key: str) -> list[dict[str, Any]]:
    """Run a test: each line of the examiner's is the pupil's to answer, until the last."""
    examiner.send({"run": source, "key": key})
    until = time.monotonic() + 2 * SECONDS + GRACE
    before = pupil.gone
    while True:
        line = examiner.receive(until - time.monotonic())
        if line is None:
            examiner.end("the test took too long")
            return [_error("TestEnded", f"the test's program has ended: {examiner.gone}")]
        message = json.loads(line)
        if "done" in message:
            outputs: list[dict[str, Any]] = message["done"]
            break
        pupil.write(line)
        answer = pupil.receive(min(SECONDS + GRACE, max(0.0, until - time.monotonic())))
        examiner.write(answer or json.dumps({"gone": pupil.gone}).encode() + b"\n")
    if pupil.gone and not before:  # an end is no answer, whatever a test takes it for
        return [_error("NotebookEnded", f"the notebook's program has ended: {pupil.gone}")]
    said = [] if pupil.gone else _work(pupil, {"printed": True})
    # What the student's code prints while it is tested is shown, and decides nothing.
    return [*(each for each in said if each.get("name") == "stdout"), *outputs]


def _error(name: str, why: str) -> dict[str, Any]:
    return {"output_type": "error", "ename": name, "evalue": why, "traceback": [f"{name}: {why}"]}


def _check(output: dict[str, Any]) -> dict[str, Any]:
    """An output of the pupil's, of nothing but what an output has."""
    kind = output["output_type"]
    if kind == "stream":
        name = "stderr" if output["name"] == "stderr" else "stdout"
        return {"output_type": "stream", "name": name, "text": str(output["text"])}
    if kind == "error":
        lines = [str(line) for line in output["traceback"][:1000]]
        told = {"ename": str(output["ename"]), "evalue": str(output["evalue"])}
        return {"output_type": "error", **told, "traceback": lines}
    data = {str(key): str(value) for key, value in output["data"].items()}
    shown: dict[str, Any] = {"output_type": "display_data", "data": data, "metadata": {}}
    if kind == "execute_result":
        shown |= {"output_type": kind, "execution_count": None}
    return shown


class Zygote:
    """The box whose language is begun once, and the line to who forks in it.

    Args:
        root: from ``root``.
        kernel: whose Python runs it.
    """

    def __init__(self, root: Path, kernel: Kernel) -> None:
        self.why, self.begun = "its box has ended", time.monotonic()
        self._kernel = kernel
        stopped, self._stop = os.pipe2(os.O_CLOEXEC)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        out, err = (os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC) for _ in range(2))
        each, own = (SAGE_MEMORY, _SAGE_OWN) if kernel.sage else (LIMITS.memory, _OWN)
        cage = box.Box(
            root=root,
            command=(
                *(*kernel.python, "-I", "-c"),
                _START.format(OURS, kernel.sage, kernel.language is None),
            ),
            limits=EXAMINER_LIMITS._replace(
                memory=each + own * (forkserver.PROCESSES + 1),
                data=each,
                tasks=_TASKS["examiner"],
            ),
            environment={
                **{**box.ENVIRONMENT, **kernel.environment, **fresh.OURS},  # it forks
                **{"HOME": WORK, "IPYTHONDIR": "/tmp/.ipython", "MPLBACKEND": "agg"},  # noqa: S108
            },
            directory=WORK,
            binds={
                **{str(place): place for place in (Path("/usr"), *kernel.places)},
                f"{OURS}/provision": Path(box.__file__).parents[2],
            },
            allowed=forkserver.ALLOWED,
            capabilities=forkserver.CAPABILITIES,
        )
        channels = box.Channels(streams=(theirs.detach(), out, err), stop=stopped)
        self._thread = threading.Thread(target=self._run, args=(cage, channels, stopped))
        self._thread.start()

    def _run(self, cage: box.Box, channels: box.Channels, stopped: int) -> None:
        try:
            self.why = box.run(cage, channels).verdict.value
        except Exception as error:
            self.why = str(error)
        finally:
            os.close(stopped)

    def command(self, program: str, seconds: int) -> tuple[str, ...]:
        """What a child becomes: a program of the language; nothing: it is forked as that.

        Args:
            program: ``pupil`` or ``examiner``.
            seconds: for one thing that it does.
        """
        language = self._kernel.language
        told = {"here": f"{OURS}/{_HERE}", "program": program, "seconds": seconds}
        return tuple(each.format_map(told) for each in language.argv) if language else ()

    def runs(self) -> bool:
        """Whether it has not ended by itself."""
        return self._thread.is_alive()

    def fork(self, request: forkserver.ForkSpec, descriptors: Sequence[int]) -> None:
        """Ask for a child, who has the descriptors then; of one that is gone it has none."""
        with contextlib.suppress(OSError):
            message = json.dumps(dataclasses.asdict(request)).encode()
            socket.send_fds(self._control, [message], list(descriptors))
        for each in descriptors:
            os.close(each)

    def wait(self, seconds: float) -> str:
        """Why it is gone, if it ends within some time; else empty."""
        self._thread.join(seconds)
        return "" if self.runs() else self.why

    def close(self) -> None:
        """End the box, and let go of all that is of it."""
        os.close(self._stop)
        self._thread.join()
        self._control.close()


class Boxed:
    """A box with our program in it, and the line to it.

    Args:
        zygote: in whose box it is forked.
        program: ``pupil`` or ``examiner``.
        seconds: for one thing that it does.
        limits: of all of it, but for its memory and its processes, which are the zygote's.

    ``gone`` says why it is no more; empty while it is. ``room`` is for so many characters yet.
    """

    def __init__(self, zygote: Zygote, program: str, seconds: int, limits: Limits) -> None:
        self.gone, self.room = "", SHOWN
        self._rest, self._zygote = b"", zygote
        theirs_in, self._writing = os.pipe2(os.O_CLOEXEC)
        self._reading, theirs_out = os.pipe2(os.O_CLOEXEC)
        self._life, life = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._life.settimeout(GRACE)
        os.set_blocking(self._writing, False)
        request = forkserver.ForkSpec(
            *(program, seconds, limits.clock, int(limits.cpu), limits.disk),
            *(_TASKS[program], zygote.command(program, seconds)),
        )
        zygote.fork(request, (theirs_in, theirs_out, life.detach()))

    def __enter__(self) -> "Boxed":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it with all of its processes, and let go of all that is of it."""
        self.end("the notebook was at its end")
        with contextlib.suppress(OSError):
            while self._life.recv(LONGEST):  # until it is no more
                pass
        self._life.close()
        os.close(self._reading)
        os.close(self._writing)

    def end(self, why: str) -> None:
        """End it now."""
        if not self.gone:
            self.gone = why
        with contextlib.suppress(OSError):
            self._life.shutdown(socket.SHUT_WR)

    def send(self, message: dict[str, Any], seconds: float = SECONDS) -> None:
        """Send a message."""
        self.write(json.dumps(message).encode() + b"\n", seconds)

    def write(self, line: bytes, seconds: float = SECONDS) -> None:
        """Send a line; a box that does not read it in time is ended."""
        until = time.monotonic() + seconds
        while line and not self.gone:
            if not select.select([], [self._writing], [], max(0, until - time.monotonic()))[1]:
                self.end("it did not listen")
                return
            try:
                line = line[os.write(self._writing, line) :]
            except BrokenPipeError:
                self._note_close()

    def receive(self, seconds: float) -> bytes | None:
        """The next line; None: the box is gone, or was ended because there is none in time."""
        until = time.monotonic() + seconds
        parts = [self._rest]
        size = len(self._rest)
        while b"\n" not in parts[-1]:
            left = max(0.0, until - time.monotonic())
            if self.gone:
                return None
            if not select.select([self._reading], [], [], left)[0]:
                self.end(f"no answer within {seconds:.0f} seconds")
                return None
            data = os.read(self._reading, 1 << 16)
            if not data:
                self._note_close()
                return None
            parts.append(data)
            size += len(data)
            if size > LONGEST:
                self.end("it said too much")
                return None
        line, _, self._rest = b"".join(parts).partition(b"\n")
        return line + b"\n"

    def _note_close(self) -> None:
        """Its end of the line is closed: it has ended, or closed it to hide that it has not."""
        self._life.settimeout(1)
        try:
            said = self._life.recv(1024).decode(errors="replace")
        except TimeoutError:
            said = "it closed the line"
        except OSError:
            said = ""
        self._life.settimeout(GRACE)
        self.end(said or self._zygote.wait(1) or "its box has ended")
