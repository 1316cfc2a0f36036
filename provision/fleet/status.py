"""How one appliance is: what it says of itself, what drifted, when it was reached last."""

import time
from pathlib import Path
from typing import Any

from provision.config import Config
from provision.errors import ApplianceError, GuestError
from provision.files import write_whole
from provision.fleet.classroom import ask
from provision.fleet.inventory import Host, Inventory
from provision.fleet.many import Tell, runs
from provision.fleet.system import drift, log_of
from provision.guest.hub import conditions


def status(host: Host, inventory: Inventory, config: Config | None, tell: Tell) -> dict[str, Any]:
    """Ask an appliance how it is.

    Args:
        host: the appliance.
        inventory: with its pinned key.
        config: what it should be; None: do not look for drift.
        tell: called as each step begins.

    Returns:
        What ``inside/classroom.py`` says of its state, ``contact`` (seconds since 1970),
        ``alerts`` (what Prometheus' rules say, too) and ``drift`` (names of Ansible's tasks that
        would change something).

    Raises:
        GuestError: no way in; the message says when there was one last.
    """
    try:
        facts = ask(host, inventory, ("status",), tell)
    except GuestError as error:
        raise GuestError(f"{error}; {_since(host)}", hint=error.hint) from error
    _contact(host).touch()
    facts["contact"] = int(time.time())
    facts["metrics"] |= advisories(host)
    facts["alerts"] = list(conditions.wrong(facts["metrics"]))
    if config is not None:
        tell("drift", "")
        try:
            facts["drift"] = list(drift(host, inventory, config, log_of(host)))
        except ApplianceError as error:
            facts["drift"] = [str(error)]
    return facts


def note_advisories(host: str, count: int) -> None:
    """Keep how many vulnerabilities of high severity an audit found open on a host."""
    write_whole(runs() / f"{host}.advisories", f"{count}\n".encode())


def advisories(host: Host) -> dict[str, float]:
    """What the last audit of a host found, as a metric; none where there was none."""
    try:
        return {conditions.OPEN: float((runs() / f"{host.name}.advisories").read_text())}
    except (FileNotFoundError, ValueError):
        return {}


def _contact(host: Host) -> Path:
    """A file as old as the last contact."""
    return runs() / f"{host.name}.contact"


def _since(host: Host) -> str:
    if not _contact(host).exists():
        return "it was never reached from here"
    then = time.localtime(_contact(host).stat().st_mtime)
    return f"last contact {time.strftime('%Y-%m-%d %H:%M', then)}"
