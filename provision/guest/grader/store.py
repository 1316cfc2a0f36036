"""Tasks on disk, so that a restart forgets none: one SQLite file."""

import json
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.guest.grader.engine import Result
from provision.guest.sandbox.limits import Limits

QUEUED, RUNNING, DONE = "queued", "running", "done"
ATTEMPTS = 2

_SCHEMA = """
CREATE TABLE IF NOT EXISTS task (
  id TEXT PRIMARY KEY, client TEXT NOT NULL, state TEXT NOT NULL, image TEXT NOT NULL,
  engine TEXT NOT NULL, notify TEXT, token TEXT, format TEXT NOT NULL,
  created REAL NOT NULL, ended REAL, attempts INTEGER NOT NULL DEFAULT 0,
  result TEXT, notified TEXT, limits TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS task_state ON task (state);
"""


@dataclass(frozen=True)
class Task:
    """One submission.

    Args:
        id: its public name.
        client: who posted it.
        state: ``queued``, ``running`` or ``done``.
        image, engine: what it runs on.
        notify: the URL to tell, or None.
        token: returned to that URL.
        format: ``json`` or ``form``, the notification's.
        created, ended: seconds since 1970.
        attempts: how often it was started.
        result: once it is done.
        notified: ``delivered`` or ``abandoned: why``; None while it is still to be told.
        limits: what it may use; None: as any task.
    """

    id: str
    client: str
    state: str
    image: str
    engine: str
    notify: str | None
    token: str | None
    format: str
    created: float
    ended: float | None = None
    attempts: int = 0
    result: Result | None = None
    notified: str | None = None
    limits: Limits | None = None


class Store:
    """The database. One thread at a time may use it.

    Args:
        path: the file; it is made where it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        if "limits" not in [row["name"] for row in self._db.execute("PRAGMA table_info(task)")]:
            self._db.execute("ALTER TABLE task ADD COLUMN limits TEXT")  # of an earlier release

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add(self, task: Task) -> None:
        """Write a new task down.

        Raises:
            sqlite3.OperationalError: the disk is full.
        """
        self._db.execute(
            "INSERT INTO task"
            " (id, client, state, image, engine, notify, token, format, created, limits)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(task.id, task.client, task.state, task.image, task.engine),
                *(task.notify, task.token, task.format, task.created),
                json.dumps(task.limits._asdict()) if task.limits else None,
            ),
        )

    def get(self, identifier: str) -> Task | None:
        """A task by its id."""
        row = self._db.execute("SELECT * FROM task WHERE id = ?", (identifier,)).fetchone()
        return _task(row) if row else None

    def start(self, identifier: str) -> None:
        """Note that a task runs."""
        self._db.execute(
            "UPDATE task SET state = ?, attempts = attempts + 1 WHERE id = ?",
            (RUNNING, identifier),
        )

    def finish(self, identifier: str, result: Result) -> None:
        """Write the result of a task down."""
        self._db.execute(
            "UPDATE task SET state = ?, ended = ?, result = ? WHERE id = ?",
            (DONE, time.time(), json.dumps(result.asdict()), identifier),
        )

    def note_reply(self, identifier: str, how: str) -> None:
        """Note that a task's target was told, or that we gave up."""
        self._db.execute("UPDATE task SET notified = ? WHERE id = ?", (how, identifier))

    def open_tasks(self) -> list[Task]:
        """Tasks that wait or ran when the service stopped, oldest first."""
        rows = self._db.execute("SELECT * FROM task WHERE state != ? ORDER BY created", (DONE,))
        return [_task(row) for row in rows]

    def untold(self) -> list[Task]:
        """Results whose target does not know them yet."""
        rows = self._db.execute(
            "SELECT * FROM task WHERE state = ? AND notify IS NOT NULL AND notified IS NULL",
            (DONE,),
        )
        return [_task(row) for row in rows]

    def forget(self, before: float) -> None:
        """Remove tasks that ended before a time."""
        self._db.execute("DELETE FROM task WHERE state = ? AND ended < ?", (DONE, before))


def _task(row: sqlite3.Row) -> Task:
    values: dict[str, Any] = dict(row)
    if values["result"] is not None:
        values["result"] = Result(**json.loads(values["result"]))
    if values["limits"] is not None:
        values["limits"] = Limits(**json.loads(values["limits"]))
    return Task(**values)
