"""One piece of work on many hosts: some at once, canaries first, an end after too many failures.

What each host came to is kept in a file, so that a run that was cut off can be gone on with.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from provision import places
from provision.errors import ApplianceError, UsageError
from provision.fleet.inventory import Host
from provision.progress import only_notes

Result = Literal["waiting", "running", "ok", "failed", "skipped"]
Tell = Callable[[str, str], None]
Work = Callable[[Host, Tell], Mapping[str, Any]]


@dataclass(frozen=True)
class HostRow:
    """How one host is.

    Args:
        host: its name.
        result: how far it is.
        step: what it does now, or did last.
        detail: of the step; or why it failed.
        seconds: since it began.
        facts: what the work returned.
    """

    host: str
    result: Result = "waiting"
    step: str = ""
    detail: str = ""
    seconds: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pace:
    """How a run goes through its hosts.

    Args:
        parallel: hosts at once.
        canary: hosts that must succeed before the others begin.
        most_failures: no further host begins after so many; None: all are tried.
    """

    parallel: int = 4
    canary: int = 0
    most_failures: int | None = None


class RunRecord:
    """The record of one run: what was asked for, and each host's row.

    Args:
        path: the file.
        task: what was asked for, as JSON can carry it.
        rows: by host.
    """

    def __init__(self, path: Path, task: Mapping[str, Any], rows: dict[str, HostRow]) -> None:
        self.path = path
        self.task = task
        self.rows = rows
        self._lock = threading.Lock()

    @classmethod
    def new(cls, task: Mapping[str, Any], hosts: Sequence[Host]) -> "RunRecord":
        """A fresh record in the user's state directory."""
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        record = cls(
            runs() / f"{name}.json", task, {host.name: HostRow(host.name) for host in hosts}
        )
        record.save()
        return record

    @classmethod
    def last(cls, task: Mapping[str, Any]) -> "RunRecord":
        """The latest record of the same task.

        Raises:
            UsageError: there is none.
        """
        for path in sorted(runs().glob("*.json"), reverse=True):
            known = json.loads(path.read_text())
            if known["task"] == dict(task):
                return cls(path, task, {row["host"]: HostRow(**row) for row in known["hosts"]})
        raise UsageError("there is no earlier run of this to resume", hint="leave --resume out")

    def update(self, row: HostRow) -> None:
        """Note a host's row."""
        with self._lock:
            self.rows[row.host] = row
            self.save()

    def save(self) -> None:
        """Write the record, as a whole."""
        fresh = self.path.with_suffix(".new")
        hosts = [asdict(row) for row in self.rows.values()]
        fresh.write_text(json.dumps({"task": dict(self.task), "hosts": hosts}, indent=1))
        fresh.replace(self.path)


def runs() -> Path:
    """Where records are kept; made when missing."""
    return places.state("fleet")


def run_on(
    hosts: Sequence[Host],
    work: Work,
    pace: Pace,
    record: RunRecord | None = None,
    show: Callable[[HostRow], None] | None = None,
) -> tuple[HostRow, ...]:
    """Do a piece of work on each host.

    Args:
        hosts: in order; the first are the canaries.
        work: called with the host and a function that takes step and detail; in threads.
        pace: how many at once, and when to stop.
        record: kept up to date; hosts that are ``ok`` in it already are left alone.
        show: called with each change.

    Returns:
        Each host's row, in order. A failure of one host is its row's, never an exception.
    """
    rows = {host.name: HostRow(host.name) for host in hosts}
    if record:
        rows |= {name: row for name, row in record.rows.items() if row.result == "ok"}
    lock = threading.Lock()
    stopping = threading.Event()

    def update(row: HostRow, keep: bool = True) -> None:
        with lock:
            rows[row.host] = row
        if record and keep:
            record.update(row)
        if show:
            show(row)

    left = [host for host in hosts if rows[host.name].result != "ok"]
    first, rest = left[: pace.canary], left[pace.canary :]

    def failures() -> int:
        return sum(row.result == "failed" for row in rows.values())

    def through(pool: ThreadPoolExecutor, group: list[Host], limit: int | None) -> None:
        """Begin no further host once the limit of failures is reached."""
        running: set[Future[None]] = set()
        while running or (group and not _is_over(failures(), limit)):
            while group and len(running) < pace.parallel and not _is_over(failures(), limit):
                run = only_notes().run  # what is to be read of it, as that a wheel is yanked
                running.add(pool.submit(run, _one, group.pop(0), work, update, stopping))
            _, running = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)

    with ThreadPoolExecutor(max_workers=pace.parallel) as pool:
        try:
            through(pool, first, 1)
            if not (pace.canary and failures()):
                through(pool, rest, pace.most_failures)
        except BaseException:
            stopping.set()
            raise
    for name in [name for name, row in rows.items() if row.result == "waiting"]:
        update(HostRow(name, "skipped", "", "not begun after failures of others"))
    return tuple(rows[host.name] for host in hosts)


def _is_over(failures: int, limit: int | None) -> bool:
    return limit is not None and failures >= limit


def _one(
    host: Host, work: Work, update: Callable[[HostRow, bool], None], stopping: threading.Event
) -> None:
    """Do the work on one host; all that comes of it is the row."""
    begun, step, detail = time.monotonic(), "", ""

    def row(result: Result, facts: Mapping[str, Any] | None = None) -> HostRow:
        return HostRow(host.name, result, step, detail, time.monotonic() - begun, facts or {})

    def tell(now: str, more: str) -> None:
        nonlocal step, detail
        if stopping.is_set():
            raise KeyboardInterrupt
        changed, step, detail = now != step, now, more
        update(row("running"), changed)

    facts: Mapping[str, Any] = {}
    result: Result = "failed"
    try:
        facts, result, detail = work(host, tell), "ok", ""
    except ApplianceError as error:
        detail = f"{error}" + (f" ({error.hint})" if error.hint else "")
    except Exception as error:  # one host's surprise is not the others'
        detail = repr(error)
    update(row(result, facts), True)
