"""Back this appliance up with restic: backup VERB [ARGUMENT...], as root; one JSON object out.

What a restore needs to know is in one file that only root reads; secrets come by standard input
and go to restic by its environment and files, never by arguments.
"""

import contextlib
import datetime
import json
import os
import sqlite3
import stat
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from .contents import (
    DATABASE,
    PATIENCE,
    STATE,
    TAKEN,
    exclusions,
    lock_of_backups,
    places,
    students,
    sweep,
    take,
    writable_by_others,
)
from .lease import guarding
from .program import RefusedError, answer, write
from .restic import TAG, last_words, restic, settings, stream
from .restoring import everything, one, plan
from .settle import install, password, setup
from .snapshots import SHOWN, Snapshot, choose

LAST = STATE / "last.json"
TRIES = 3
CLOCK_SECONDS = 60.0  # that a clock may have been put back by since the newest backup
BLOCK = 1 << 20


def run() -> dict[str, Any]:
    """Back up. Files that change meanwhile are taken again, and those that never rest are told."""
    install(settings()["repository"])
    _look_at_the_clock()
    directory, tries = students(), 0
    while True:
        tries += 1
        begun = time.time_ns()
        database = take()
        done = restic(
            *("backup", "--json", "--quiet", "--host", TAG, "--tag", TAG),
            *(f"--exclude={pattern}" for pattern in exclusions()),
            *("--", *map(str, places())),
            check=False,
            seen=writable_by_others(),
        )
        if done.returncode not in (0, 3):
            raise RefusedError(f"restic: {last_words(done)}")
        unread = last_words(done) if done.returncode == 3 else ""
        changed = sorted(map(str, _files_since(directory, begun)))
        if not (changed or unread) or tries == TRIES:
            break
    made = json.loads(done.stdout.splitlines()[-1])["snapshot_id"]
    result = {
        "snapshot": made[:8],
        "time": time.time(),
        "tries": tries,
        "consistent": not (changed or unread or database),
        "changed": changed[:20],
        "unread": unread,
        "database": database or "ok",
    }
    _forget_old(made)
    write(LAST, json.dumps(result))
    return result


def snapshots() -> dict[str, Any]:
    """What there is to restore from."""
    return {
        "snapshots": [{"id": each.name, "time": each.time.isoformat()} for each in _snapshots()]
    }


def meaning(wanted: str) -> dict[str, Any]:
    """Which snapshot a name or a time means."""
    found = choose(wanted, _snapshots())
    return {"snapshot": found.identity, "said": found.said}


def forget(wanted: str) -> dict[str, Any]:
    """Remove one snapshot: of a day when the clock was wrong, say."""
    found = choose(wanted, _snapshots())
    restic("forget", "--quiet", "--prune", found.identity)
    return {"snapshot": found.name, "said": found.said}


def verify() -> dict[str, Any]:
    """Prove the newest backup by reading all of it, and compare it with what is here.

    A file that was written to since may differ; one that was not must be the same. Nothing is
    unpacked: the files come as one stream.
    """
    snapshot = choose("latest", _snapshots())
    begun = snapshot.time.timestamp() - 5
    restic("check", "--quiet")
    roots = (students(), Path("/etc/notebook"))
    database, seen, compared, wrong = TAKEN / DATABASE, set[str](), 0, []
    with (
        stream("dump", "--archive", "tar", snapshot.identity, "/") as pipe,
        tarfile.open(fileobj=pipe, mode="r|", errorlevel=0) as archive,
    ):
        for member in archive:
            path = Path("/", member.name)
            seen.add(str(path))
            content = archive.extractfile(member) if member.isreg() else None
            if content is None:
                continue
            if path == database and not _sound(content):
                wrong.append(str(path))
            elif any(path.is_relative_to(root) for root in roots):
                same = _same(path, content, begun)
                compared += same is not None
                wrong += [str(path)] * (same is False)
    wrong += [str(path) for root in roots for path in _quiet(root, begun) if str(path) not in seen]
    if wrong:
        raise RefusedError(f"not as they were: {', '.join(wrong[:5])}")
    return {"snapshot": snapshot.name, "restored": len(seen), "compared": compared}


def restore(wanted: str, student: str, path: str) -> dict[str, Any]:
    """Bring a student's files back as they were, beside those that are there now.

    Args:
        wanted: a snapshot's name, ``latest``, or a time; see ``snapshots``.
        student: whose.
        path: a file or folder below the student's folder; ``.`` for all.
    """
    return one(choose(wanted, _snapshots()), student, path)


def restore_all(wanted: str) -> dict[str, Any]:
    """Bring everything back: students' files, the hub, who may enter."""
    return everything(choose(wanted, _snapshots()))


def restore_plan(wanted: str) -> dict[str, Any]:
    """What ``restore-all`` would do."""
    return plan(choose(wanted, _snapshots()))


def _snapshots() -> list[Snapshot]:
    found = json.loads(restic("snapshots", "--json", "--tag", TAG).stdout) or []
    return [Snapshot(each["id"], datetime.datetime.fromisoformat(each["time"])) for each in found]


def _look_at_the_clock() -> None:
    """Refuse a clock that is behind the newest backup: the next forget would take the wrong ones.

    Raises:
        RefusedError: it is.
    """
    newest = max(_snapshots(), key=lambda each: each.time, default=None)
    now = datetime.datetime.now().astimezone()
    if newest is not None and (newest.time - now).total_seconds() > CLOCK_SECONDS:
        raise RefusedError(
            f"the clock says {now:{SHOWN}}, but there is a {newest.said}: set the clock"
            f" (timedatectl); if it is right, remove that one: appliance backup forget HOST"
            f" {newest.name}"
        )


def _forget_old(made: str) -> None:
    """Keep what the settings say, and what was made just now, whatever its date."""
    keep = settings().get("keep") or {}
    words = [word for name, value in keep.items() for word in (f"--keep-{name}", str(value))]
    if not words:
        return
    # Of all together: which folders there are to back up may have changed meanwhile.
    together = ("--tag", TAG, "--group-by", "host,tags")
    told = json.loads(restic("forget", "--dry-run", "--json", *together, *words).stdout or "[]")
    old = [each["id"] for group in told for each in group.get("remove") or []]
    if old := [identity for identity in old if identity != made]:
        restic("forget", "--quiet", "--prune", *old)


def _files_since(root: Path, since: int) -> Iterator[Path]:
    for path, status in _files(root):
        if status.st_ctime_ns > since:
            yield path


def _quiet(root: Path, since: float) -> Iterator[Path]:
    """The files that have been there, as they are, since before the backup."""
    for path, status in _files(root):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts[:1])
        if stat.S_ISREG(status.st_mode) and status.st_ctime < since and not hidden:
            yield path


def _files(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory, name)
            with contextlib.suppress(OSError):  # it has gone, or its path is too long
                yield path, path.lstat()


def _same(path: Path, content: IO[bytes], since: float) -> bool | None:
    """Whether a file is as in the backup; None: it was written to since, or has gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_ctime >= since:
            return None
        while block := content.read(BLOCK):
            if file.read(len(block)) != block:
                return False
        return not file.read(1)


def _sound(content: IO[bytes]) -> bool:
    """Whether a database of the hub's is whole."""
    with tempfile.NamedTemporaryFile(dir=STATE, prefix=".restore-") as copy:
        while block := content.read(BLOCK):
            copy.write(block)
        copy.flush()
        try:
            with contextlib.closing(sqlite3.connect(copy.name)) as database:
                return bool(database.execute("pragma integrity_check").fetchone() == ("ok",))
        except sqlite3.Error:
            return False


VERBS: dict[str, Callable[..., dict[str, Any]]] = {
    "setup": setup,
    "password": password,
    "run": run,
    "snapshots": snapshots,
    "meaning": meaning,
    "forget": forget,
    "verify": verify,
    "restore": restore,
    "restore-plan": restore_plan,
    "restore-all": restore_all,
}
# What an upgrade, or another root disk, would have to know of.
ALONE = ("restore", "restore-all")
READING = ("password", "snapshots", "meaning", "restore-plan")


def main() -> None:
    """Carry out one verb; others wait for it, though not for ever."""
    with guarding(alone=ALONE):
        verbs = {name: verb if name in READING else _sweeping(verb) for name, verb in VERBS.items()}
        lock = lock_of_backups()
        answer(verbs, lock=lock, unlocked=READING, umask=0o077, patience=PATIENCE)


def _sweeping(verb: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """With the lock held, no other restore is at work: what is left of one is rubbish."""

    def wrapper(*words: str) -> dict[str, Any]:
        sweep()
        return verb(*words)

    return wrapper
