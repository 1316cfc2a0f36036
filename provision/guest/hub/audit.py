"""What administrators do is written down, in ``audit.jsonl`` of the hub's directory."""

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from provision.guest.whole import keep, locking

NAME = "audit.jsonl"


def note(handler: Any, state: Path, action: str, name: str) -> None:
    """Write down who did what to whom.

    Args:
        handler: of the request.
        state: directory of the hub's own files.
        action: what.
        name: to whom.
    """
    who = handler.current_user.name
    line = {"time": time.strftime("%FT%TZ", time.gmtime()), "who": who, "action": action}
    with locking(state):
        audit = os.open(state / NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(audit, "a") as file:
            file.write(json.dumps({**line, "student": name}) + "\n")
    handler.log.warning("Audit: %s did %s to %s", who, action, name)


def lines(state: Path) -> list[str]:
    """What is written down, the oldest first.

    Args:
        state: directory of the hub's own files.
    """
    try:
        return (state / NAME).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []


def when(line: str) -> str:
    """The time of a line, as 2026-11-21T15:45:00Z; empty where the power was cut in it."""
    try:
        return str(json.loads(line)["time"])
    except (ValueError, TypeError, KeyError):
        return ""


def rewrite(state: Path, change: Callable[[Sequence[str]], Sequence[str]]) -> None:
    """Change what is written down; who writes meanwhile waits, and a power cut leaves it whole.

    Args:
        state: directory of the hub's own files.
        change: gives the lines that are to be there instead.
    """
    with locking(state):
        before = lines(state)
        if (after := change(before)) != before:
            keep(state / NAME, "".join(f"{line}\n" for line in after))
