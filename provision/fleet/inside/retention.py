"""What the rules of retention let go: retention due DAYS, as root; one JSON object out."""

import json
from typing import Any

from .program import RefusedError, answer, attempt

PYTHON = "/opt/notebook/bin/python"


def due(days: str) -> dict[str, Any]:
    """What goes within so many days, a line each, and the rules."""
    done = attempt(PYTHON, "-I", "-m", "provision.guest.hub.retention", "due", days)
    if done.returncode:
        told = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        if "No module named" in told:
            told = "this appliance is older than `retention:`; `appliance configure` brings it"
        raise RefusedError(told)
    found = json.loads(done.stdout)
    goes = [f"{each['goes']} {each['name']}" for each in found["archives"]]
    if lines := found["audit"]["lines"]:
        goes.append(f"the {lines} oldest lines of the audit")
    kept = [f"{what} {_duration(rule)}" for what, rule in found["rules"].items()]
    return {"kept": kept, "goes": goes, **found}


def _duration(seconds: int) -> str:
    return f"{seconds // 86400}d" if seconds else "for good"


def main() -> None:
    """Carry out what the command line says."""
    answer({"due": due})
