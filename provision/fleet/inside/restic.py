"""How restic is called: with which settings, and with what is done about its locks.

What it reads and writes may belong to people who want it to follow a link of theirs: it sees
those places in a view of its own, in which no link leads anywhere.
"""

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from .program import RefusedError, read

SETTINGS = Path("/etc/appliance/backup.json")
TAG = "appliance"
LOCKED = 11  # restic's exit code since 0.17
# A mount in a private namespace, on the place itself; ``mount_setattr`` reaches what is below.
VIEW = (
    'options=$1; count=$2; shift 2; while [ "$count" -gt 0 ]; do'
    ' mount --rbind -o "$options" "$1" "$1" || exit 1; shift; count=$((count - 1)); done; exec "$@"'
)


def settings() -> dict[str, Any]:
    """The settings of this appliance's backup.

    Raises:
        RefusedError: there are none.
    """
    if found := read(SETTINGS):
        return found
    raise RefusedError(
        f"{SETTINGS} cannot be read: appliance backup setup"
        if SETTINGS.exists()
        else "no backup is set up: appliance backup setup"
    )


def restic(
    *words: str,
    check: bool = True,
    given: Mapping[str, Any] | None = None,
    seen: Sequence[Path] = (),
    write: bool = False,
) -> "subprocess.CompletedProcess[str]":
    """Run restic to its end.

    Args:
        words: its arguments.
        check: refuse what fails.
        given: settings to try; None: those that are set up.
        seen: places in which no link is followed.
        write: it may write there.

    Raises:
        RefusedError: it failed and ``check`` is set; with its last words.
    """
    given = given or settings()
    argv = [*_view(seen, write=write), "restic", *words]
    done = _run(argv, given)
    if _is_locked(done) and unlock(given):
        done = _run(argv, given)
    if check and done.returncode:
        raise RefusedError(f"restic {words[0]}: {last_words(done)}")
    return done


@contextlib.contextmanager
def stream(*words: str) -> Iterator[IO[bytes]]:
    """What restic prints, while it does.

    Raises:
        RefusedError: it failed in the end; with its last words.
    """
    given, pipe = settings(), subprocess.PIPE
    argv, env = ["restic", *words], environment(given)
    with subprocess.Popen(argv, env=env, stdout=pipe, stderr=pipe, stdin=subprocess.DEVNULL) as ran:
        assert ran.stdout is not None and ran.stderr is not None  # noqa: S101 (both are pipes)
        try:
            yield ran.stdout
            ran.stdout.read()
        except BaseException:
            ran.kill()
            raise
        told = ran.stderr.read().decode(errors="replace").strip()
    if ran.returncode:
        raise RefusedError(f"restic {words[0]}: {told[-400:]}")


def last_words(done: "subprocess.CompletedProcess[str]") -> str:
    """The end of what restic said."""
    return (done.stderr.strip() or done.stdout.strip())[-400:]


def literally(path: str) -> str:
    """A path as a pattern of restic's that means this path and nothing else."""
    return re.sub(r"([\\*?\[\]])", r"\\\1", path)


def unlock(given: Mapping[str, Any]) -> bool:
    """Remove the locks of runs that died; whether there is none left.

    restic does so itself where the lock is of this machine and no process has its number. After a
    power cut another process may have it.
    """
    _run(["restic", "unlock", "--quiet"], given)
    left = _run(["restic", "list", "locks", "--no-lock", "--quiet"], given).stdout.split()
    found = [_run(["restic", "cat", "lock", each, "--no-lock"], given) for each in left]
    if any(done.returncode == 0 and not _dead(json.loads(done.stdout)) for done in found):
        return False
    if left:
        _run(["restic", "unlock", "--quiet", "--remove-all"], given)
    return True


def _dead(lock: Mapping[str, Any]) -> bool:
    """Whether a lock is of this machine, and no restic has the number of its process."""
    if lock.get("hostname") != os.uname().nodename:
        return False
    try:
        return "restic" not in Path(f"/proc/{int(lock['pid'])}/comm").read_text()
    except OSError:
        return True


def _is_locked(done: "subprocess.CompletedProcess[str]") -> bool:
    return done.returncode == LOCKED or (
        done.returncode != 0 and "repository is already locked" in done.stderr
    )


def _view(places: Sequence[Path], *, write: bool) -> list[str]:
    if not places:
        return []
    options = "nosymfollow=recursive" + ",ro=recursive" * (not write)
    alone = ("unshare", "--mount", "--propagation", "private")
    return [*alone, "sh", "-c", VIEW, "view", options, str(len(places)), *map(str, places)]


def _run(argv: Sequence[str], given: Mapping[str, Any]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        argv,
        env=environment(given),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def environment(given: Mapping[str, Any]) -> dict[str, str]:
    """restic's environment: secrets are no arguments."""
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": "/root",
        "RESTIC_CACHE_DIR": "/var/cache/appliance-backup",
        "RESTIC_REPOSITORY": given["repository"],
        "RESTIC_PASSWORD": given["password"],
        **given.get("environment", {}),
    }
