"""A newly built root disk for an appliance in use; what is its own goes along.

Students' files are on the disk of /home, which stays. Accounts, hub state, host keys and the
administrator's keys are left there for the new root (``inside/leave_root.py``), which takes them
on its first boot. The old root disk is kept until it is confirmed.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from provision.errors import ApplianceError, GuestError, UsageError
from provision.fleet import lease
from provision.fleet.inventory import Host, Inventory
from provision.fleet.many import Tell
from provision.fleet.remote import ApplianceBusyError, reach
from provision.fleet.upgrade import WentBackError, healthy
from provision.machine import SshEndpoint

PROGRAM = "leave_root"
WHAT = "replace-root"
HEALTH_SECONDS = 300.0
LEAVE_SECONDS = 300  # the old root serves again when it was not shut down by then


class Exchangeable(Protocol):
    """A machine whose root disk can be exchanged; see `provision.machine.root_disk`."""

    def start(self) -> SshEndpoint:
        """Power on, if it is off, and wait for SSH."""

    def stop(self) -> None:
        """Shut down in order."""

    def exchange(self, new: Path) -> None:
        """Put a disk in, keeping the old one."""

    def put_back(self) -> None:
        """Put the old one back.

        Raises:
            UsageError: it is in already.
        """


def replace(
    disk: Exchangeable,
    new: Path,
    host: Callable[[SshEndpoint], Host],
    tell: Tell,
    *,
    take_over: bool = False,
) -> dict[str, str]:
    """Exchange an appliance's root disk, and go back when the new one is not healthy.

    Args:
        disk: the machine.
        new: the new root disk, prepared.
        host: what to ask once SSH answers at an endpoint.
        tell: called as each step begins.
        take_over: end another run that has the appliance.

    Returns:
        The ``notebook`` that answers on the new root.

    Raises:
        WentBackError: the new root is not healthy; the old one serves.
        ApplianceError: it failed before anything was exchanged.
    """
    run = _leave(disk, host, tell, take_over=take_over)
    tell("exchange", "")
    disk.stop()
    try:
        disk.exchange(new)
        return {"notebook": _healthy(disk, run, tell)}
    except ApplianceError as error:
        tell("back", str(error))
        disk.stop()
        with contextlib.suppress(UsageError):  # the old one was not even taken out
            disk.put_back()
        url = _healthy(disk, run, tell)
        raise WentBackError(f"{error}; the old root disk serves again at {url}") from error


def roll_back(
    disk: Exchangeable, host: Callable[[SshEndpoint], Host], tell: Tell, *, take_over: bool = False
) -> dict[str, str]:
    """Put the kept root disk back; what came into being since goes along.

    Raises:
        UsageError: none is kept.
        GuestError: the old root does not answer.
    """
    try:
        run = _leave(disk, host, tell, take_over=take_over)
    except ApplianceBusyError:
        raise
    except GuestError as error:  # a root that does not answer has nothing to leave
        tell("leave", str(error))
        run = _run(host)
    disk.stop()
    disk.put_back()
    return {"notebook": _healthy(disk, run, tell)}


Find = Callable[[SshEndpoint], Host]


def _run(host: Find) -> Find:
    """The same host each time it is asked for, in one run."""
    run = lease.new_run()
    return lambda endpoint: dataclasses.replace(host(endpoint), run=run)


def _leave(disk: Exchangeable, host: Find, tell: Tell, *, take_over: bool) -> Find:
    """Take the lease and leave what is the appliance's own; the root that is next takes both."""
    tell("leave", "")
    run, endpoint = _run(host), disk.start()
    where, inventory = run(endpoint), Inventory(endpoint.known_hosts, {})
    lease.take(where, inventory, WHAT, take_over=take_over)
    try:
        with reach(where, inventory) as remote:
            remote.program(PROGRAM, "save", where.user, str(LEAVE_SECONDS))
    except BaseException:
        lease.release(where, inventory)
        raise
    return run


def _healthy(disk: Exchangeable, host: Find, tell: Tell) -> str:
    """Start, and prove that all was taken: the pinned host key is the first proof."""
    tell("start", "")
    endpoint = disk.start()
    where = host(endpoint)
    tell("health", "")
    inventory = Inventory(endpoint.known_hosts, {})
    # Another root disk knows of no run, or of one that was when it was taken out.
    lease.take(where, inventory, WHAT, take_over=True)
    with reach(where, inventory) as remote:
        if not remote.program(PROGRAM, "taken")["taken"]:
            raise GuestError("the new root did not take what the old one left for it")
    healthy(where.url, patience=HEALTH_SECONDS)
    lease.release(where, inventory)
    return where.url
