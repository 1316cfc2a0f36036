"""Accounts, sessions and the state of one appliance, asked of its own program."""

import csv
import io
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from provision.fleet.inventory import Host, Inventory
from provision.fleet.remote import reached

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
    with reached(host, inventory) as remote:
        how = ("--take-over",) if take_over else ()
        answer: dict[str, Any] = remote.program(program, *how, *words, stdin=stdin)
        return answer


def tell_students(host: Host, inventory: Inventory, text: str, tell: Tell) -> dict[str, Any]:
    """Put a text into the file list of everybody who has a session.

    Raises:
        GuestError: no way in.
    """
    tell("message", "")
    with reached(host, inventory) as remote:
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

    Args:
        host: the appliance.
        inventory: with its pinned key.
        settings: of ``inside/backup.py``; ``{host}`` in the repository is the host's name.
        tell: called as it begins.

    Raises:
        StepError: the repository cannot be made or opened.
        GuestError: no way in.
    """
    repository = settings["repository"].replace("{host}", host.name)
    text = json.dumps({**settings, "repository": repository}).encode()
    return ask(host, inventory, ("setup",), tell, program="backup", stdin=text)


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
        cells = [cell.strip() for cell in row]
        if cells and cells[0] and not any(cells[1:2]):
            made[cells[0]] = secrets.token_urlsafe(9)
            cells = [cells[0], made[cells[0]]]
        csv.writer(out).writerow(cells)
    return out.getvalue(), made
