"""What administrators do is written down, in ``audit.jsonl`` of the hub's directory."""

import json
import os
import time
from pathlib import Path
from typing import Any


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
    audit = os.open(state / "audit.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(audit, "a") as file:
        file.write(json.dumps({**line, "student": name}) + "\n")
    handler.log.warning("Audit: %s did %s to %s", who, action, name)
