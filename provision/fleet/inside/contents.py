"""What is in a backup, what is left out, and how the parts that change are taken.

A machine that is restored on a fresh appliance is the machine that was backed up, but for
``LEFT_OUT``. docs/backup.md tells both lists.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .own import ADMIN_KEYS, HUB
from .program import RefusedError, write
from .restic import SETTINGS, literally

STATE = Path("/var/lib/appliance/backup")
PATIENCE = 900.0  # seconds that one program of these waits until another has done its work
TAKEN = STATE / "hub"  # the hub's own directory, as it was when the backup began
PASSWORDS = STATE / "passwords"  # of the administrators, hashed
POOL = Path("/etc/notebook/pool.conf")
DATABASE = "jupyterhub.sqlite"
DATABASE_SECONDS = 30
# Besides the students' files, the administrators' homes, and the hub's directory.
CONFIGURATION = (
    *("/etc/notebook", "/etc/appliance", "/etc/hostname", ADMIN_KEYS),
    *("/etc/grader/tokens", "/etc/grader/client"),
)
# Patterns, and why they are not in a backup or do not come back from it.
LEFT_OUT = {
    "/etc/appliance/backup.json": "its password opens the backup: it is kept off the appliance",
    "/etc/ssh/ssh_host_*": "a machine's own: the fresh one has keys, which you have compared",
    "/etc/ssh/ssh_known_hosts": "made of them at each start",
    "/etc/ssh/pool_authorized_keys": "made of the hub's key at each start",
    "/etc/machine-id": "a machine's own",
    "/var/lib/notebook/leases": "of the sessions that ran",
    "/home/students/.restore-*": "what a restore that was cut off has left",
    "/home/*/.cache": "made again when it is needed",
    "/home/nb*": "sessions' own homes, empty",
    "/var/lib/appliance/*": "of the fleet's verbs: how far they have come on this machine",
    "/var/log/*": "what this machine has said",
    "/var/mail/*": "what this machine has said",
    "/usr/*": "packages and roles: the fresh appliance has them, or `upgrade` brings them",
    "/opt/*": "Sage and the notebook: the fresh appliance has them, or `upgrade` brings them",
}
# Run as the hub's user: in its directory a link may lead anywhere, and it may hold a lock for ever.
COPY = """
import contextlib, sqlite3, sys
whole = sqlite3.connect(":memory:")
name = "file:" + sys.argv[1] + "?mode=rw"  # it must be there
with contextlib.closing(sqlite3.connect(name, timeout=5, uri=True)) as source:
    source.execute("begin").execute("select count(*) from sqlite_master").fetchone()
    source.backup(whole)
found = whole.execute("pragma integrity_check").fetchone()[0]
if found != "ok":
    sys.exit(found)
sys.stdout.buffer.write(whole.serialize())
"""


def students() -> Path:
    """The directory of the students' directories.

    Raises:
        RefusedError: the pool's settings name none.
    """
    for line in POOL.read_text().splitlines():
        key, mark, value = line.partition("=")
        if mark and key.strip() == "directory":
            return Path(value.strip())
    raise RefusedError(f"{POOL} names no directory")


def lock_of_backups() -> Path:
    """The lock that all hold who work on the backup's directory, which is made here."""
    for place in (STATE.parent, STATE):  # the age of the last backup is no secret
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(0o711)
    return STATE / "lock"


def administrators() -> list[pwd.struct_passwd]:
    """Whoever has keys that let in, but for root."""
    found = []
    for path in sorted(Path(ADMIN_KEYS).iterdir()) if Path(ADMIN_KEYS).is_dir() else ():
        with contextlib.suppress(KeyError):
            found.append(pwd.getpwnam(path.name))
    return [each for each in found if each.pw_uid]


def writable_by_others() -> list[Path]:
    """Places of a backup in which somebody else than root may put a link."""
    homes = [Path(each.pw_dir) for each in administrators()]
    return [path for path in (students(), *homes) if path.is_dir()]


def places() -> list[Path]:
    """All that goes into a backup."""
    rest = (TAKEN, PASSWORDS, *map(Path, CONFIGURATION))
    return [*writable_by_others(), *(path for path in rest if path.exists())]


def exclusions() -> list[str]:
    """Patterns of restic's for what is below these and left out."""
    files = [f"{literally(str(students()))}/.{kind}-*" for kind in ("restore", "back", "new")]
    homes = [f"{literally(each.pw_dir)}/.cache" for each in administrators()]
    return [str(SETTINGS), *files, *homes]


def take() -> str:
    """Copy what changes while it is read: the hub's directory, its database as one whole.

    Returns:
        What is wrong with the database, of which the last good copy stays; empty: nothing.

    Raises:
        RefusedError: the disk is full.
    """
    hub, fresh = Path(HUB), TAKEN.with_name("hub.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    if not hub.is_dir():
        return "there is no hub"
    copy_tree(hub, fresh, "leases", f"{DATABASE}*")
    wrong = ""
    try:
        (fresh / DATABASE).write_bytes(_database(hub))
    except RefusedError as error:
        wrong = str(error)
        with contextlib.suppress(FileNotFoundError):
            shutil.copy2(TAKEN / DATABASE, fresh / DATABASE)
            wrong += "; the copy of an earlier backup is kept"
    shutil.rmtree(TAKEN, ignore_errors=True)
    fresh.rename(TAKEN)
    names = {each.pw_name for each in administrators()}
    rows = [line.split(":") for line in Path("/etc/shadow").read_text().splitlines()]
    write(PASSWORDS, "".join(f"{r[0]}:{r[1]}\n" for r in rows if r[0] in names), mode=0o600)
    return wrong


def copy_tree(source: Path, target: Path, *left: str) -> None:
    """Copy a directory whose owner is not trusted: tar opens one name after another, by no link.

    Args:
        source: the directory.
        target: a directory of root's, in which root alone may write.
        left: patterns of what is left out at its top.

    Raises:
        RefusedError: the disk is full, or it cannot be read.
    """
    words = ("--anchored", "--warning=no-file-ignored", *(f"--exclude=./{each}" for each in left))
    with open(os.memfd_create("told"), "w+b") as told:  # noqa: PTH123 (in memory, without a path)
        made = subprocess.Popen(
            ["tar", "-C", str(source), *words, "-c", "."], stdout=subprocess.PIPE, stderr=told
        )
        with made:
            done = subprocess.run(
                ["tar", "-C", str(target), "--numeric-owner", "-xp"],
                stdin=made.stdout, capture_output=True, check=False,
            )  # fmt: skip
        told.seek(0)
        why = (done.stderr or told.read()).decode(errors="replace").strip()
    if done.returncode or made.returncode not in (0, 1):  # 1: a file grew meanwhile
        raise RefusedError(f"{source} cannot be copied: {why[-300:]}")


def _database(hub: Path) -> bytes:
    """The hub's database, read by the hub's user.

    Raises:
        RefusedError: it is locked, damaged or not there.
    """
    owner = hub.lstat()
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", COPY, str(hub / DATABASE)],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=DATABASE_SECONDS, check=False,
            cwd="/", user=owner.st_uid, group=owner.st_gid, extra_groups=[],
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise RefusedError(f"{DATABASE}: not read in {DATABASE_SECONDS} s") from None
    if done.returncode or not done.stdout:
        told = done.stderr.decode(errors="replace").strip().splitlines() or ["it is empty"]
        raise RefusedError(f"{DATABASE}: {told[-1]}")
    return done.stdout


@contextlib.contextmanager
def scratch(beside: Path = STATE) -> Iterator[Path]:
    """A directory of root's for a while; ``sweep`` removes what a killed run has left."""
    place = Path(tempfile.mkdtemp(prefix=".restore-", dir=beside))
    try:
        yield place
    finally:
        remove(place)


def sweep() -> None:
    """Remove what restores that were cut off have left."""
    for place in (STATE, students()):
        for left in place.glob(".restore-*"):
            remove(left)


def remove(path: Path) -> None:
    """Remove a tree, however deep; links in it lead nowhere."""
    subprocess.run(["rm", "-rf", "--one-file-system", "--", str(path)], check=False)
