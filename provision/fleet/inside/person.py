"""What this appliance keeps of one person: person VERB NAME, as root; one JSON object out.

``traces`` tells it, ``export`` gives it out as one tar, ``erase`` removes it and signs what it did
with the appliance's own SSH key. What is in the hub's directory is read and changed by the hub's
user: a link there may lead anywhere.
"""

import contextlib
import datetime
import fcntl
import json
import os
import re
import secrets
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .contents import (
    DATABASE,
    PATIENCE,
    TAKEN,
    lock_of_backups,
    remove,
    scratch,
    students,
    take,
)
from .lease import guarding
from .own import HUB
from .program import RefusedError, answer, attempt, read, run, write
from .restic import SETTINGS, TAG, restic

PYTHON = "/opt/notebook/bin/python"
RECORD = Path("/etc/notebook/guest.json")
HOST_KEY = Path("/etc/ssh/ssh_host_ed25519_key")
BEGUN = Path("/var/lib/appliance/erasing.json")  # by a run that was cut off
NAMESPACE = "erasure"  # of the signature
AUDIT = "audit.jsonl"
WISHES = ("limits.json", "messages.json", "lti/people.json", "lti/sent.json")
FILES = ("notices", "machines")  # one each, by the student's name
ROLLS = ".courses/rolls.json"  # of learning platforms, root's
SUMS = "SHA256SUMS"  # of what was handed in, by which it is shown later that nothing has changed
GRADEBOOK = "results/gradebook.csv"  # of a course; written anew whenever something is graded
ASIDE = (".gone-", ".leaving-", ".back-", ".new-")  # before a directory's name, while it moves
KEPT = {
    "the system's journal": "its lines name who signed in; the oldest go as new ones come",
    "the hub's database and accounts in backups": "what a restore of everyone needs; they go with"
    " the backups that `keep` lets go",
    "the lists of hashes in backups": "they show that nothing of the others' has changed; they go"
    " with those backups, too",
}


def traces(name: str) -> dict[str, Any]:
    """What there is of a person, and whether the person may sign in or is at work."""
    found = _as_hub("hub-traces", _check_name(name))
    told = [{"what": what, "path": str(path), "bytes": _size(path)} for what, path in _paths(name)]
    return {
        "files": told,
        "hub": found,
        "configuration": _settings_naming(name),
        "backups": len(_snapshots()),
    }


def export(name: str) -> None:
    """Write all that there is of a person to standard output, as one tar.

    Raises:
        RefusedError: there is nothing, or it cannot be read.
    """
    found = traces(name)
    paths = [str(path).lstrip("/") for _, path in _paths(name)]
    if not (paths or any(found["hub"].values())):
        raise RefusedError(f"nothing is known of {name}")
    with scratch() as place:
        (place / "about.json").write_text(json.dumps({"name": name, **found}, indent=1) + "\n")
        # tar opens one name after another, by no link; 1 is a file that grew meanwhile.
        words = ("--numeric-owner", "--sort=name", "-C", str(place), "about.json", "-C", "/")
        done = subprocess.run(["tar", "-cz", *words, *paths], stderr=subprocess.PIPE, check=False)
    if done.returncode not in (0, 1):
        raise RefusedError(f"tar: {done.stderr.decode(errors='replace').strip()[-400:]}")


def erase(name: str) -> dict[str, Any]:
    """Remove all that there is of a person who has no account any more, and sign a record of it.

    A run that was cut off goes on; each step may be done twice.

    Returns:
        The ``record``, a text, its ``signature``, and what was ``erased`` and ``kept``.

    Raises:
        RefusedError: the person may still sign in, or a step cannot be done.
    """
    there = _as_hub("hub-traces", _check_name(name))
    if there["account"] or there["session"] or there["user"]:
        raise RefusedError(f"{name} may still sign in: delete the account first")
    begun = read(BEGUN)
    if begun.get("name") not in (None, name):
        raise RefusedError(f"the erasure of {begun['name']} was cut off: erase {begun['name']}")
    begun = begun or {"name": name, "pseudonym": f"erased-{secrets.token_hex(4)}", "erased": []}
    for what, step in _steps(name, begun["pseudonym"]):
        if told := step():
            begun["erased"].append({"what": what, **told})
        write(BEGUN, json.dumps(begun), mode=0o600)
    kept = [{"what": what, "why": why} for what, why in KEPT.items() if _applies(what)]
    kept += [
        {"what": place, "why": "as configured: take the name out of appliance.yml and `configure`"}
        for place in _settings_naming(name)
    ]
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    record = json.dumps(
        {
            **{"erasure": 1, "host": os.uname().nodename, "time": now, "name": name},
            **{"pseudonym": begun["pseudonym"], "erased": begun["erased"], "kept": kept},
        },
        indent=1,
    )
    told = {"erased": begun["erased"], "kept": kept}
    return {"record": record, "signature": _sign(record), **told}


def forget_erasure(name: str) -> dict[str, Any]:
    """Forget the erasure too: who asked for it has the record."""
    if read(BEGUN).get("name") == name:
        BEGUN.unlink()
    return {}


def _steps(name: str, pseudonym: str) -> Iterator[tuple[str, Callable[[], dict[str, Any] | None]]]:
    """What is done one after another: first what may fail for a reason that is not here."""
    if SETTINGS.exists():
        yield "backups", lambda: _rewrite(name)
    for what, path in list(_paths(name)):
        yield what, lambda path=path: _remove(path)  # type: ignore[misc]
    yield "lists of hashes", lambda: _leave_lists(name)
    yield "a learning platform's rolls", lambda: _leave_rolls(name)
    yield "the hub's files", lambda: _as_hub("hub-erase", name, pseudonym)
    if TAKEN.exists():
        yield "the copy of the hub's files", _take_again


def _paths(name: str) -> Iterator[tuple[str, Path]]:
    """The files that are a person's own, outside the hub's directory."""
    directory = students()
    for place in (directory / name, *(directory / f"{before}{name}" for before in ASIDE)):
        if place.is_dir() and not place.is_symlink():
            yield "files", place
    made = "[0-9]{5}\\.[0-9]{8}T[0-9]{6}"
    stem = rf"{re.escape(name)}\.{made}\.(tar\.gz|tar\.part|tree)"
    archives = directory / ".archive"
    for path in sorted(archives.iterdir()) if archives.is_dir() else ():
        if re.fullmatch(stem, path.name):
            yield "archive", path
    courses = directory / ".courses"
    for path in sorted(courses.glob(f"*/hand-in/{name}")):
        yield "hand-in", path
    for pattern in _places_of_grades(name):
        yield from (("grades", path) for path in sorted(courses.glob(pattern)))
    for path in sorted(courses.glob(f"*/{GRADEBOOK}")):
        if f",{name}," in path.read_text():
            yield "grades", path


def _places_of_grades(name: str) -> tuple[str, str]:
    """Where root keeps what a person handed in and what came of it, below ``.courses``."""
    return f"*/grades/*/{name}.{'[0-9]' * 5}", f"*/results/*/{name}"


def _remove(path: Path) -> dict[str, Any]:
    told = {"path": str(path), "bytes": _size(path)}
    remove(path)
    return told


def _leave_lists(name: str) -> dict[str, Any] | None:
    """Take a person's files off the lists of what was handed in; the others' lines stay."""
    mine = re.compile(rf"[0-9a-f]+  {re.escape(name)}\.[0-9]{{5}}/")
    changed = []
    for path in sorted((students() / ".courses").glob(f"*/grades/*/{SUMS}")):
        place = os.open(path.parent, os.O_RDONLY)
        try:
            fcntl.flock(place, fcntl.LOCK_EX)  # as who adds to it does
            lines = path.read_text().splitlines(keepends=True)
            left = [line for line in lines if not mine.match(line)]
            if left != lines:
                write(path, "".join(left), mode=0o600)
                changed.append(str(path))
        finally:
            os.close(place)
    return {"path": ", ".join(changed)} if changed else None


def _leave_rolls(name: str) -> dict[str, Any] | None:
    """Take a person off the rolls of learning platforms; who is on one there comes again."""
    path = students() / ROLLS
    rolls = read(path)
    roles = [roll for course in rolls.values() for roll in course.values()]
    if not any(name in names for roll in roles for names in roll.values()):
        return None
    for roll in roles:
        roll.update({role: [n for n in names if n != name] for role, names in roll.items()})
    write(path, json.dumps(rolls), mode=0o600)
    return {"path": str(path)}


def _rewrite(name: str) -> dict[str, Any] | None:
    """Take a person's files out of all backups."""
    directory, day, second = str(students()), "[0-9]" * 8, "[0-9]" * 6
    archived = f"{directory}/.archive/{name}.{'[0-9]' * 5}.{day}T{second}."
    patterns = [
        f"{directory}/{name}",
        *(f"{directory}/{before}{name}" for before in ASIDE),
        *(f"{archived}{end}" for end in ("tar.gz", "tar.part", "tree")),
        f"{directory}/.courses/*/hand-in/{name}",
        *(f"{directory}/.courses/{place}" for place in _places_of_grades(name)),
        f"{directory}/.courses/*/{GRADEBOOK}",
        *(f"{TAKEN}/{place}/{name}" for place in FILES),
    ]
    before = _snapshots()
    words = [f"--exclude={pattern}" for pattern in patterns]
    restic("rewrite", "--forget", "--tag", TAG, *words)
    gone = sorted(before - _snapshots())
    restic("prune", "--quiet")
    return {"rewritten": [each[:8] for each in gone]} if gone else None


def _snapshots() -> set[str]:
    if not SETTINGS.exists():
        return set()
    found = json.loads(restic("snapshots", "--json", "--tag", TAG).stdout) or []
    return {each["id"] for each in found}


def _take_again() -> None:
    """Have the next backup begin with a copy in which the person is not."""
    shutil.rmtree(TAKEN)
    if wrong := take():
        raise RefusedError(wrong)


def _settings_naming(name: str) -> list[str]:
    """The settings that name a person."""
    word = json.dumps(name).encode()
    places = Path("/etc/notebook").glob("*.json")
    return [str(path) for path in sorted(places) if word in path.read_bytes()]


def _applies(what: str) -> bool:
    return SETTINGS.exists() or "backups" not in what


def _sign(record: str) -> str:
    """A signature of the appliance's host key, as ``ssh-keygen -Y verify`` reads it."""
    with scratch() as place:
        (place / "record").write_text(record)
        run("ssh-keygen", "-Y", "sign", "-f", str(HOST_KEY), "-n", NAMESPACE, str(place / "record"))
        return (place / "record.sig").read_text()


def _size(path: Path) -> int:
    if path.is_file():
        return path.lstat().st_size
    told = attempt("du", "-sbx", "--", str(path)).stdout.split()  # it may be gone by now
    return int(told[0]) if told else 0


def _check_name(name: str) -> str:
    from provision.guest.pool.certificate import checked  # noqa: PLC0415 (the guest's copy)

    if name == read(RECORD).get("admin"):
        raise RefusedError(f"{name} administers this notebook")
    return checked(name)


def _as_hub(*words: str) -> dict[str, Any]:
    """Run a verb of this program as the hub's user."""
    owner = Path(HUB).lstat()
    done = subprocess.run(
        [PYTHON, "-I", str(Path(sys.argv[0]).resolve()), *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        cwd="/", user=owner.st_uid, group=owner.st_gid, extra_groups=[],
    )  # fmt: skip
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise RefusedError(f"{words[0]}: {done.stderr.strip()[-400:]}") from None
    if "error" in found:
        raise RefusedError(found["error"])
    return found


def hub_traces(name: str) -> dict[str, Any]:
    """What the hub knows of a person; as the hub's user."""
    from provision.guest.pool.accounts import Accounts  # noqa: PLC0415 (the guest's copy)
    from provision.guest.pool.leases import Leases  # noqa: PLC0415

    hub = Path(HUB)
    leases = Leases(hub / "leases", list(read(RECORD)["accounts"]))
    with _database() as database:
        rows = database.execute("select * from users where name = ?", (name,)).fetchall()
        known = [{key: row[key] for key in ("created", "last_activity")} for row in rows]
    return {
        "account": name in Accounts(hub / "accounts.json").names(),
        "session": any(lease.student == name for lease in leases),
        "user": known[0] if known else None,
        "wishes": {each: told for each in WISHES if (told := read(hub / each).get(name))},
        "files": [str(hub / place / name) for place in FILES if (hub / place / name).exists()],
        "audit": [line for line in _audit() if name in (line.get("student"), line.get("who"))],
    }


def hub_erase(name: str, pseudonym: str) -> dict[str, Any]:
    """Forget a person in the hub's directory; as the hub's user."""
    hub, told = Path(HUB), hub_traces(name)
    for place in FILES:
        (hub / place / name).unlink(missing_ok=True)
    for each in WISHES:
        if name in (found := read(hub / each)):
            write(hub / each, json.dumps({key: v for key, v in found.items() if key != name}))
    for lease in (hub / "leases").iterdir():
        with lease.open("r+") as file, contextlib.suppress(BlockingIOError):  # somebody's session
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if json.loads(file.readline() or "{}").get("student") == name:
                file.truncate(0)
    fcntl.flock(os.open(HUB, os.O_RDONLY), fcntl.LOCK_EX)  # who writes there now; until we end
    lines = [
        {key: pseudonym if value == name else value for key, value in line.items()}
        for line in _audit()
    ]
    now = datetime.datetime.now(datetime.UTC).strftime("%FT%TZ")
    lines += [{"time": now, "who": "appliance", "action": "erase", "student": pseudonym}]
    write(hub / AUDIT, "".join(f"{json.dumps(line)}\n" for line in lines), mode=0o600)
    with _database() as database:
        database.execute("vacuum")  # what the hub has deleted is in no free page either
    return {"path": HUB, "lines": len(told["audit"])}


def _audit() -> list[dict[str, Any]]:
    try:
        text = (Path(HUB) / AUDIT).read_text()
    except FileNotFoundError:
        return []
    found = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):  # the power was cut in the middle of it
            found.append(json.loads(line))
    return found


@contextlib.contextmanager
def _database() -> Iterator[sqlite3.Connection]:
    name = f"file:{HUB}/{DATABASE}?mode=rw"
    try:
        with contextlib.closing(sqlite3.connect(name, timeout=30, uri=True)) as database:
            database.row_factory = sqlite3.Row
            yield database
    except sqlite3.Error as error:
        raise RefusedError(f"{DATABASE}: {error}") from error


VERBS: dict[str, Callable[..., dict[str, Any]]] = {
    "traces": traces,
    "erase": erase,
    "erased": forget_erasure,
    "hub-traces": hub_traces,
    "hub-erase": hub_erase,
}


def main() -> None:
    """Run one verb, by the notebook's Python."""
    if sys.executable != PYTHON:
        os.execv(PYTHON, [PYTHON, "-I", *sys.argv])  # noqa: S606
    if sys.argv[1].startswith("hub-"):
        answer(VERBS)
        return
    with guarding(alone=("erase", "erased")):
        lock = lock_of_backups()
        if sys.argv[1] == "export":
            try:
                export(sys.argv[2])
            except (RefusedError, OSError, ValueError) as error:
                sys.exit(str(error))
            return
        answer(VERBS, lock=lock, unlocked=("traces",), patience=PATIENCE)
