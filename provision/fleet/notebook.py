"""Renew the notebook's Python environment of one appliance, while its sessions go on.

The environment is made on this host (``build/notebook.py``); the steps run in the guest
(``inside/renew_notebook.py``), as those of Sage do.
"""

import functools
from dataclasses import dataclass
from typing import Any

from provision.build.notebook import Wanted, difference
from provision.config.architectures import Name as ArchName
from provision.config.architectures import of_machine
from provision.fleet import lease
from provision.fleet.inside.answers import LEAST_MEMORY, SHOWN, NotebookFacts
from provision.fleet.inventory import Host, Inventory
from provision.fleet.package import Package
from provision.fleet.remote import StepError, reach
from provision.fleet.upgrade import (
    STEP_SECONDS,
    NotReadyError,
    Tell,
    UnhealthyError,
    WentBackError,
    done_before,
    healthy,
    lead_back,
    ready,
    transfer,
)

PROGRAM = "renew_notebook"
INCOMING = "/var/lib/appliance/notebook/incoming"


@dataclass(frozen=True)
class NotebookOptions:
    """How to renew.

    Args:
        patience: seconds after which a switch that nobody confirmed goes back by itself.
        keep: keep the environment before, for a way back.
        least_memory: bytes that must be free for the proof.
        take_over: end another run that has the appliance.
    """

    patience: int = 300
    keep: bool = True
    least_memory: int = LEAST_MEMORY
    take_over: bool = False


def upgrade_notebook(
    host: Host, inventory: Inventory, wanted: Wanted, options: NotebookOptions, tell: Tell
) -> dict[str, Any]:
    """Bring one appliance's notebook to another list of packages.

    Args:
        host: the appliance.
        inventory: with its pinned key.
        wanted: the environment to be.
        options: how.
        tell: called as each step begins.

    Returns:
        ``before`` and ``after`` (names of environments), ``packages`` (name to versions before and
        now), ``sent`` (bytes) and ``changed``.

    Raises:
        ApplianceBusyError: another run has the appliance; nothing was changed, or not by this one.
        NotReadyError: nothing was changed.
        WentBackError: a check failed; the old environment serves.
        GuestError: no way in, or the connection broke; the old environment serves, and the next
            run goes on.
    """
    tell("connect", "")
    with lease.holding(host, inventory, "upgrade notebook", take_over=options.take_over) as ours:
        return renew_notebook(ours, inventory, wanted, options, tell)


def renew_notebook(
    host: Host, inventory: Inventory, wanted: Wanted, options: NotebookOptions, tell: Tell
) -> dict[str, Any]:
    """The same, for who has the appliance already."""
    sent = 0
    with reach(host, inventory) as remote:
        facts = remote.ask(NotebookFacts, PROGRAM, "look")
        if facts.state.step in SHOWN:
            facts = remote.ask(NotebookFacts, PROGRAM, "recover", timeout=STEP_SECONDS)
        before = facts.current
        told: dict[str, Any] = {"before": before, "after": wanted.name, "packages": {}, "sent": 0}
        lists = wanted.lists(facts.lists)
        same = {file: facts.lists.get(file) for file in lists} == lists
        if same and facts.state.step in (None, "healthy"):
            return {**told, "after": before, "changed": False}
        tell("pack", "")
        arch = architecture_of(facts)
        change = difference(wanted, facts.python, arch, installed=facts.installed, lists=lists)
        package = Package(change.path, wanted.name, change.sha256, change.size, change.unpacked, 0)
        tell("check", f"{len(facts.sessions)} sessions")
        done = done_before(facts.state, wanted.name, change.sha256)
        ready(host, facts, package, done, options.least_memory)
        remote.program(PROGRAM, "install", host.user, timeout=60)
        if done < 2:
            tell("transfer", "")
    if done < 2:
        sent = transfer(host, inventory, package, tell, program=PROGRAM, incoming=INCOMING)
    with reach(host, inventory) as remote:
        ours = functools.partial(remote.program, PROGRAM, timeout=STEP_SECONDS)
        try:
            if done < 2:
                tell("unpack", "")
                ours("unpack", wanted.name, change.sha256)
            tell("prove", "")
            ours("prove", wanted.name)
            tell("switch", "")
            ours("switch", wanted.name, str(options.patience))
            tell("health", "")
            healthy(host.url, patience=60)
            ours("check")
            ours("confirm", wanted.name)
        except (StepError, UnhealthyError) as error:
            lead_back(remote, PROGRAM, error)
            raise WentBackError(f"{error}; the notebook of before serves") from error
        tell("tidy", "")
        ours("tidy", str(int(options.keep)))
    return {**told, "packages": dict(change.packages), "sent": sent, "changed": True}


def architecture_of(facts: NotebookFacts) -> ArchName:
    """The architecture whose wheels an appliance takes.

    Raises:
        NotReadyError: it is none of ours.
    """
    found = of_machine(facts.machine)
    if found is None:
        raise NotReadyError(
            f"it has a processor of kind {facts.machine}: there are no wheels for it"
        )
    return found


def undo_notebook(
    host: Host, inventory: Inventory, tell: Tell, *, take_over: bool = False
) -> dict[str, Any]:
    """Lead an appliance back to the environment before its last renewal.

    Args:
        host: the appliance.
        inventory: with its pinned key.
        tell: called as it begins.
        take_over: end another run that has the appliance.

    Raises:
        ApplianceBusyError: another run has the appliance.
        StepError: there is none to go back to.
        GuestError: no way in, or the notebook does not answer afterwards.
    """
    tell("back", "")
    what = "upgrade notebook --undo"
    with (
        lease.holding(host, inventory, what, take_over=take_over) as ours,
        reach(ours, inventory) as remote,
    ):
        before = remote.ask(NotebookFacts, PROGRAM, "look").current
        facts = remote.ask(NotebookFacts, PROGRAM, "undo", timeout=STEP_SECONDS)
    healthy(host.url, patience=60)
    return {"before": before, "after": facts.current, "changed": True}
