"""Renew Sage on one appliance, step by step; what goes wrong goes back.

The steps run in the guest (``inside/renew_sage.py``) and are repeatable, so a run that was cut off
is simply started again: what was received, unpacked or proven is not done twice.
"""

import contextlib
import functools
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from provision import resources
from provision.errors import ApplianceError, GuestError
from provision.fleet import lease
from provision.fleet.classroom import tell_students
from provision.fleet.inside.answers import (
    LEAST_MEMORY,
    ROOM,
    SHOWN,
    Beside,
    SageFacts,
    State,
)
from provision.fleet.inventory import Host, Inventory
from provision.fleet.package import Package
from provision.fleet.relay import Relay
from provision.fleet.remote import Remote, StepError, reach
from provision.machine.ssh import NoAnswerError
from provision.progress import advance, step
from provision.waiting import until

PROGRAM = "renew_sage"
INCOMING = "/var/lib/appliance/sage/incoming"
NOTICE = (
    "This server is about to be renewed. Please save your work and sign out: File, Hub Control"
    " Panel, Stop My Server. Your files stay."
)
END = "END OF ITS PROGRAM"
# Where the appliance has a Sage's book, the new one gets its own, as a build writes it.
DOCUMENTED = 'grep -q \'"name": "sage"\' /usr/local/share/documentation/books.json 2> /dev/null'
DOCUMENT = (
    'PYTHONHASHSEED=0 "$prefix/bin/python" -W ignore - "$prefix/share/documentation" SageMath sage'
)
TRIES = 3
STEP_SECONDS = 3600.0  # a step that takes longer hangs
DONE = {"received": 1, "unpacked": 2, "proven": 3, "switching": 3, "switched": 3}

Tell = Callable[[str, str], None]  # step, detail


class NotReadyError(GuestError):
    """The appliance cannot be renewed now; nothing was changed."""


class WentBackError(GuestError):
    """The new version failed; the old one serves."""


@dataclass(frozen=True)
class Options:
    """How to renew.

    Args:
        keep: old versions to keep.
        drain: seconds to wait until no student has a session; None: do not wait.
        patience: seconds after which a switch that nobody confirmed goes back by itself.
        least_memory: bytes that must be free.
        relay: a host of the room that hands the package on; None: it comes from this host.
        take_over: end another run that has the appliance.
    """

    keep: int = 1
    drain: float | None = None
    patience: int = 300
    least_memory: int = LEAST_MEMORY
    relay: Relay | None = None
    take_over: bool = False


def upgrade_sage(
    host: Host, inventory: Inventory, package: Package, options: Options, tell: Tell
) -> dict[str, Any]:
    """Bring one appliance to a version of Sage.

    Args:
        host: the appliance.
        inventory: with its pinned key.
        package: the new version.
        options: how.
        tell: called as each step begins.

    Returns:
        ``before`` and ``after`` (versions), ``sent`` (bytes) and ``changed``.

    Raises:
        ApplianceBusyError: another run has the appliance; nothing was changed, or not by this one.
        NotReadyError: nothing was changed.
        WentBackError: a check failed; the old version serves.
        GuestError: no way in, or the connection broke; the old version serves, and the next
            run goes on.
    """
    tell("connect", "")
    what = f"upgrade sage to {package.version}"
    with lease.holding(host, inventory, what, take_over=options.take_over) as ours:
        return _renew(ours, inventory, package, options, tell)


def _renew(
    host: Host, inventory: Inventory, package: Package, options: Options, tell: Tell
) -> dict[str, Any]:
    version, sent = package.version, 0
    with reach(host, inventory) as remote:
        facts = remote.ask(SageFacts, PROGRAM, "look")
        if facts.state.step in SHOWN:
            facts = remote.ask(SageFacts, PROGRAM, "recover")
        before = facts.current
        if before == version and facts.state.step in (None, "healthy"):
            return {"before": before, "after": version, "sent": 0, "changed": False}
        tell("check", f"{len(facts.sessions)} sessions")
        done = done_before(facts.state, version, package.sha256)
        ready(host, facts, package, done, options.least_memory)
        remote.program(PROGRAM, "install", host.user, timeout=60)
        if done < 2:
            tell("transfer", "")
    if done < 2:
        sent = transfer(host, inventory, package, tell, options.relay)
    with reach(host, inventory) as remote:
        ours = functools.partial(remote.program, PROGRAM, timeout=STEP_SECONDS)
        try:
            if done < 2:
                tell("unpack", "")
                how, script = _unpacking(package)
                ours("unpack", version, package.sha256, how, stdin=script)
            tell("prove", "")
            ours("prove", version)
            if options.drain is not None:
                drain(host, inventory, remote, options.drain, tell)
            tell("switch", "")
            ours("switch", version, str(options.patience))
            tell("health", "")
            ours("check")
            healthy(host.url)
            ours("confirm", version)
        except StepError as error:
            lead_back(remote, PROGRAM, error)
            raise WentBackError(f"{error}; {before or 'no Sage'} serves as before") from error
        except UnhealthyError as error:
            lead_back(remote, PROGRAM, error)
            raise WentBackError(f"{error}; {before or 'no Sage'} serves again") from error
        tell("prune", "")
        ours("prune", str(options.keep))
    return {"before": before, "after": version, "sent": sent, "changed": True}


def prepare(host: Host, inventory: Inventory, package: Package, *, take_over: bool = False) -> None:
    """Bring a package to a host that is to hand it on, and nothing more.

    Raises:
        NotReadyError: it does not arrive whole.
        GuestError: no way in.
    """
    what = f"the package of Sage {package.version}"
    with lease.holding(host, inventory, what, take_over=take_over) as ours:
        with reach(ours, inventory) as remote:
            remote.program(PROGRAM, "install", host.user, timeout=60)
        with step(f"{package.path.name} to {host.name}"):
            transfer(ours, inventory, package, lambda _, more: advance(_percent(more), 100))


class UnhealthyError(GuestError):
    """The notebook does not answer as it should, seen from here."""


def healthy(url: str, *, patience: float = 20) -> None:
    """Ask the notebook, as a browser would reach it; its certificate is its own.

    Raises:
        UnhealthyError: it does not answer in time, or something else does.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # made by the appliance itself; the SSH key is the proof
    asked, why = f"{url.rstrip('/')}/hub/api/", "something that is no notebook"

    def answers() -> bool:
        with urllib.request.urlopen(asked, timeout=patience, context=context) as answer:  # noqa: S310
            return "version" in json.load(answer)

    try:
        if until(answers, patience, pause=0.5, despite=(OSError, ValueError)):
            return
    except (OSError, ValueError) as error:
        why = str(error)
    raise UnhealthyError(f"the notebook at {url} does not answer: {why}")


def well_before(host: Host, *, patience: float) -> None:
    """Refuse an appliance that is unhealthy before anything is changed.

    Raises:
        NotReadyError: its notebook does not answer in so many seconds.
    """
    try:
        healthy(host.url, patience=patience)
    except UnhealthyError as error:
        raise NotReadyError(f"before any change, {error}", hint="see appliance_url") from error


def done_before(state: State, name: str, digest: str) -> int:
    """How far an earlier run came with the same package: 1 received, 2 unpacked, 3 proven."""
    same = state.name == name and state.digest == digest
    return DONE.get(state.step or "", 0) if same else 0


def ready(host: Host, facts: Beside, package: Package, done: int, least_memory: int) -> None:
    """Refuse before anything is changed.

    Args:
        host: the appliance.
        facts: of it.
        package: what is to be put beside the old one.
        done: how far that has come, see `done_before`.
        least_memory: bytes that must be free for the proof.

    Raises:
        NotReadyError: there is no room, or its notebook does not answer.
    """
    wanted, there = ROOM, facts.incoming.get(package.sha256, 0)
    if done < 2:
        wanted += package.size - there + package.unpacked
    if facts.free < wanted:
        raise NotReadyError(
            f"{host.name} has {facts.free / 1e6:.0f} MB free, {package.version} beside the old one"
            f" wants {wanted / 1e6:.0f} MB",
            hint="remove old versions of Sage, or grow the disk",
        )
    if facts.memory < least_memory:
        raise NotReadyError(
            f"{facts.memory / 1e6:.0f} MB of memory are free, a proof wants"
            f" {least_memory / 1e6:.0f} MB",
            hint="wait until sessions have ended",
        )
    well_before(host, patience=5)


def transfer(
    host: Host,
    inventory: Inventory,
    package: Package,
    tell: Tell,
    relay: Relay | None = None,
    *,
    program: str = PROGRAM,
    incoming: str = INCOMING,
) -> int:
    """Send the package, going on where it broke off; a damaged one is sent again, once.

    Args:
        host: the appliance.
        inventory: with its pinned key.
        package: the new version.
        tell: called as it goes on.
        relay: whom to take it from first; what does not come from there comes from here.
        program: of ours in the guest, whose ``receive`` checks it.
        incoming: its directory there.

    Returns:
        How many bytes left this host.

    Raises:
        NotReadyError: it does not arrive whole.
        GuestError: no way in.
    """
    target = f"{incoming}/{package.sha256}"
    sent, damaged = 0, 0
    if relay and relay.serves(host):
        tell("transfer", f"from {relay.host.name}")
        with contextlib.suppress(GuestError), reach(host, inventory) as remote:
            relay.hand_on(remote, package)
    for attempt in range(TRIES):
        try:
            with reach(host, inventory) as remote:
                sent += remote.upload(
                    package.path,
                    target,
                    lambda there: tell("transfer", f"{100 * there // max(package.size, 1)} %"),
                )
                tell("verify", "")
                size = str(package.size)
                remote.program(program, "receive", package.version, package.sha256, size)
                return sent
        except StepError as error:
            damaged += 1
            if damaged == 2:
                raise NotReadyError(f"{error}, twice: nothing was changed") from error
        except NoAnswerError:
            if attempt == TRIES - 1:
                raise
            time.sleep(1)
    raise NotReadyError("the package does not arrive whole: nothing was changed")


def drain(host: Host, inventory: Inventory, remote: Remote, patience: float, tell: Tell) -> None:
    """Tell the students, then wait until nobody has a session.

    Args:
        host: the appliance.
        inventory: with its pinned key.
        remote: a connection to it.
        patience: seconds to wait; 0: tell nobody.
        tell: called as it goes on.

    Raises:
        NotReadyError: somebody still has one.
    """
    deadline = time.monotonic() + patience
    if patience and remote.ask(SageFacts, PROGRAM, "look").sessions:
        tell_students(host, inventory, NOTICE, tell)
    while students := remote.ask(SageFacts, PROGRAM, "look").sessions:
        tell("drain", f"{len(students)} sessions")
        if time.monotonic() > deadline:
            raise NotReadyError(
                f"{len(students)} sessions are still open; all is prepared, nothing switched",
                hint="run again later; it goes on from here",
            )
        time.sleep(2)


def _unpacking(package: Package) -> tuple[str, bytes]:
    """How the guest unpacks a package, and what it needs for that."""
    if package.strip is not None:
        return str(package.strip), b""
    ours = resources.PACKAGE / "guest/sage"
    script = (ours / "install-wheels.sh").read_text()
    if package.lean:
        program = (ours / "lean.py").read_text()
        script += f"python3 - \"$prefix\" <<'{END}'\n{program}{END}\n"
    program = (resources.PACKAGE / "guest/documentation/docstrings.py").read_text()
    script += f"if {DOCUMENTED}; then\n{DOCUMENT} <<'{END}'\n{program}{END}\nfi\n"
    return "wheels", script.encode()


def lead_back(remote: Remote, program: str, error: ApplianceError) -> None:
    """Put the old one back; when that cannot be said any more, the guest does it alone.

    Raises:
        GuestError: it could not be said; with the first reason, too.
    """
    try:
        remote.program(program, "back", str(error)[:500], timeout=STEP_SECONDS)
    except GuestError as second:
        raise type(second)(
            f"{error}; the way back could not be ordered: {second}; the appliance goes back by"
            " itself, by a timer or when it starts",
            hint=second.hint,
        ) from error


def _percent(told: str) -> float:
    return float(told.removesuffix(" %")) if told.endswith(" %") else 0.0
