"""Processes that read what others wrote, for root who does not: without rights, and with an end."""

import json
import threading
from typing import Any

from provision.guest.assignments.errors import AssignmentError
from provision.guest.assignments.versions import ENDING
from provision.guest.assignments.workers import WorkerProcess

PATIENCE = 1800  # seconds for the notebooks of one student


class Worker:
    """The process that understands notebooks; it is started anew when it has ended.

    Args:
        assignment: its name.
        files: the teacher's.
        owner: the course's user and group.
        folders: whether it is an exercise in TMC's form.
        release: whether it is to be handed out, of which ``given`` comes.
    """

    def __init__(
        self,
        assignment: str,
        files: dict[str, bytes],
        owner: int,
        *,
        folders: bool,
        release: bool,
    ) -> None:
        self._owner, self.folders = owner, folders
        notebooks = {
            name.removesuffix(ENDING): each.decode(errors="replace")
            for name, each in files.items()
            if name.endswith(ENDING) and not folders
        }
        beside = {k: v for k, v in files.items() if k.removesuffix(ENDING) not in notebooks}
        told = {"assignment": assignment, "notebooks": notebooks, "files": _hex(beside)}
        self._first = json.dumps({**told, "folders": folders, "release": release})
        self._process: WorkerProcess | None = None
        self.released: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self.given: dict[str, bytes] = {}

    def __enter__(self) -> "Worker":
        self._start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._end(rests=kind is None)

    def ask(self, files: dict[str, bytes], **request: Any) -> dict[str, Any]:
        """What comes of a student's work; ``error`` where the process did not survive it.

        Args:
            files: what is beside the notebooks.
            request: the rest, as ``worker.Assignment.grade`` has it.
        """
        if self._process is None:
            self._start()
        try:
            return self._answer(json.dumps({**request, "files": _hex(files)}))
        except (OSError, ValueError) as error:
            self._end()
            return {"error": f"grading ended: {error}"}

    def _start(self) -> None:
        self._process = WorkerProcess(self._owner)
        try:
            answer = self._answer(self._first)
        except (OSError, ValueError) as error:
            self._end()
            raise AssignmentError(f"the notebooks cannot be read: {error}") from error
        if "error" in answer:
            self._end()
            raise AssignmentError(answer["error"])
        self.released, self.missing = answer["released"], answer["missing"]
        given = answer.get("given", {})
        self.given = {name: bytes.fromhex(each) for name, each in given.items()}

    def _answer(self, request: str) -> dict[str, Any]:
        assert self._process  # noqa: S101
        timer = threading.Timer(PATIENCE, self._process.kill)
        timer.start()
        try:
            self._process.writing.write(f"{request}\n")
            self._process.writing.flush()
            answer: dict[str, Any] = json.loads(self._process.reading.readline())
        finally:
            timer.cancel()
        return answer

    def _end(self, *, rests: bool = False) -> None:
        if self._process:
            self._process.close(rests=rests)
            self._process = None


def _hex(files: dict[str, bytes]) -> dict[str, str]:
    return {name: content.hex() for name, content in files.items()}
