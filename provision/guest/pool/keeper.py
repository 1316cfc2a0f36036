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
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from provision.guest.pool.account import read_settings
from provision.guest.pool.archives import END, PLACE, archives
from provision.guest.pool.certificate import checked
from provision.guest.pool.connection import LOOPBACK
from provision.guest.pool.leases import Leases

SOCKET = Path("/run/notebook/keeper.socket")
BACKUP = Path("/usr/local/lib/appliance/backup")
HOSTED = Path("/etc/notebook/hosted.json")
STATE = Path("/var/lib/notebook")
LONGEST = 8192


class RefusedError(Exception):
    """It cannot be done; the message says why."""


async def asked(verb: str, *words: str, place: Path = SOCKET) -> dict[str, Any]:
    """Ask root's service.

    Args:
        verb: of ``VERBS``.
        words: its arguments.
        place: the service's socket.

    Raises:
        RefusedError: it refused, or cannot be asked.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(place)
        with contextlib.closing(writer):
            writer.write(json.dumps([verb, *words]).encode())
            writer.write_eof()
            answer: dict[str, Any] = json.loads(await reader.read())
    except (OSError, ValueError) as error:
        raise RefusedError(f"the service of students' files does not answer: {error}") from error
    if "error" in answer:
        raise RefusedError(answer["error"])
    return answer


def delete(student: str) -> dict[str, Any]:
    """Archive a student's files, then remove them; a failure leaves them where they were."""
    directory = read_settings().directory
    _idle(checked(student))
    files, leaving = directory / student, directory / f".leaving-{student}"
    made = []
    if leaving.exists():  # an earlier run was cut off
        made.append(_archived(student, leaving, directory))
    if files.exists():
        files.rename(leaving)  # whoever signs in now begins with nothing
        try:
            _idle(student)
            made.append(_archived(student, leaving, directory))
        except (OSError, RefusedError):
            if leaving.exists() and not files.exists():
                leaving.rename(files)
            raise
    return {"archives": made}


def deleted() -> dict[str, Any]:
    """The students whose files are archived."""
    found = archives(read_settings().directory)
    return {"deleted": sorted({each.student for each in found})}


def earlier() -> dict[str, Any]:
    """The names with files that are archived, or are on their way there."""
    directory = read_settings().directory
    begun = ".leaving-"
    leaving = {p.name.removeprefix(begun) for p in directory.iterdir() if p.name.startswith(begun)}
    return {"names": sorted(leaving | set(deleted()["deleted"]))}


def back(student: str) -> dict[str, Any]:
    """Put the newest archive of a student back in its place."""
    directory = read_settings().directory
    checked(student)
    found = [each for each in archives(directory) if each.student == student]
    if not found:
        raise RefusedError(f"there is no archive of {student}")
    newest, files = max(found, key=lambda each: each.time), directory / student
    if files.exists() and any(files.iterdir()):
        raise RefusedError(f"{student} has files again; the archive is {newest.path}")
    fresh = directory / f".new-{student}"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    os.chown(fresh, newest.number, newest.number)
    who: dict[str, Any] = {"user": newest.number, "group": newest.number, "extra_groups": []}
    with newest.path.open("rb") as file:  # what is in it is the student's, and so is who unpacks
        _run("tar", "-xzp", "--no-same-owner", "-C", str(fresh), stdin=file, **who)
    if files.exists():
        files.rmdir()
    fresh.rename(files)
    newest.path.unlink()
    return {"place": str(files)}


def backup() -> dict[str, Any]:
    """Back the appliance up now."""
    return _backup("run")


def snapshots() -> dict[str, Any]:
    """What there is to restore from."""
    return _backup("snapshots")


def restore(at: str, student: str, path: str) -> dict[str, Any]:
    """Bring a student's files back from a backup, beside those of today."""
    return _backup("restore", at, checked(student), path)


VERBS: dict[str, Callable[..., dict[str, Any]]] = {
    "archive": delete,
    "deleted": deleted,
    "earlier": earlier,
    "back": back,
    "backup": backup,
    "snapshots": snapshots,
    "restore": restore,
}


def main() -> None:
    """Carry out the request on standard input."""
    try:
        verb, *words = map(str, json.loads(sys.stdin.buffer.read(LONGEST)))
        answer = VERBS[verb](*words)
    except (OSError, ValueError, TypeError, KeyError, RefusedError) as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer))


def _idle(student: str) -> None:
    hosted = json.loads(HOSTED.read_text())
    for lease in Leases(STATE / "leases", hosted["accounts"]):
        if lease.student == student:
            raise RefusedError(f"{student} has a session")
    with contextlib.suppress(FileNotFoundError):
        machine = (STATE / "machines" / student).read_text().strip()
        if machine not in LOOPBACK:
            raise RefusedError(f"{student}'s files are on {machine}: archive them there")


def _archived(student: str, files: Path, directory: Path) -> str:
    number = files.stat(follow_symlinks=False).st_uid
    place = directory / PLACE
    place.mkdir(mode=0o700, exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    whole = place / f"{student}.{number}.{stamp}{END}"
    part = whole.with_suffix(".part")
    try:
        with part.open("wb") as file:
            _run("tar", "-cS", "--use-compress-program=gzip -1", "-C", str(files), ".", stdout=file)
            os.fsync(file.fileno())
        part.rename(whole)
    finally:
        part.unlink(missing_ok=True)
    shutil.rmtree(files)
    return str(whole)


def _backup(*words: str) -> dict[str, Any]:
    """Run the appliance's backup as the system's manager does: it is not for our sandbox."""
    if not BACKUP.exists():
        raise RefusedError("no backup is set up: appliance backup setup")
    start = ("systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--expand-environment=no")
    done = subprocess.run(
        [*start, str(BACKUP), *words], capture_output=True, text=True, check=False
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise RefusedError(f"the backup ended unexpectedly: {done.stderr[-400:]}") from None
    return answer


def _run(*argv: str, **how: Any) -> None:
    done = subprocess.run(argv, stderr=subprocess.PIPE, check=False, **how)
    if done.returncode:
        raise RefusedError(f"{argv[0]}: {done.stderr.decode(errors='replace').strip()[-400:]}")


if __name__ == "__main__":
    main()
