"""Backup, restore, deletion: what the administrator's screen begins and takes its time.

What root must do, root's service does (``pool.keeper``). Each job is told on the screen from its
beginning to its end; the last ones stay there until the hub is started anew.
"""

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provision.guest.hub.admission import put_out
from provision.guest.hub.wishes import Wishes
from provision.guest.pool.accounts import Accounts
from provision.guest.pool.keeper import KeeperRefusedError, ask

LAST = Path("/var/lib/appliance/backup/last.json")
STOP_SECONDS = 60.0
KEPT = 12


@dataclass
class Job:
    """One piece of work.

    Args:
        action: as the screen calls it.
        student: for whom; empty: for all.
    """

    action: str
    student: str
    begun: float = field(default_factory=time.time)
    over: float = 0.0
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    failed: bool = False
    said: str = ""


class Jobs:
    """What runs and what has ended lately, the newest first."""

    def __init__(self) -> None:
        self.jobs: deque[Job] = deque(maxlen=KEPT)
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, job: Job, work: Awaitable[str]) -> None:
        """Begin a piece of work.

        Args:
            job: what it is told as.
            work: gives what the administrator should know, or raises RefusedError or ValueError.
        """
        self.jobs.appendleft(job)
        task = asyncio.ensure_future(_follow(job, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def busy(self, student: str) -> bool:
        """Whether something is done for a student already."""
        return any(not job.ended.is_set() and job.student == student for job in self.jobs)


async def _follow(job: Job, work: Awaitable[str]) -> None:
    try:
        job.said = await work
    except (KeeperRefusedError, ValueError) as error:
        job.said, job.failed = str(error), True
    except BaseException:
        job.said, job.failed = "it ended unexpectedly: see the logs", True
        raise
    finally:
        job.over = time.time()
        job.ended.set()


def last_backup() -> dict[str, Any]:
    """When the last backup was, and whether it was consistent; empty: there is none."""
    with contextlib.suppress(OSError, ValueError):
        found: dict[str, Any] = json.loads(LAST.read_text())
        return found
    return {}


async def back_up() -> str:
    """Back the appliance up now."""
    done = await ask("backup")
    how = "consistent" if done["consistent"] else "files changed meanwhile"
    database = done.get("database", "ok")
    how = how if database == "ok" else f"the hub's database is not as it is now: {database}"
    return f"snapshot {done['snapshot']}, {how}"


async def restore(job: Job, path: str, at: str) -> str:
    """Bring back a student's files, beside those of today; from when, is said before.

    Args:
        job: of that student.
        path: a file or folder, by its name; empty: all.
        at: a backup's name, or a time; empty: the last.
    """
    found = await ask("meaning", at.strip() or "latest")
    job.said = f"from {found['said']}"
    done = await ask("restore", found["snapshot"], job.student, path or ".")
    return f"{job.said} into {Path(done['place']).name}"


def clock(seconds: float) -> str:
    """A time as `restore` reads it, in the appliance's zone."""
    return time.strftime("%Y-%m-%d %H:%M %z", time.localtime(seconds))


async def delete(handler: Any, user: Any, name: str, state: Path) -> str:
    """Delete a student: end the session and the sign-in, archive the files, forget the name.

    Args:
        handler: of a request to the hub.
        user: the hub's; None: the student was never there.
        name: the student's.
        state: directory of the hub's own files.

    Raises:
        KeeperRefusedError: the session does not end, or the files cannot be archived; the student
            may sign in again and has all files.
    """
    accounts, wishes = Accounts(state / "accounts.json"), Wishes(state)
    known = name in accounts.names()
    if known:
        await asyncio.to_thread(accounts.lock, name)
    try:
        if known:
            await put_out(state, name)
        if user is not None:
            await _forget(handler, user)
        made = (await ask("archive", name))["archives"]
    except BaseException:
        if known:
            await asyncio.to_thread(accounts.unlock, name)
        raise
    accounts.remove(name)
    wishes.limit(name, {})
    wishes.tell(name, "")
    (state / "machines" / name).unlink(missing_ok=True)
    return f"archived as {', '.join(Path(each).name for each in made)}" if made else "had no files"


async def _forget(handler: Any, user: Any) -> None:
    """End a student's session, then cookies and tokens with the hub's own record."""
    deadline = time.monotonic() + STOP_SECONDS
    while user.spawner.active:
        if not user.spawner.pending:  # one that is starting cannot be stopped
            await handler.stop_single_user(user)
        elif time.monotonic() > deadline:
            raise KeeperRefusedError(f"the session of {user.name} does not end")
        await asyncio.sleep(0.2)
    await user.delete_spawners()
    handler.users.delete(user)
