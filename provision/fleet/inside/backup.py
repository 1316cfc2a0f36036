"""Back this appliance up with restic: backup VERB [ARGUMENT...], as root; one JSON object out.

What a restore needs to know is in one file that only root reads; secrets come by standard input
and go to restic by its environment and files, never by arguments.
"""

import contextlib
import filecmp
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .program import RefusedError, answer, itself, write

SETTINGS = Path("/etc/appliance/backup.json")
STATE = Path("/var/lib/appliance/backup")
HUB = Path("/var/lib/notebook")
POOL = Path("/etc/notebook/pool.conf")
TRIES = 3
UNIT = "appliance-backup"


def setup() -> dict[str, Any]:
    """Take the settings from standard input, make the repository, start the timer.

    ``repository``, ``password``, ``environment`` (of restic, for S3 and rclone), ``keep``
    (restic's own options of forget, as a mapping) and ``when`` (systemd's calendar).
    """
    settings = json.loads(sys.stdin.read())
    _install(settings["repository"])
    SETTINGS.parent.mkdir(mode=0o755, exist_ok=True)
    write(SETTINGS, json.dumps(settings), mode=0o600)
    # First, for it makes a bucket, too; where there is none all else is tried for minutes.
    if _restic("init", check=False).returncode:
        _restic("cat", "config")
    _unit(".service", f"[Service]\nType=oneshot\nExecStart={itself()} run\n")
    _unit(
        ".timer",
        f"[Timer]\nOnCalendar={settings.get('when', 'daily')}\nPersistent=true\n"
        "RandomizedDelaySec=600\n\n[Install]\nWantedBy=timers.target\n",
    )
    for order in (["daemon-reload"], ["enable", "--quiet", "--now", f"{UNIT}.timer"]):
        subprocess.run(["systemctl", *order], check=True, capture_output=True)
    return {"repository": settings["repository"]}


def _install(repository: str) -> None:
    """Have what a repository takes; a newly made root disk may lack it."""
    programs = ("restic", "rclone") if repository.startswith("rclone:") else ("restic",)
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-q"], ["install", "-y", "--no-install-recommends", *missing]):
        done = subprocess.run(
            ["apt-get", *words], capture_output=True, text=True, env=env, check=False
        )
    if done.returncode:
        told = done.stderr.strip()[-300:]
        raise RefusedError(f"{' and '.join(missing)} cannot be installed: {told}")


def run() -> dict[str, Any]:
    """Back up. Files that change meanwhile are taken again, and those that never rest are told."""
    _install(_settings()["repository"])
    students = _students()
    hub = STATE / "hub"
    tries = 0
    while True:
        tries += 1
        begun = time.time_ns()
        _copy_hub(hub)
        places = [
            p
            for p in (
                students,
                hub,
                Path("/etc/notebook"),
                Path("/etc/appliance"),
                Path("/etc/ssh/authorized_keys.d"),
            )
            if p.exists()
        ]
        done = _restic(
            *("backup", "--json", "--quiet", "--host", "appliance", "--tag", "appliance"),
            *(f"--exclude={SETTINGS}", *map(str, places)),
            check=False,
        )
        if done.returncode not in (0, 3):
            raise RefusedError(f"restic: {done.stderr.strip()[-400:]}")
        unread = done.stderr.strip()[-400:] if done.returncode == 3 else ""
        changed = sorted(map(str, _changed(students, begun)))
        if not (changed or unread) or tries == TRIES:
            break
    summary = json.loads(done.stdout.splitlines()[-1])
    result = {
        "snapshot": summary["snapshot_id"][:8],
        "time": time.time(),
        "tries": tries,
        "consistent": not changed and not unread,
        "changed": changed[:20],
        "unread": unread,
    }
    if keep := _settings().get("keep"):
        words = [word for name, value in keep.items() for word in (f"--keep-{name}", str(value))]
        # Of all together: which folders there are to back up may have changed meanwhile.
        together = ("--tag", "appliance", "--group-by", "host,tags")
        _restic("forget", "--quiet", "--prune", *together, *words)
    write(STATE / "last.json", json.dumps(result))
    return result


def snapshots() -> dict[str, Any]:
    """What there is to restore from."""
    found = json.loads(_restic("snapshots", "--json", "--tag", "appliance").stdout) or []
    return {"snapshots": [{"id": each["short_id"], "time": each["time"]} for each in found]}


def verify() -> dict[str, Any]:
    """Prove the newest backup by restoring all of it, and compare it with what is here.

    A file that was written to since may differ; one that was not must be the same.
    """
    snapshot = _at("latest")
    taken = json.loads((STATE / "last.json").read_text())["time"]
    _restic("check", "--quiet")
    with _scratch() as place:
        _restic("restore", snapshot, "--target", str(place))
        files, wrong = 0, []
        for root in (_students(), Path("/etc/notebook")):
            for path in root.rglob("*"):
                if path.is_symlink() or not path.is_file() or path.stat().st_ctime > taken - 5:
                    continue
                files += 1
                copy = place / path.relative_to("/")
                if not copy.is_file() or not filecmp.cmp(path, copy, shallow=False):
                    wrong.append(str(path))
        copied = place / (STATE / "hub" / "jupyterhub.sqlite").relative_to("/")
        if copied.exists():
            with contextlib.closing(sqlite3.connect(copied)) as database:
                if database.execute("pragma integrity_check").fetchone() != ("ok",):
                    wrong.append(str(copied))
        restored = sum(1 for path in place.rglob("*") if path.is_file())
    if wrong:
        raise RefusedError(f"not as they were: {', '.join(wrong[:5])}")
    return {"snapshot": snapshot, "restored": restored, "compared": files}


def restore(snapshot: str, student: str, path: str) -> dict[str, Any]:
    """Bring a student's files back as they were, beside those that are there now.

    They appear in a new folder in the student's own; nothing of today is overwritten.

    Args:
        snapshot: its name, ``latest``, or a time such as 2026-11-20 or 2026-11-20T15:00.
        student: whose.
        path: a file or folder below the student's folder; ``.`` for all.
    """
    identity = _at(snapshot)
    home = _students() / student
    wanted = os.path.normpath(home / path)
    if "/" in student or student.startswith(".") or not f"{wanted}/".startswith(f"{home}/"):
        raise RefusedError(f"{path!r} is not below {home}")
    with _scratch(_students()) as place:
        _restic("restore", identity, "--target", str(place), "--include", wanted)
        found = place / Path(wanted).relative_to("/")
        if not found.exists() or not found.resolve().is_relative_to(place.resolve()):
            raise RefusedError(f"{identity} has no {wanted}")
        if not home.exists():
            (place / home.relative_to("/")).rename(home)
            return {"student": student, "snapshot": identity, "place": str(home)}
        name = f"restored-{identity}-{time.strftime('%H%M%S')}"
        fresh = place / name
        owner = home.lstat().st_uid
        fresh.mkdir(mode=0o700)
        found.rename(fresh / (student if path == "." else found.name))
        for each in (fresh, *fresh.rglob("*")):
            os.chown(each, owner, owner, follow_symlinks=False)
        fresh.rename(home / name)
    return {"student": student, "snapshot": identity, "place": str(home / name)}


def restore_all(snapshot: str) -> dict[str, Any]:
    """Bring everything back to a newly made appliance: students' files and the hub's accounts.

    What is there now and not in the backup stays.
    """
    identity = _at(snapshot)
    services = ("notebook", "sshd-pool")
    subprocess.run(["systemctl", "stop", *services], check=True)
    try:
        _restic("restore", identity, "--target", "/", "--include", str(_students()))
        with _scratch() as place:
            hub = STATE / "hub"
            _restic("restore", identity, "--target", str(place), "--include", str(hub))
            owner = HUB.stat()
            for path in sorted((place / hub.relative_to("/")).iterdir()):
                if path.is_file():
                    shutil.copy2(path, HUB / path.name)
                    os.chown(HUB / path.name, owner.st_uid, owner.st_gid)
    finally:
        subprocess.run(["systemctl", "start", *services], check=False)
    return {"snapshot": identity}


def _at(wanted: str) -> str:
    """The snapshot that a name or a time means: the last one not after it."""
    known = snapshots()["snapshots"]
    if not known:
        raise RefusedError("there is no backup yet")
    if wanted == "latest":
        return str(known[-1]["id"])
    if any(each["id"] == wanted for each in known):
        return wanted
    day = wanted if "T" in wanted else f"{wanted}T23:59:59"
    before = [each["id"] for each in known if each["time"][: len(day)] <= day]
    if not before:
        raise RefusedError(f"no backup is as old as {wanted}; the first is of {known[0]['time']}")
    return str(before[-1])


def _copy_hub(target: Path) -> None:
    """Copy the hub's state; its database as one consistent whole, by SQLite itself."""
    target.mkdir(mode=0o700, exist_ok=True)
    for path in HUB.iterdir() if HUB.is_dir() else ():
        if path.name == "jupyterhub.sqlite":
            with (
                contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source,
                contextlib.closing(sqlite3.connect(target / path.name)) as copy,
            ):
                source.backup(copy)
        elif path.is_file() and not path.name.startswith("jupyterhub.sqlite"):
            shutil.copy2(path, target / path.name)


def _changed(root: Path, since: int) -> Iterator[Path]:
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory, name)
            with contextlib.suppress(FileNotFoundError):
                if path.lstat().st_ctime_ns > since:
                    yield path


def _students() -> Path:
    for line in POOL.read_text().splitlines():
        key, mark, value = line.partition("=")
        if mark and key.strip() == "directory":
            return Path(value.strip())
    raise RefusedError(f"{POOL} names no directory")


@contextlib.contextmanager
def _scratch(beside: Path = STATE) -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix=".restore-", dir=beside))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _settings() -> dict[str, Any]:
    try:
        settings: dict[str, Any] = json.loads(SETTINGS.read_text())
    except FileNotFoundError:
        raise RefusedError("no backup is set up: appliance backup setup") from None
    return settings


def _restic(*words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    settings = _settings()
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": "/root",
        "RESTIC_CACHE_DIR": "/var/cache/appliance-backup",
        "RESTIC_REPOSITORY": settings["repository"],
        "RESTIC_PASSWORD": settings["password"],
        **settings.get("environment", {}),
    }
    argv = ["restic", *words]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RefusedError(f"restic {words[0]}: {done.stderr.strip()[-400:]}")
    return done


def _unit(kind: str, text: str) -> None:
    head = "[Unit]\nDescription=Backup of the appliance\n\n"
    Path(f"/etc/systemd/system/{UNIT}{kind}").write_text(head + text)


VERBS: dict[str, Callable[..., dict[str, Any]]] = {
    "setup": setup,
    "run": run,
    "snapshots": snapshots,
    "verify": verify,
    "restore": restore,
    "restore-all": restore_all,
}


def main() -> None:
    """Carry out one verb; others wait for it."""
    for place in (STATE.parent, STATE):  # the age of the last backup is no secret
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(0o711)
    answer(VERBS, lock=STATE / "lock", umask=0o077)
