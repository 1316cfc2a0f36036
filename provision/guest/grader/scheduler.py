"""Which task runs next: a bounded queue that is fair between clients."""

import asyncio
import contextlib
import dataclasses
import logging
import sqlite3
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from provision.errors import ApplianceError
from provision.guest.grader.engine import FAILED, Engine, Result
from provision.guest.grader.notify import Notifier
from provision.guest.grader.settings import Settings
from provision.guest.grader.store import ATTEMPTS, DONE, Store, Task

log = logging.getLogger(__name__)

_SWEEP_SECONDS = 600


class QueueFullError(Exception):
    """There is no room in the queue."""


class QuotaError(Exception):
    """This client has as many tasks as it may have."""


class Fair:
    """Waiting tasks: the next is the oldest of the client that has the fewest running."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Task]] = {}
        self.running: Counter[str] = Counter()

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def count(self, client: str) -> int:
        """How many tasks of a client wait or run."""
        return len(self._waiting.get(client, ())) + self.running[client]

    def put(self, task: Task) -> None:
        """Add a task at the end of its client's line."""
        self._waiting.setdefault(task.client, deque()).append(task)

    def take(self) -> Task | None:
        """Remove the next task and count it as running."""
        if not self._waiting:
            return None
        # The dictionary's order breaks ties: whoever was served goes to its end.
        client = min(self._waiting, key=lambda name: self.running[name])
        line = self._waiting.pop(client)
        task = line.popleft()
        if line:
            self._waiting[client] = line
        self.running[client] += 1
        return task

    def release(self, client: str) -> None:
        """Count a task of a client as running no more."""
        self.running[client] -= 1
        if not self.running[client]:
            del self.running[client]


class Scheduler:
    """Runs tasks on the engines, as many at a time as there are instances."""

    def __init__(
        self, settings: Settings, engines: Mapping[str, Engine], store: Store, notifier: Notifier
    ) -> None:
        self.settings, self.engines = settings, engines
        self.counts: Counter[str] = Counter()
        self.seconds: dict[str, float] = {"run": 0.0, "cpu": 0.0}
        self._store, self._notifier = store, notifier
        self._line = Fair()
        self._changed: dict[str, asyncio.Event] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(settings.instances, "instance")
        self.uploads = settings.state / "uploads"

    @property
    def busy(self) -> int:
        """Instances that run a task."""
        return sum(self._line.running.values())

    @property
    def queued(self) -> int:
        """Tasks that wait."""
        return len(self._line)

    async def start(self) -> None:
        """Take up what an earlier run of the service left."""
        unfinished = self._store.open_tasks()
        known = {f"{task.id}.tar" for task in unfinished}
        for leftover in self.uploads.iterdir():
            if leftover.name not in known:
                leftover.unlink(missing_ok=True)
        for task in self._store.untold():
            self._later(self._tell(task))
        for task in unfinished:
            if task.attempts >= ATTEMPTS:
                self._finish(task, Result(FAILED, None, reason="the service stopped during it"))
            else:
                self._line.put(task)
        self._later(self._sweep())
        self._dispatch()

    async def stop(self) -> None:
        """Stop what waits; running boxes end with this process and are run again by the next."""
        for job in self._background:
            job.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def check_room(self, client: str) -> None:
        """Ask before an upload is read.

        Raises:
            QueueFullError: every instance runs and the queue is full.
            QuotaError: the client has too many tasks.
        """
        if self.busy + self.queued >= self.settings.instances + self.settings.queue:
            raise QueueFullError
        if self._line.count(client) >= self.settings.per_client:
            raise QuotaError

    def submit(self, task: Task) -> None:
        """Write a task down and run it when it is its turn.

        Raises:
            QueueFullError, QuotaError: there was room before its upload, but is none now.
            sqlite3.Error: the disk is full.
        """
        self.check_room(task.client)
        self._store.add(task)
        self._line.put(task)
        self.counts["accepted"] += 1
        self._dispatch()

    def archive(self, identifier: str) -> Path:
        """Where the upload of a task is kept until the task is done."""
        return self.uploads / f"{identifier}.tar"

    async def wait(self, task: Task, seconds: float) -> Task:
        """The task once its state is another than now, or after some seconds as it is."""
        current = self._store.get(task.id) or task
        if current.state != task.state or current.state == DONE:
            return current
        # Shared by all who wait for this task: nobody but `_announce` may take it away.
        event = self._changed.setdefault(task.id, asyncio.Event())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), seconds)
        return self._store.get(task.id) or task

    def _dispatch(self) -> None:
        while self.busy < self.settings.instances and (task := self._line.take()):
            self._later(self._run(task))

    async def _run(self, task: Task) -> None:
        result = Result(FAILED, None, reason="the service failed")
        try:
            for attempt in range(task.attempts, ATTEMPTS):
                self._note(self._store.start, task.id)
                self._announce(task.id)
                try:
                    result = await self._on_engine(task)
                    break
                except ApplianceError as error:
                    result = Result(FAILED, None, reason=str(error))
                    break
                except OSError as error:
                    log.warning("task %s: attempt %d: %s", task.id, attempt + 1, error)
                    result = Result(FAILED, None, reason=f"the host failed: {error}")
                    await asyncio.sleep(0.5)
                except Exception:
                    log.exception("task %s", task.id)
                    break
        finally:
            self._line.release(task.client)
        self._finish(task, result)
        self._dispatch()

    async def _on_engine(self, task: Task) -> Result:
        engine = self.engines[task.engine]

        def work() -> Result:
            limits = task.limits or self.settings.limits
            return engine.run(self.archive(task.id), task.image, limits, name=f"task-{task.id}")

        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _finish(self, task: Task, result: Result) -> None:
        self._note(self._store.finish, task.id, result)
        self.archive(task.id).unlink(missing_ok=True)
        self.counts[result.status] += 1
        self.seconds["run"] += result.seconds
        self.seconds["cpu"] += result.cpu
        self._announce(task.id)
        if task.notify:
            self._later(self._tell(dataclasses.replace(task, state=DONE, result=result)))

    async def _tell(self, task: Task) -> None:
        how = await self._notifier.tell(task)
        self.counts["notified" if how == "delivered" else "abandoned"] += 1
        self._note(self._store.note_reply, task.id, how)

    def _note(self, write: Callable[..., None], *values: object) -> None:
        # A full disk must not lose a result that its target can still be told.
        try:
            write(*values)
        except sqlite3.Error:
            log.exception("cannot write to the database")

    def _announce(self, identifier: str) -> None:
        if event := self._changed.pop(identifier, None):
            event.set()

    def _later(self, work: Coroutine[None, None, None]) -> None:
        job = asyncio.get_running_loop().create_task(work)
        self._background.add(job)
        job.add_done_callback(self._background.discard)

    async def _sweep(self) -> None:
        while True:
            self._note(self._store.forget, time.time() - self.settings.keep_seconds)
            await asyncio.sleep(_SWEEP_SECONDS)
