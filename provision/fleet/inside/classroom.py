"""Who may sign in, who has a session, how the machine is: classroom VERB [ARGUMENT...], as root.

One JSON object out. Passwords come by standard input. The hub is asked through its own REST API,
with a token of a minute that the hub's user makes in the hub's database.
"""

import asyncio
import calendar
import contextlib
import json
import os
import pwd
import re
import secrets
import shutil
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from provision.waiting import until

from .lease import guarding
from .program import RefusedError, answer, boot_id, failed_units, free_memory, read, run

PYTHON = "/opt/notebook/bin/python"
STATE = Path("/var/lib/notebook")
ACCOUNTS = STATE / "accounts.json"
RECORD = Path("/etc/notebook/guest.json")
HUB = "http://127.0.0.1:8081"
MESSAGE = "MESSAGE FROM THE TEACHER.txt"
BACKUP = Path("/var/lib/appliance/backup/last.json")
UPGRADE = Path("/var/lib/appliance/system/state.json")
TOKEN_SECONDS = 60
ANSWER_SECONDS = 20.0


def users_list() -> dict[str, Any]:
    """All names that may sign in, and which of them are locked or wait."""
    accounts = _accounts()
    return {
        "users": accounts.names(),
        "locked": accounts.locked(),
        "waiting": accounts.waiting(),
    }


def users_add(name: str) -> dict[str, Any]:
    """Make an account with the password on standard input, or a new one that is told."""
    password = sys.stdin.read().rstrip("\r\n") or _password()
    taken = _take({name: password})
    if why := taken["skipped"].get(name):
        raise RefusedError(f"{name} {why}; reset gives a new password")
    told = {"waiting": taken["waiting"], "said": taken["said"] if taken["waiting"] else []}
    return {"users": [name], "passwords": {name: password}, **told}


def users_reset(name: str) -> dict[str, Any]:
    """Give an account the password on standard input, or a new one that is told."""
    password = sys.stdin.read().rstrip("\r\n") or _password()
    _accounts().set_password(name, password)
    locked = [f"{name} is locked, and stays so until unlock"] * (name in _accounts().locked())
    return {"users": [name], "passwords": {name: password}, "said": locked, **_put_out(name)}


def users_import(*options: str) -> dict[str, Any]:
    """Make the accounts of a class list on standard input."""
    from provision.guest.pool.classlist import read_list  # noqa: PLC0415 (the guest's copy)

    wanted = read_list(sys.stdin.buffer.read()).passwords()
    return _take(wanted, reset="reset" in options, same="same" in options)


def users_lock(*names: str) -> dict[str, Any]:
    """End students' sessions and keep them from signing in; the files stay."""
    return _each(names, _accounts().lock) | _put_out(*names)


def users_unlock(*names: str) -> dict[str, Any]:
    """Let locked students sign in as before."""
    return _each(names, _accounts().unlock)


def users_approve(*names: str) -> dict[str, Any]:
    """Let accounts open that wait."""
    return _each(names, _accounts().approve)


def users_remove(*names: str) -> dict[str, Any]:
    """End students' sessions and sign-in; the files stay."""
    done = _each(names, _accounts().remove) | _put_out(*names)
    with contextlib.suppress(OSError):  # the hub may be down: it has no account for them then
        for user in _hub("GET", "/users"):
            if user["name"] in names:
                _hub("DELETE", f"/users/{user['name']}")
    return done


def _each(names: Sequence[str], action: Callable[[str], None]) -> dict[str, Any]:
    """Do something to accounts that must all be there, and not the administrator's."""
    there = _accounts().names()
    if unknown := [name for name in names if name not in there]:
        raise RefusedError(f"there is no {', '.join(map(repr, unknown))}")
    if _admin() in names:
        raise RefusedError(f"{_admin()} administers this notebook")
    for name in names:
        action(name)
    return {"users": list(names)}


def _take(
    wanted: dict[str, str | None], *, reset: bool = False, same: bool = False
) -> dict[str, Any]:
    """Make accounts; who is there is skipped, who had files before waits."""
    from provision.guest.pool import earlier, roster  # noqa: PLC0415 (the guest's copy)
    from provision.guest.pool.account import read_settings  # noqa: PLC0415

    there = _accounts().names()
    new = [name for name in wanted if name not in there and not same]
    held = asyncio.run(earlier.earlier(new, read_settings().directory, STATE)) if new else ()
    taken = _accounts().take(wanted, waiting=held, untouchable=[_admin()], reset=reset)
    told = _put_out(*taken.reset) if taken.reset else {}
    users = [*taken.added, *taken.reset]
    return {"users": users, **vars(taken), "said": roster.told(taken), **told}


def _put_out(*names: str) -> dict[str, Any]:
    """End sessions, cookies and tokens; ``put_out`` is false where the hub is down."""
    from provision.guest.pool import roster  # noqa: PLC0415 (the guest's copy)

    return {"put_out": roster.put_out(names, roster.places())}


def _admin() -> str:
    """The administrator; where the hub has no user of its own yet, who owns its files."""
    return str(read(RECORD).get("admin") or pwd.getpwuid(os.geteuid()).pw_name)


def users_delete(name: str) -> dict[str, Any]:
    """End a student's session, archive the files, forget the name: as the hub's own page does."""
    return _do("delete", name, confirm=name)


def users_back(name: str) -> dict[str, Any]:
    """Bring a deleted student's files and name back; a new password lets the student in."""
    return _do("bring back", name)


def _do(action: str, name: str, **more: str) -> dict[str, Any]:
    """Have the hub do what its page for administrators does, with its audit."""
    form = urllib.parse.urlencode({"action": action, "student": name, **more}).encode()
    done = _hub("POST", "/hub/classroom/do", form)
    if "error" in done:
        raise RefusedError(done["error"])
    return {"users": [name], "said": done["said"]}


def sessions_list() -> dict[str, Any]:
    """Who has a session, since when."""
    return {
        "sessions": [
            {"student": user["name"], "since": server["started"], "used": server["last_activity"]}
            for user in _hub("GET", "/users")
            for server in user.get("servers", {}).values()
        ]
    }


def sessions_stop(*names: str) -> dict[str, Any]:
    """End sessions, all without a name; the files stay."""
    open_now = [each["student"] for each in sessions_list()["sessions"]]
    if missing := set(names) - set(open_now):
        raise RefusedError(f"{', '.join(sorted(missing))} has no session")
    ended = [name for name in open_now if not names or name in names]
    for name in ended:
        _hub("DELETE", f"/users/{name}/server")
    if not until(
        lambda: not set(ended) & {each["student"] for each in sessions_list()["sessions"]}, 60
    ):
        raise RefusedError("the sessions do not end")
    return {"ended": ended}


def sessions_message(directory: str, *names: str) -> dict[str, Any]:
    """Put the text on standard input into the file list of students who have a session.

    As root: the student's directory is the student's to fill with links, so none is followed.
    """
    text = sys.stdin.read().rstrip() + "\n"
    told = []
    for name in names:
        with contextlib.suppress(OSError):
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            folder = os.open(Path(directory) / name, flags)
            try:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(MESSAGE, dir_fd=folder)
                new = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                owner = os.fstat(folder).st_uid
                with os.fdopen(os.open(MESSAGE, new, 0o600, dir_fd=folder), "w") as file:
                    os.fchown(file.fileno(), owner, owner)
                    file.write(text)
                told.append(name)
            finally:
                os.close(folder)
    return {"told": told}


def status() -> dict[str, Any]:
    """How the machine is."""
    disks = {}
    for place in ("/", "/home"):
        usage = shutil.disk_usage(place)
        disks[place] = {"size": usage.total, "free": usage.free}
    current = Path("/opt/sage-current")
    sessions = _sessions()
    silent = ["notebook.service"] if sessions is None else []
    last = read(BACKUP)
    backup, database = last.get("time"), last.get("database")
    return {
        "sage": current.readlink().name.removeprefix("sage-") if current.is_symlink() else None,
        "disks": disks,
        "memory": free_memory(),
        "sessions": sessions,
        "failed_units": sorted({*failed_units(), *silent}),
        "reboot": _needs_reboot(),
        "certificate_days": _certificate_days(STATE / "tls" / "cert.pem"),
        "backup_seconds": None if backup is None else int(time.time() - backup),
        "backup_database": database,
        "metrics": {'up{job="classroom"}': float(sessions is not None), **_metrics()},
    }


def _metrics() -> dict[str, float]:
    """What the hub tells Prometheus of this machine, by name and labels; none where it is down."""
    with contextlib.suppress(OSError, RefusedError):
        told = _ask_hub("GET", "/hub/metrics", accept="text/plain").decode()
        ours = re.findall(r"(?m)^(appliance_(?!session)\S+) (\S+)$", told)
        return {name: float(value) for name, value in ours}
    return {}


def _sessions() -> int | None:
    """How many there are; None: the hub does not answer, whatever systemd thinks of it."""
    silent = (OSError, RefusedError)
    with contextlib.suppress(*silent):  # it may have been started anew a moment ago
        return len(until(sessions_list, ANSWER_SECONDS, pause=0.5, despite=silent)["sessions"])
    return None


def _needs_reboot() -> bool:
    """Whether the distribution says so, or an upgrade of ours that waits for its window."""
    return read(UPGRADE).get("stale") == boot_id() or Path("/run/reboot-required").exists()


def _certificate_days(path: Path) -> int | None:
    """Days until the notebook's certificate ends; None: it has none."""
    if not path.exists():
        return None
    told = run("openssl", "x509", "-in", str(path), "-noout", "-enddate", "-dateopt", "iso_8601")
    ends = time.strptime(told.strip().partition("=")[2], "%Y-%m-%d %H:%M:%SZ")
    return int((calendar.timegm(ends) - time.time()) / 86400)


def _password() -> str:
    return secrets.token_urlsafe(9)


def _accounts() -> Any:
    """The accounts, in the hub's own terms."""
    from provision.guest.pool.accounts import Accounts  # noqa: PLC0415 (the guest's copy)

    return Accounts(ACCOUNTS)


def _hub(method: str, path: str, form: bytes | None = None) -> Any:
    """Ask the hub as its administrator; what it says in JSON."""
    text = _ask_hub(method, path, form)
    return json.loads(text) if text else None


def _ask_hub(
    method: str, path: str, form: bytes | None = None, accept: str = "application/json"
) -> bytes:
    place = path if path.startswith("/hub/") else f"/hub/api{path}"
    request = urllib.request.Request(HUB + place, form, method=method)  # noqa: S310 (loopback)
    request.add_header("Authorization", f"token {_token()}")
    request.add_header("Accept", accept)
    try:
        with urllib.request.urlopen(request, timeout=3600 if form else 60) as said:  # noqa: S310
            return bytes(said.read())
    except urllib.error.HTTPError as error:
        raise RefusedError(
            f"the hub answers {error.code}: {error.read().decode()[:300]}"
        ) from error


_tokens: list[str] = []


def _token() -> str:
    if not _tokens:
        from jupyterhub import orm  # noqa: PLC0415 (the guest's)
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 (the guest's)

        try:
            session = orm.new_session_factory(f"sqlite:///{STATE}/jupyterhub.sqlite")()
            admin = orm.User.find(session, _admin())
            note = {"note": "appliance", "expires_in": TOKEN_SECONDS}
            _tokens.append(admin.new_api_token(**note))
            session.close()
        except SQLAlchemyError as error:
            raise RefusedError(f"the hub's database cannot be used: {error}") from error
    return _tokens[0]


VERBS: dict[str, Callable[..., dict[str, Any]]] = {
    "users-list": users_list,
    "users-add": users_add,
    "users-reset": users_reset,
    "users-import": users_import,
    "users-lock": users_lock,
    "users-unlock": users_unlock,
    "users-approve": users_approve,
    "users-remove": users_remove,
    "users-delete": users_delete,
    "users-back": users_back,
    "sessions-list": sessions_list,
    "sessions-stop": sessions_stop,
    "sessions-message": sessions_message,
    "status": status,
}

# Accounts change while no run is at work that may lose or bring back what they are.
ALONE = tuple(verb for verb in VERBS if verb.startswith("users-") and verb != "users-list")


def main() -> None:
    """Run one verb, by the notebook's Python; as the hub's user where root is of no use."""
    if sys.executable != PYTHON:
        os.execv(PYTHON, [PYTHON, "-I", *sys.argv])  # noqa: S606
    with guarding(alone=ALONE):  # by root, whose lock it is
        if sys.argv[1] != "sessions-message":
            owner = STATE.stat()
            os.setgroups([])
            os.setgid(owner.st_gid)
            os.setuid(owner.st_uid)
        answer(VERBS)
