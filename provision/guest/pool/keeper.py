"""What root does to students' files for the hub: archive, bring back, back up, restore.

The hub has no right to it, so it asks a service that the system's manager starts for one request
at a time: one line of JSON in, one JSON object out, ``error`` when it is refused. Only the hub's
user may connect. Everything in a request is checked here again. ``archives`` says where a deleted
student's files go.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from provision.guest import record
from provision.guest.pool.account import read_settings
from provision.guest.pool.archives import (
    GONE,
    Archive,
    ArchiveError,
    archive,
    archives,
    unpack,
)
from provision.guest.pool.certificate import checked
from provision.guest.pool.connection import LOOPBACK
from provision.guest.pool.files import STUDENTS, free_number, read_untrusted
from provision.guest.pool.leases import Leases
from provision.guest.whole import locking

SOCKET = Path("/run/notebook/keeper.socket")
BACKUP = Path("/usr/local/lib/appliance/backup")
STATE, RECORD = Path("/var/lib/notebook"), record.PLACE
LONGEST = 8192


class KeeperRefusedError(Exception):
    """It cannot be done; the message says why.

    Args:
        why: in words.
        absent: there is nothing of that name for who asks.
    """

    def __init__(self, why: str, *, absent: bool = False) -> None:
        super().__init__(why)
        self.absent = absent


async def ask(verb: str, *words: str, place: Path = SOCKET) -> dict[str, Any]:
    """Ask root's service.

    Args:
        verb: of ``VERBS``.
        words: its arguments.
        place: the service's socket.

    Raises:
        KeeperRefusedError: it refused, or cannot be asked.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(place)
        with contextlib.closing(writer):
            writer.write(json.dumps([verb, *words]).encode())
            writer.write_eof()
            answer: dict[str, Any] = json.loads(await reader.read())
    except (OSError, ValueError) as error:
        raise KeeperRefusedError(f"the service at {place} does not answer: {error}") from error
    if "error" in answer:
        raise KeeperRefusedError(answer["error"], absent=bool(answer.get("absent")))
    return answer


def delete(student: str) -> dict[str, Any]:
    """Archive a student's files whole, move them aside, remove them; or nothing of it."""
    directory = read_settings().directory
    _idle(checked(student))
    made = []
    # What an earlier run that was cut off has moved aside is archived once more.
    for name in (f"{GONE}{student}", f".leaving-{student}", student):
        if (files := directory / name).exists():
            made.append(str(archive(student, files, directory, lambda: _idle(student))))
    return {"archives": made}


def archived_students() -> dict[str, Any]:
    """The students whose files are archived."""
    found = archives(read_settings().directory)
    return {"deleted": sorted({each.student for each in found})}


def earlier() -> dict[str, Any]:
    """The names with files that are archived, or are on their way there."""
    directory = read_settings().directory
    begun = ".leaving-"
    leaving = {p.name.removeprefix(begun) for p in directory.iterdir() if p.name.startswith(begun)}
    return {"names": sorted(leaving | set(archived_students()["deleted"]))}


def back(student: str) -> dict[str, Any]:
    """Put the newest archive of a student back in its place."""
    directory = read_settings().directory
    checked(student)
    found = [each for each in archives(directory) if each.student == student]
    if not found:
        raise KeeperRefusedError(f"there is no archive of {student}")
    newest, files = max(found, key=lambda each: each.time), directory / student
    if files.exists() and any(files.iterdir()):
        raise KeeperRefusedError(f"{student} has files again; the archive is {newest.path}")
    fresh = directory / f".back-{student}"
    with locking(directory):
        unpack(newest, fresh, _number(directory, newest))
        if files.exists():
            files.rmdir()
        fresh.rename(files)
    newest.path.unlink(missing_ok=True)
    return {"place": str(files)}


def backup() -> dict[str, Any]:
    """Back the appliance up now."""
    return _backup("run")


def snapshots() -> dict[str, Any]:
    """What there is to restore from."""
    return _backup("snapshots")


def meaning(at: str) -> dict[str, Any]:
    """Which backup a name or a time means."""
    return _backup("meaning", at)


def restore(at: str, student: str, path: str) -> dict[str, Any]:
    """Bring a student's files back from a backup, beside those of today."""
    return _backup("restore", at, checked(student), path)


VERBS: dict[str, Callable[..., dict[str, Any]]] = {
    "archive": delete,
    "deleted": archived_students,
    "earlier": earlier,
    "back": back,
    "backup": backup,
    "snapshots": snapshots,
    "meaning": meaning,
    "restore": restore,
}


def main() -> None:
    """Carry out the request on standard input."""
    try:
        verb, *words = map(str, json.loads(sys.stdin.buffer.read(LONGEST)))
        answer = VERBS[verb](*words)
    except (OSError, ValueError, TypeError, KeyError, KeeperRefusedError, ArchiveError) as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer))


def _idle(student: str) -> None:
    for lease in Leases(STATE / "leases", record.read(RECORD).accounts):
        if lease.student == student:
            raise KeeperRefusedError(f"{student} has a session")
    with contextlib.suppress(FileNotFoundError):
        machine = read_untrusted(STATE / "machines" / student, LONGEST).strip()
        if machine not in LOOPBACK:
            raise KeeperRefusedError(f"{student}'s files are on {machine}: archive them there")


def _number(directory: Path, newest: Archive) -> int:
    """The number that a student had, or another where somebody has it now."""
    others = [each for each in archives(directory) if each.path != newest.path]
    taken = {each.number for each in others if each.student != newest.student}
    entries = [each for each in os.scandir(directory) if each.name != newest.student]
    taken |= {entry.stat(follow_symlinks=False).st_uid for entry in entries}
    return free_number(STUDENTS, taken) if newest.number in taken else newest.number


def _backup(*words: str) -> dict[str, Any]:
    """Run the appliance's backup as the system's manager does: it is not for our sandbox."""
    if not BACKUP.exists():
        raise KeeperRefusedError("no backup is set up: appliance backup setup")
    start = ("systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--expand-environment=no")
    done = subprocess.run(
        [*start, str(BACKUP), *words], capture_output=True, text=True, check=False
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise KeeperRefusedError(f"the backup ended unexpectedly: {done.stderr[-400:]}") from None
    return answer


if __name__ == "__main__":
    main()
