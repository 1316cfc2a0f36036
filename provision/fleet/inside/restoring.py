"""What comes back of a backup: one student's files beside those of today, or everything."""

import contextlib
import json
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from provision.waiting import until

from .contents import (
    CONFIGURATION,
    DATABASE,
    PASSWORDS,
    STATE,
    TAKEN,
    administrators,
    copy_tree,
    remove,
    scratch,
    students,
    writable_by_others,
)
from .own import ADMIN_KEYS, HUB
from .program import SSHD, RefusedError, attempt, pool_accounts, run, write
from .restic import literally, restic
from .snapshots import Snapshot

NAME = re.compile(r"[a-z0-9_][a-z0-9._@+-]*")
NUMBERS = range(50000, 60000)  # of students: `provision.guest.pool.files`
REPLACED = STATE / "replaced"  # what the last restore of everything has replaced
SERVICES = ("notebook", "notebook-proxy", "sshd-pool")
RULES = ("nftables", "notebook-firewall", "notebook-egress", "notebook-usage")
SLICES = Path("/sys/fs/cgroup/user.slice")
END_SECONDS = 60


def one(snapshot: Snapshot, student: str, path: str) -> dict[str, Any]:
    """Bring a student's files back as they were, beside those that are there now.

    Args:
        snapshot: from which.
        student: whose.
        path: a file or folder below the student's folder, by its name; ``.`` for all.

    Raises:
        RefusedError: there is no such thing in it.
    """
    directory = students()
    home = directory / student
    wanted = Path(os.path.normpath(home / (path or ".")))
    if not NAME.fullmatch(student) or "\0" in path or not wanted.is_relative_to(home):
        raise RefusedError(f"{path!r} is not below {home}")
    told = {"student": student, "snapshot": snapshot.name, "said": snapshot.said}
    with scratch(directory) as place:
        pattern = literally(str(wanted))
        restic("restore", snapshot.identity, "--target", str(place), f"--include={pattern}")
        found = place / wanted.relative_to("/")
        if not _is_below(found, place):
            raise RefusedError(f"{snapshot.said} has no {wanted}")
        if not os.path.lexists(home):
            number = _free_number(found.lstat().st_uid, besides=student)
            whole = place / home.relative_to("/")
            _give(whole, number)
            whole.rename(home)
            return {**told, "place": str(home)}
        fresh = place / f"restored-{snapshot.name}-{time.strftime('%H%M%S')}"
        fresh.mkdir(mode=0o700)
        found.rename(fresh / (student if wanted == home else found.name))
        _move_into(fresh, home)
    return {**told, "place": str(home / fresh.name)}


def everything(snapshot: Snapshot) -> dict[str, Any]:
    """Bring everything back: files over those of today, accounts beside those of today.

    Sessions end first. What is there now and not in the backup stays; what the backup replaces
    of the hub and of /etc is kept in ``REPLACED``.

    Raises:
        RefusedError: the backup cannot be read; then nothing was changed.
    """
    with scratch() as place:
        wanted = [str(TAKEN), str(PASSWORDS), *CONFIGURATION]
        patterns = [f"--include={literally(each)}" for each in wanted]
        restic("restore", snapshot.identity, "--target", str(place), *patterns)
        if not (place / TAKEN.relative_to("/")).is_dir():
            raise RefusedError(f"{snapshot.said} has nothing of the hub: it is no appliance's")
        ended = _end_sessions()
        try:
            kept = _files_back(snapshot)
            shutil.rmtree(REPLACED, ignore_errors=True)
            REPLACED.mkdir(mode=0o700)
            left = _configuration_back(place)
            accounts = _hub_back(place / TAKEN.relative_to("/"))
            _passwords_back(place / PASSWORDS.relative_to("/"))
        finally:
            _serve()
    return {
        **{"snapshot": snapshot.name, "said": snapshot.said, "ended": ended, "kept": accounts},
        **{"renumbered": kept, "left": left},
    }


def plan(snapshot: Snapshot) -> dict[str, Any]:
    """What ``everything`` would do: which snapshot, and whose sessions would end."""
    at_work = [each for each in _pool() if _has_process(each)]
    return {"snapshot": snapshot.identity, "said": snapshot.said, "sessions": len(at_work)}


def _is_below(path: Path, top: Path) -> bool:
    """Whether it is there, by no link on the way."""
    between = [each for each in path.parents if each != top and each.is_relative_to(top)]
    return os.path.lexists(path) and not any(each.is_symlink() for each in between)


def _move_into(fresh: Path, home: Path) -> None:
    """Put a folder into a student's own, which is the student's to fill with links."""
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _give(fresh, os.fstat(folder).st_uid)
        os.rename(fresh, fresh.name, dst_dir_fd=folder)
    finally:
        os.close(folder)


def _give(path: Path, number: int) -> None:
    """Make a tree a student's, however deep; no link in it is followed."""
    run("chown", "-RhP", f"{number}:{number}", "--", str(path))


def _used_numbers(besides: str = "") -> Iterator[int]:
    """The numbers of students and of archives."""
    for entry in os.scandir(students()):
        if entry.name == ".archive":
            yield from (int(p[-3]) for e in os.scandir(entry) if len(p := _parts(e.name)) > 3)
        elif entry.name != besides and entry.is_dir(follow_symlinks=False):
            yield entry.stat(follow_symlinks=False).st_uid


def _parts(name: str) -> list[str]:
    """NAME, NUMBER, TIME and an end of an archive; see ``pool.archives``."""
    parts = name.removesuffix(".gz").rsplit(".", 3)
    return parts if len(parts) == 4 and parts[1].isdigit() else []


def _free_number(number: int, *, besides: str) -> int:
    """A student's number, or the next free one where somebody else has it now."""
    taken = set(_used_numbers(besides))
    if number in NUMBERS and number not in taken:
        return number
    return max((each for each in taken if each in NUMBERS), default=NUMBERS[0] - 1) + 1


def _files_back(snapshot: Snapshot) -> list[str]:
    """Students' files and administrators' homes; whoever of today lost a number gets another."""
    directory = students()
    today = {entry.name: entry.stat(follow_symlinks=False).st_uid for entry in _homes(directory)}
    seen = writable_by_others()
    patterns = [f"--include={literally(str(path))}" for path in seen]
    words = ("restore", snapshot.identity, "--target", "/", *patterns)
    restic(*words, seen=seen, write=True)
    now = {entry.name: entry.stat(follow_symlinks=False).st_uid for entry in _homes(directory)}
    fixed = {name: number for name, number in now.items() if today.get(name) != number}
    renumbered = []
    for name, number in now.items():
        if name not in fixed and number in fixed.values():
            _give(directory / name, _free_number(0, besides=name))
            renumbered.append(name)
        elif name in today and name in fixed:
            _give(directory / name, number)
    return renumbered


def _homes(directory: Path) -> Iterator["os.DirEntry[str]"]:
    for entry in os.scandir(directory):
        if NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
            yield entry


def _configuration_back(place: Path) -> list[str]:
    """The parts of /etc; those that this machine cannot have are left, and told."""
    left = []
    for name in CONFIGURATION:
        source, target = place / name[1:], Path(name)
        if not os.path.lexists(source):
            continue
        if name == "/etc/notebook" and (missing := _missing_accounts(source / SSHD.name)):
            left.append(f"{name}: this machine has no {', '.join(missing)}: appliance configure")
            continue
        if os.path.lexists(target):
            (REPLACED / "etc").mkdir(exist_ok=True)
            run("cp", "-a", "--parents", "--", str(target), str(REPLACED))
        if name == ADMIN_KEYS:
            _merge_keys(source)
        elif source.is_dir():
            copy_tree(source, target)
        else:
            run("cp", "-a", "--remove-destination", "--", str(source), str(target))
    run("hostname", "-F", "/etc/hostname", check=False)
    name = Path("/etc/hostname").read_text().strip()
    text = Path("/etc/hosts").read_text()
    write(Path("/etc/hosts"), re.sub(r"(?m)^127\.0\.1\.1 .*$", f"127.0.1.1 {name}", text))
    return left


def _missing_accounts(settings: Path) -> list[str]:
    """Accounts of a pool that this machine does not have."""
    names = pool_accounts(settings)
    return [name for name in names if attempt("getent", "passwd", name).returncode]


def _merge_keys(source: Path) -> None:
    """Administrators' keys of the backup, besides those of today: whoever restores stays in."""
    for path in sorted(source.iterdir()):
        target = Path(ADMIN_KEYS, path.name)
        now = target.read_text().splitlines() if target.exists() else []
        write(target, "".join(f"{line}\n" for line in _union(now, path.read_text().splitlines())))


def _union(first: Iterable[str], second: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*first, *second]))


def _hub_back(source: Path) -> list[str]:
    """The hub's directory, made new beside the one of today and then put in its place.

    Returns:
        The names that have an account today and have none in the backup.
    """
    hub = Path(HUB)
    fresh = hub.with_name(f".{hub.name}.new")
    remove(fresh)
    fresh.mkdir(mode=0o700)
    copy_tree(hub, fresh, "leases", f"{DATABASE}-*")
    today, audit = _object(fresh / "accounts.json"), _text(fresh / "audit.jsonl").splitlines()
    copy_tree(source, fresh)
    accounts, kept = merge_accounts(today, _object(fresh / "accounts.json"))
    write(fresh / "accounts.json", json.dumps(accounts, indent=1, sort_keys=True), mode=0o600)
    if lines := _union(_text(fresh / "audit.jsonl").splitlines(), audit):
        write(fresh / "audit.jsonl", "".join(f"{line}\n" for line in lines), mode=0o600)
    _sign_out(fresh / DATABASE)
    owner = run("systemctl", "show", "--value", "-p", "User", "notebook").strip()
    run("chown", "-RhP", f"{owner}:", "--", str(fresh))
    _exchange(hub, fresh, REPLACED / hub.name)
    return kept


def _exchange(directory: Path, fresh: Path, aside: Path) -> None:
    """Give a directory another content; meanwhile it is root's, and nobody puts a link there.

    Cut off, it stays root's: the hub does not start on half of it, and the next restore goes on.
    """
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        owner = fresh.stat()
        os.fchown(folder, 0, 0)
        aside.mkdir(mode=0o700)
        copy_tree(directory, aside)
        os.sync()
        for entry in list(os.scandir(directory)):
            remove(Path(entry.path))
        for entry in list(os.scandir(fresh)):
            os.rename(entry.path, entry.name, dst_dir_fd=folder)
        fresh.rmdir()
        os.sync()
        os.fchown(folder, owner.st_uid, owner.st_gid)
    finally:
        os.close(folder)


def merge_accounts(
    today: dict[str, Any], before: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Accounts of the backup, besides those of today.

    Who is there today keeps password and lock: they were changed because somebody wanted it. Only
    where nobody but the administrator is there yet, on a fresh appliance, all is the backup's.

    Returns:
        The accounts, and the names that are there today only.
    """
    names = {each.pw_name for each in administrators()}
    fresh = set(today) <= names
    return before | ({} if fresh else today), sorted(set(today) - set(before))


def _sign_out(database: Path) -> None:
    """End what was open when the backup was made: a cookie or token may have been taken back."""
    if database.is_symlink() or not database.is_file():
        return
    with contextlib.closing(sqlite3.connect(database)) as opened, opened:
        known = {row[0] for row in opened.execute("select name from sqlite_master")}
        for table in {"api_tokens", "oauth_codes"} & known:
            opened.execute(f"delete from {table}")  # noqa: S608 (ours)
        if "users" in known:
            opened.execute("update users set cookie_id = lower(hex(randomblob(16)))")


def _passwords_back(source: Path) -> None:
    """The administrators' own passwords, where this machine has given them none."""
    shadow = Path("/etc/shadow").read_text().splitlines()
    now = {row[0]: row[1] for row in (line.split(":") for line in shadow)}
    for line in _text(source).splitlines():
        name, _, hashed = line.partition(":")
        if now.get(name, hashed).startswith(("!", "*")) and not hashed.startswith(("!", "*")):
            subprocess.run(["chpasswd", "-e"], input=f"{name}:{hashed}\n", text=True, check=False)


def _text(path: Path) -> str:
    """What is in a file; empty: there is none, or the hub has put something else there."""
    with contextlib.suppress(OSError):
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        with os.fdopen(os.open(path, flags), errors="replace") as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return file.read()
    return ""


def _object(path: Path) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        found = json.loads(_text(path))
        return found if isinstance(found, dict) else {}
    return {}


def _pool() -> list[str]:
    """The numbers of the pool's accounts."""
    told = (run("id", "-u", name, check=False).strip() for name in pool_accounts())
    return [number for number in told if number]


def _has_process(number: str) -> bool:
    """Whether an account has a process, in its own part of the tree of services."""
    with contextlib.suppress(OSError):
        return "populated 1" in (SLICES / f"user-{number}.slice" / "cgroup.events").read_text()
    return False


def _end_sessions() -> int:
    """End the hub, and every session; returns how many there were.

    Raises:
        RefusedError: one does not end; then the hub serves again.
    """
    run("systemctl", "stop", *SERVICES)
    busy = [number for number in _pool() if _has_process(number)]

    def end_all() -> bool:
        left = [number for number in busy if _has_process(number)]
        for number in left:
            kill = ("systemctl", "kill", "--signal=SIGKILL", f"user-{number}.slice")
            run(*kill, check=False)
        return not left

    if not until(end_all, END_SECONDS):
        _serve()
        raise RefusedError("the sessions do not end; nothing was restored")
    return len(busy)


def _serve() -> None:
    """Start what serves, on what is there now."""
    run("systemctl", "restart", "appliance-keys", check=False)
    for unit in RULES:
        run("systemctl", "try-restart", unit, check=False)
    run("systemctl", "start", *SERVICES, check=False)
