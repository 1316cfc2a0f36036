"""Renew the packages of an appliance in use and run our playbooks on it; what fails goes back.

The steps that change packages run in the guest (``inside/renew_system.py``), which also leads back
by itself when nobody confirms; Ansible brings the state.
"""

import contextlib
import datetime
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.build import places
from provision.build.notebook import wanted_environment
from provision.build.playbook import run_playbook
from provision.build.variables import playbook_variables
from provision.config import Config
from provision.errors import ApplianceError, GuestError, HostNotReadyError, UsageError
from provision.fleet import lease, local
from provision.fleet.inside.answers import GOES_BACK, Confirmed, SystemFacts
from provision.fleet.inventory import Host, Inventory
from provision.fleet.notebook import NotebookOptions, renew_notebook
from provision.fleet.remote import ApplianceBusyError, Remote, StepError, reach
from provision.fleet.upgrade import (
    STEP_SECONDS,
    NotReadyError,
    Tell,
    WentBackError,
    drain,
    healthy,
    lead_back,
    well_before,
)
from provision.jeos import archive
from provision.machine.hypervisor import Fallback
from provision.machine.ssh import NoAnswerError
from provision.waiting import until

PROGRAM = "renew_system"
SAGE = "renew_sage"
ROOM = 1 << 30  # bytes: new packages, old ones kept, files of the playbooks
POLL_SECONDS = 1.0
BOOT_SECONDS = 600.0
HUB_SECONDS = 120.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")
WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
UNFINISHED = (*GOES_BACK, "going back")


@dataclass(frozen=True)
class SystemOptions:
    """How to renew a system.

    Args:
        packages: bring the packages up to date.
        config: bring the state that this configuration wants; None: leave the playbooks out.
        reboot: ``auto``: when something needs it, in the window and with nobody there;
            ``never``.
        window: ``HH:MM-HH:MM`` of this host's clock in which a reboot may be; None: any time.
        drain: seconds to wait until no student has a session, before a reboot.
        patience: seconds after which what nobody confirmed goes back by itself.
        playbook: which of ours brings that state: ``site``, or ``configure`` without packages.
        take_over: end another run that has the appliance.
    """

    packages: bool = True
    config: Config | None = None
    reboot: str = "auto"
    window: str | None = None
    drain: float | None = None
    patience: int = 1800
    playbook: str = "site"
    take_over: bool = False


def upgrade_system(
    host: Host, inventory: Inventory, options: SystemOptions, tell: Tell
) -> dict[str, Any]:
    """Bring one appliance's packages and configuration up to date.

    Args:
        host: the appliance.
        inventory: with its pinned key.
        options: how.
        tell: called as each step begins.

    Returns:
        ``packages`` (name to versions before and now), ``tasks`` (of Ansible, that changed
        something), ``reboot`` (``no``, ``done`` or why it is pending) and ``changed``.

    Raises:
        ApplianceBusyError: another run has the appliance; nothing was changed, or not by this one.
        NotReadyError: nothing was changed.
        WentBackError: something failed; the appliance is as it was.
        GuestError: no way in, or the connection broke; the appliance goes back by itself.
    """
    tell("connect", "")
    what = "configure" if options.playbook == "configure" else "upgrade system"
    with lease.holding(host, inventory, what, take_over=options.take_over) as ours:
        with reach(ours, inventory) as remote:
            facts = remote.ask(SystemFacts, PROGRAM, "look")
            if facts.state.step in UNFINISHED:
                tell("back", "an earlier run was not confirmed")
                facts = remote.ask(SystemFacts, PROGRAM, "back", "a new run begins", timeout=None)
            tell("check", "")
            _ready(host, facts)
        if options.config is not None and options.playbook == "site":
            # First, and for good: it has a proof and a way back of its own, and sessions go on.
            renewal = NotebookOptions(take_over=options.take_over)
            renew_notebook(ours, inventory, wanted_environment(), renewal, tell)
        with _fallen_back(host, tell):
            return _renew(ours, inventory, options, tell)


@contextlib.contextmanager
def _fallen_back(host: Host, tell: Tell) -> Iterator[None]:
    """Take a snapshot where this host can; go back to it when the appliance is lost.

    However it ends, the snapshot is gone: it is in the way of a new root disk. Only one that
    could not be gone back to stays, for whoever looks after that.
    """
    fallback = _fallback(host)
    if fallback is None:
        yield
        return
    tell("snapshot", "")
    fallback.take()
    try:
        yield
    except LostError as error:
        tell("back", "to the snapshot")
        fallback.back()
        fallback.start()
        healthy(host.url, patience=BOOT_SECONDS)
        fallback.drop()
        raise WentBackError(f"{error}; its root disk is as it was") from error
    except ApplianceBusyError:  # whoever took over has taken one of the same name
        raise
    except BaseException:
        fallback.drop()
        raise
    fallback.drop()


class LostError(GuestError):
    """The appliance did not come back from its reboot."""


def _renew(host: Host, inventory: Inventory, options: SystemOptions, tell: Tell) -> dict[str, Any]:
    """Change, start anew, look after it, confirm; what fails in the guest goes back there."""
    with reach(host, inventory) as remote:
        tell("record", "")
        remote.program(PROGRAM, "begin", str(options.patience), timeout=STEP_SECONDS)
        try:
            tasks = _change(inventory, remote, options, tell)
        except NoAnswerError:
            raise
        except ApplianceError as error:
            raise _back(remote, error) from error
    reboot = _reboot(host, inventory, options, tell)
    with reach(host, inventory) as remote:
        try:
            tell("health", "")
            facts = remote.ask(SystemFacts, PROGRAM, "check", timeout=STEP_SECONDS)
            if facts.sage:
                remote.program(SAGE, "check", timeout=STEP_SECONDS)
            healthy(host.url)
        except NoAnswerError:
            raise
        except ApplianceError as error:
            raise _back(remote, error) from error
        packages = remote.ask(Confirmed, PROGRAM, "confirm", timeout=None).changed
    changed = bool(packages or tasks or reboot == "done")
    return {"packages": packages, "tasks": tasks, "reboot": reboot, "changed": changed}


def undo_system(
    host: Host, inventory: Inventory, tell: Tell, *, take_over: bool = False
) -> dict[str, Any]:
    """Lead an appliance back to before its last upgrade, though that was confirmed.

    Args:
        host: the appliance.
        inventory: with its pinned key.
        tell: called as it begins.
        take_over: end another run that has the appliance.

    Raises:
        ApplianceBusyError: another run has the appliance.
        StepError: there is no record.
        GuestError: no way in.
    """
    tell("back", "")
    with (
        lease.holding(host, inventory, "upgrade system --undo", take_over=take_over) as ours,
        reach(ours, inventory) as remote,
    ):
        facts = remote.ask(SystemFacts, PROGRAM, "undo", timeout=None)
    healthy(host.url)
    return {"reboot": "pending" if facts.reboot else "no"}


def drift(host: Host, inventory: Inventory, config: Config, log: Path) -> tuple[str, ...]:
    """What differs from a configuration: the names of the tasks that would change something.

    Raises:
        GuestError: no way in.
        ProvisioningError: a task cannot be tried.
    """
    with reach(host, inventory) as remote:
        variables = variables_for(config, remote)
    endpoint = host.endpoint(inventory.known_hosts)
    return run_playbook("configure", endpoint, variables, log=log, check=True).changed


def variables_for(config: Config, remote: Remote) -> dict[str, Any]:
    """A configuration for the playbooks, as far as it is not this one appliance's own matter.

    Its name, who may enter, and a larger pool stay; Sage is renewed by ``upgrade sage`` alone.
    """
    facts = remote.ask(SystemFacts, PROGRAM, "look")
    keys = remote.sudo("cat", f"/etc/ssh/authorized_keys.d/{remote.host.user}").splitlines()
    sources = archive.sources(
        config.distribution, config.suite, config.mirror, arch=config.architecture
    )
    variables = playbook_variables(
        config, sources, epoch=0, admin_keys=[key for key in keys if key], building=False
    )
    del variables["build_environment"]["SOURCE_DATE_EPOCH"]
    variables |= {"base_hostname": facts.hostname, "mail_hostname": facts.hostname}
    if len(facts.pool) > len(variables["pool_accounts"]):
        variables["pool_accounts"] = facts.pool
        variables["notebook_sessions"] = len(facts.pool)
    if facts.sage:
        variables["sage_source"] = "none"
    return variables


def check_window(text: str) -> None:
    """Refuse what is no window.

    Raises:
        UsageError: it is not as in 02:00-05:00.
    """
    if not WINDOW.fullmatch(text):
        raise UsageError(f"{text!r} is no window", hint="as in 02:00-05:00")


def in_window(window: str | None, now: datetime.time) -> bool:
    """Whether a time is in a window, which may have midnight in it."""
    if window is None:
        return True
    begin, end = (datetime.time.fromisoformat(word) for word in window.split("-"))
    return begin <= now < end if begin <= end else (now >= begin or now < end)


def log_of(host: Host) -> Path:
    """Where Ansible's story of a host is kept."""
    return places.new_log(f"fleet-{host.name}")


def _ready(host: Host, facts: SystemFacts) -> None:
    if facts.free < ROOM:
        raise NotReadyError(
            f"/ has {facts.free / 1e6:.0f} MB free, an upgrade wants {ROOM / 1e6:.0f} MB",
            hint="remove old versions of Sage, or grow the disk",
        )
    well_before(host, patience=30)


def _change(
    inventory: Inventory,
    remote: Remote,
    options: SystemOptions,
    tell: Tell,
) -> list[str]:
    if options.packages:
        tell("packages", "")
        remote.program(PROGRAM, "upgrade")
        _follow(remote)
    if options.config is None:
        return []
    tell("playbooks", "")
    remote.program(PROGRAM, "extend")
    variables = variables_for(options.config, remote)
    endpoint, log = remote.host.endpoint(inventory.known_hosts), log_of(remote.host)
    return list(run_playbook(options.playbook, endpoint, variables, log=log).changed)


def _follow(remote: Remote) -> None:
    """Wait until the packages are done; they go on when we do not."""
    while True:
        facts = remote.ask(SystemFacts, PROGRAM, "look")
        state = facts.state
        if state.step == "upgraded":
            return
        if state.error:
            raise StepError(state.error)
        if state.step != "upgrading" or not facts.working:
            raise StepError(f"the upgrade of packages ended: it is {state.step}")
        time.sleep(POLL_SECONDS)


def _reboot(host: Host, inventory: Inventory, options: SystemOptions, tell: Tell) -> str:
    """Start the appliance anew where it is needed and allowed; says what came of it."""
    with reach(host, inventory) as remote:
        remote.program(PROGRAM, "extend")
        before = remote.ask(SystemFacts, PROGRAM, "look")
        if not before.reboot:
            return "no"
        if options.reboot == "never":
            return "pending: not wanted now"
        if not in_window(options.window, datetime.datetime.now().time()):
            return f"pending: outside {options.window}"
        try:
            drain(host, inventory, remote, options.drain or 0, tell)
        except NotReadyError:
            return "pending: students have sessions"
        tell("reboot", "")
        remote.program(PROGRAM, "reboot")
    _wait_for_boot(host, inventory, before.boot)
    return "done"


def _wait_for_boot(host: Host, inventory: Inventory, before: str) -> None:
    def is_new_boot() -> bool:
        with reach(host, inventory) as remote:
            return remote.ask(SystemFacts, PROGRAM, "look").boot != before

    try:
        back = until(is_new_boot, BOOT_SECONDS, pause=POLL_SECONDS, despite=GuestError)
    except GuestError as error:
        raise LostError(f"it did not come back from its reboot: {error}") from error
    if not back:
        raise LostError("it did not come back from its reboot: it did not even go down")
    with contextlib.suppress(GuestError):  # what is wrong, `check` says better
        healthy(host.url, patience=HUB_SECONDS)


def _fallback(host: Host) -> Fallback | None:
    """A snapshot to go back to, where this host owns the VM."""
    if host.address not in LOOPBACK:
        return None
    try:
        return local.fallback(host.port)
    except HostNotReadyError:
        return None  # no VirtualBox here, so the VM is not its


def _back(remote: Remote, error: ApplianceError) -> WentBackError:
    """Lead back; what the guest cannot be told any more it does by itself."""
    lead_back(remote, PROGRAM, error)
    return WentBackError(f"{error}; the appliance is as it was", hint=error.hint)
