"""The collectors of facts and the checks that judge them, in the order of their modules."""

import importlib
import json
import pkgutil
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import paramiko

from provision.config import Config
from provision.errors import GuestError
from provision.machine import Machine, SshEndpoint
from provision.machine.ssh import execute
from provision.verify import checks

INSIDE = Path(__file__).with_name("inside")
SCRIPT_SECONDS = 900

Facts = Mapping[str, Any]
Problems = Iterator[str]
Result = Literal["ok", "failed", "not checked"]
When = Literal["booted", "last"]


@dataclass(frozen=True)
class Guest:
    """A booted guest, for collectors.

    Args:
        config: what the appliance was built from.
        machine: the runtime that it runs in; ``host_port(guest_port)`` reaches its ports.
        endpoint: its SSH server, for the administrator's account.
        client: an open connection to it.
    """

    config: Config
    machine: Machine
    endpoint: SshEndpoint
    client: paramiko.SSHClient

    def script(self, name: str, **asked: object) -> dict[str, Any]:
        """Run ``inside/NAME.py`` in the guest as root and return what it printed as JSON.

        Args:
            name: the script, without its suffix.
            asked: the script's one argument, as JSON.

        Raises:
            GuestError: it failed, or the administrator may not become root.
        """
        source = (INSIDE / f"{name}.py").read_bytes()
        argument = shlex.quote(json.dumps(asked))
        done = execute(
            self.client, f"sudo -n python3 - {argument}", stdin=source, timeout=SCRIPT_SECONDS
        )
        if done.status:
            raise GuestError(
                f"{name}.py ended with status {done.status} in the guest: {done.stderr[-800:]}",
                hint=f"may {self.endpoint.user} run sudo without a password?",
            )
        facts: dict[str, Any] = json.loads(done.stdout)
        return facts


@dataclass(frozen=True)
class CheckRow:
    """The verdict on one promise.

    Args:
        name: short and stable, for scripts.
        promise: what should hold, for people.
        how: what was done to see it.
        result: whether it holds.
        detail: what is wrong, or why it was not checked.
    """

    name: str
    promise: str
    how: str
    result: Result
    detail: str


@dataclass(frozen=True)
class Check:
    """One promise and the function that judges it; see `check`."""

    name: str
    promise: str
    how: str
    section: str
    judge: Callable[[Config, Facts], Problems]

    def row(self, config: Config, sections: Mapping[str, Facts]) -> CheckRow:
        """Judge; a check that fails over facts that it did not expect has failed."""
        if self.section not in sections:
            return self._row("not checked", "this way of checking cannot see it")
        facts = sections[self.section]
        try:
            problems = [facts["error"]] if "error" in facts else list(self.judge(config, facts))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            problems = [f"the guest's facts cannot be judged: {error!r}"]
        return self._row("failed" if problems else "ok", "; ".join(problems))

    def _row(self, result: Result, detail: str) -> CheckRow:
        return CheckRow(self.name, self.promise, self.how, result, detail)


@dataclass(frozen=True)
class Collector:
    """What gathers one section of facts from a booted guest; see `collector`."""

    section: str
    when: When
    fast: bool
    gather: Callable[[Guest], Facts | None]


Gather = TypeVar("Gather", bound=Callable[[Guest], Facts | None])
_checks: list[Check] = []
_collectors: list[Collector] = []


def check(
    section: str, *, how: str
) -> Callable[[Callable[[Config, Facts], Problems]], Callable[[Config, Facts], Problems]]:
    """Register a pure function that yields what is wrong in one section of the facts.

    Its name is the row's name, its docstring's first line is the promise.

    Args:
        section: whose facts it judges.
        how: what is done to see it, for the table.
    """

    def register(judge: Callable[[Config, Facts], Problems]) -> Callable[[Config, Facts], Problems]:
        promise = (judge.__doc__ or "").partition("\n")[0].rstrip(".")
        name = judge.__name__.replace("_", "-")
        _checks.append(Check(name, promise, how, section, judge))
        return judge

    return register


def collector(
    section: str, *, when: When = "booted", fast: bool = True
) -> Callable[[Gather], Gather]:
    """Register a function that gathers one section of facts from a booted guest, or None.

    Checks of a section that is None are told as not checked; those of one with an ``error`` fail
    with it.

    Args:
        section: the name by which checks ask for it.
        when: ``last`` for what harms the guest; every other collector has run by then.
        fast: whether it works, and harms nobody, in nspawn.
    """

    def register(gather: Gather) -> Gather:
        _collectors.append(Collector(section, when, fast, gather))
        return gather

    return register


@cache
def _load() -> None:
    for module in sorted(m.name for m in pkgutil.iter_modules(checks.__path__)):
        importlib.import_module(f"{checks.__name__}.{module}")


def collectors(*, fast: bool) -> Iterable[Collector]:
    """Every collector that this way of checking can use, the harmful ones last."""
    _load()
    usable = [c for c in _collectors if c.fast or not fast]
    return sorted(usable, key=lambda c: c.when == "last")


def judge(config: Config, sections: Mapping[str, Facts]) -> list[CheckRow]:
    """Judge every promise on the facts that were gathered."""
    _load()
    return [check.row(config, sections) for check in _checks]
