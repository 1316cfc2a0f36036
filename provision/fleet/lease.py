"""One run at a time on an appliance: it has an id that every step of it holds.

Two operators know nothing of each other; the appliance does (``inside/lease.py``). A run that is
known to be dead, because its process was on this host and is gone, is no obstacle.
"""

import contextlib
import getpass
import os
import platform
import secrets
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from provision.errors import GuestError
from provision.fleet.inventory import Host, Inventory
from provision.fleet.remote import WAIT, ApplianceBusyError, reach

PROGRAM = "lease"
RENEW_SECONDS = 60.0
STEP_SECONDS = 60.0
_ours: set[str] = set()  # runs of this process that go on


@contextlib.contextmanager
def holding(
    host: Host, inventory: Inventory, what: str, *, take_over: bool = False
) -> Iterator[Host]:
    """Have an appliance to oneself for a ``with`` block.

    Args:
        host: the appliance.
        inventory: with its pinned key.
        what: is to be done, for whoever is refused meanwhile.
        take_over: end another run, whose next step is refused then.

    Yields:
        The host, whose steps hold the lease.

    Raises:
        ApplianceBusyError: another run is at work.
        GuestError: no way in.
    """
    ours = replace(host, run=new_run())
    take(ours, inventory, what, take_over=take_over)
    ended = threading.Event()
    threading.Thread(target=_keep, args=(ours, inventory, ended), daemon=True).start()
    try:
        yield ours
    finally:
        ended.set()
        release(ours, inventory)


def new_run() -> str:
    """The id of a new run of this process; it has taken nothing yet."""
    run = secrets.token_hex(8)
    _ours.add(run)
    return run


def take(host: Host, inventory: Inventory, what: str, *, take_over: bool = False) -> None:
    """Take the lease for a run; once more where the appliance has another root disk now.

    Raises:
        ApplianceBusyError: another run is at work.
        GuestError: no way in.
    """
    words = ("take", what, f"{getpass.getuser()}@{platform.node()}", f"{_origin()} {host.run}")
    with reach(host, inventory) as remote:
        how = ("--take-over",) if take_over else ()
        there = remote.program(PROGRAM, *words, *how, timeout=STEP_SECONDS)
        if there.get("busy") and _is_dead(there["origin"]):
            there = remote.program(PROGRAM, *words, "--take-over", timeout=STEP_SECONDS)
    if there.get("busy"):
        raise ApplianceBusyError(f"{host.name}: {there['busy']}", hint=WAIT)


def release(host: Host, inventory: Inventory) -> None:
    """End a run; where the appliance does not answer, its lease ends by itself."""
    _ours.discard(host.run)
    with contextlib.suppress(GuestError), reach(host, inventory) as remote:
        remote.program(PROGRAM, "release", timeout=STEP_SECONDS)


def _keep(host: Host, inventory: Inventory, ended: threading.Event) -> None:
    """Give a sign of life now and then: a playbook or a transfer takes no step for long."""
    while not ended.wait(RENEW_SECONDS):
        with contextlib.suppress(GuestError, OSError), reach(host, inventory) as remote:
            remote.program(PROGRAM, "renew", timeout=STEP_SECONDS)


def _origin() -> str:
    """This process, as another one of this host finds it; nothing where that cannot be said."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        room = Path("/proc/self/ns/pid").readlink()
        return f"{boot} {room} {os.getpid()} {_start_time(os.getpid())}"
    except OSError:
        return "? ? ? ?"


def _is_dead(origin: str) -> bool:
    """Whether a run's process was on this host and is gone, or is ours and has ended that run."""
    words, here = origin.split(), _origin().split()
    if len(words) != 5 or "?" in here or words[:2] != here[:2]:
        return False
    if words[2:4] == here[2:]:
        return words[4] not in _ours
    try:
        return _start_time(int(words[2])) != words[3]
    except (OSError, ValueError):
        return True


def _start_time(process: int) -> str:
    """When a process began, in ticks since the boot."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
