"""Accounts, sessions and the state of one appliance, asked of its own program."""

import csv
import io
import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import platformdirs

from provision.build import places
from provision.errors import GuestError, UsageError
from provision.fleet.inventory import Host, Inventory
from provision.fleet.remote import reach

PROGRAM = "classroom"
SECONDS = 120.0
Tell = Callable[[str, str], None]


def ask(
    host: Host,
    inventory: Inventory,
    words: Sequence[str],
    tell: Tell,
    *,
    program: str = PROGRAM,
    stdin: bytes = b"",
    take_over: bool = False,
) -> dict[str, Any]:
    """Carry out one verb of a program of ``inside/``.

    Args:
        host: the appliance.
        inventory: with its pinned key.
        words: the verb and its arguments.
        tell: called as it begins.
        program: its name.
        stdin: passwords and texts.
        take_over: end a run that has the appliance.

    Raises:
        StepError: it refused, and said why.
        GuestError: no way in.
    """
    tell(words[0], "")
    with reach(host, inventory) as remote:
        how = ("--take-over",) if take_over else ()
        answer: dict[str, Any] = remote.program(program, *how, *words, stdin=stdin)
        return answer


def tell_students(host: Host, inventory: Inventory, text: str, tell: Tell) -> dict[str, Any]:
    """Put a text into the file list of everybody who has a session.

    Raises:
        GuestError: no way in.
    """
    tell("message", "")
    with reach(host, inventory) as remote:
        there = remote.program(PROGRAM, "sessions-list", timeout=SECONDS)["sessions"]
        names = [each["student"] for each in there]
        place = remote.sudo("sed", "-n", "s/^directory = //p", "/etc/notebook/pool.conf").strip()
        answer: dict[str, Any] = remote.program(
            PROGRAM, "sessions-message", place, *names, stdin=text.encode(), timeout=SECONDS
        )
        return answer


def set_up_backup(
    host: Host, inventory: Inventory, settings: Mapping[str, Any], tell: Tell
) -> dict[str, Any]:
    """Give an appliance its backup: repository, timer, retention.

    The password that opens the repository is kept on this host, too: where the appliance is lost,
    so is the one that it has.

    Args:
        host: the appliance.
        inventory: with its pinned key.
        settings: of ``inside/settle.py``; ``{host}`` in the repository is the host's name.
        tell: called as it begins.

    Returns:
        The ``repository``, where the password is ``kept``, and the ``password`` if it is new here.

    Raises:
        StepError: the repository cannot be made or opened.
        GuestError: no way in.
    """
    repository, known = settings["repository"].replace("{host}", host.name), kept_passwords(host)
    given = {**settings, "repository": repository, "known": list(known.values())}
    text = json.dumps(given).encode()
    done = ask(host, inventory, ("setup",), tell, program="backup", stdin=text)
    place = keep_password(host, done)
    new = {"password": done["password"]} if done["password"] not in known.values() else {}
    return {"repository": repository, "kept": str(place), **new}


def password_of_backup(host: Host, inventory: Inventory, tell: Tell) -> dict[str, Any]:
    """The password of an appliance's backup, from there, or from this host if that is lost.

    Raises:
        GuestError: no way in, and none is kept here.
    """
    try:
        done = ask(host, inventory, ("password",), tell, program="backup")
    except GuestError:
        known = kept_passwords(host)
        if not known:
            raise
        repository, password = list(known.items())[-1]
        return {"repository": repository, "password": password, "kept": str(_keeper(host))}
    return {**done, "kept": str(keep_password(host, done))}


def restore(
    host: Host,
    inventory: Inventory,
    at: str,
    words: Sequence[str],
    tell: Tell,
    *,
    take_over: bool = False,
) -> dict[str, Any]:
    """Bring files back from a backup; which one that is, is told before anything is restored.

    Args:
        host: the appliance.
        inventory: with its pinned key.
        at: a snapshot, or a time.
        words: the verb of ``inside/backup.py`` and its arguments behind the snapshot.
        tell: called as each step begins.
        take_over: end a run that has the appliance.

    Raises:
        ApplianceBusyError: another run is at work.
        StepError: no snapshot is meant, or what is wanted is not in it.
        GuestError: no way in.
    """
    found = ask(host, inventory, ("meaning", at), tell, program="backup")
    tell(found["said"], "")
    asked = (words[0], found["snapshot"], *words[1:])
    return ask(host, inventory, asked, lambda *_: None, program="backup", take_over=take_over)


def kept_passwords(host: Host) -> dict[str, str]:
    """The passwords of an appliance's backups that are kept on this host, by repository."""
    try:
        found: dict[str, str] = json.loads(_keeper(host).read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{_keeper(host)} cannot be read: {error}", hint="move it away, or mend it"
        ) from None
    return found


def keep_password(host: Host, told: Mapping[str, str]) -> Path:
    """Keep what opens an appliance's backup on this host, the last one last; returns where."""
    place, repository = _keeper(host), told["repository"]
    known = {each: word for each, word in kept_passwords(host).items() if each != repository}
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = place.with_name(f".{place.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(json.dumps({**known, repository: told["password"]}, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(place)
    return place


def _keeper(host: Host) -> Path:
    return Path(platformdirs.user_data_dir(places.APPLICATION)) / "backup" / f"{host.name}.json"


def with_passwords(text: str) -> tuple[str, dict[str, str]]:
    """A class list in which every name has a password.

    Made on this host, so that a student's is the same on each appliance.

    Args:
        text: CSV lines ``name[,password]``.

    Returns:
        The same lines with a password in each, and those that were made, by name.
    """
    made: dict[str, str] = {}
    out = io.StringIO()
    for row in csv.reader(io.StringIO(text, newline="")):
        cells = [cell.strip(" \t") for cell in row]
        if cells and cells[0] and not any(cells[1:2]):
            made[cells[0]] = secrets.token_urlsafe(9)
            cells = [cells[0], made[cells[0]]]
        csv.writer(out).writerow(cells)
    return out.getvalue(), made
