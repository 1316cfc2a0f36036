"""What the programs that renew an appliance answer, as the guest writes it and the host reads it.

Nothing but data: the host imports it, and each program takes it along.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

SHOWN = ("switching", "switched")  # the new one is in front, and nobody has confirmed it
GOES_BACK = ("recorded", "upgrading", "upgraded", "rebooting", "rebooted")  # of the system
LEAST_MEMORY = 512 << 20  # bytes that a proof wants beside the sessions
ROOM = 256 << 20  # bytes that are to stay free
EARLIER = {"version": "name"}  # what older programs called a key


@dataclass(frozen=True)
class Answer:
    """A record that is one object of JSON."""

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Self:
        """Take what there is; a key that is not known is another release's."""
        known = {each.name for each in fields(cls)}
        named = {EARLIER.get(key, key): value for key, value in told.items()}
        return cls(**{key: value for key, value in named.items() if key in known})


@dataclass(frozen=True)
class State(Answer):
    """How far a renewal has come; empty: none was ever begun.

    Args:
        name: what is renewed to: a version, or an environment.
        step: the last that was done.
        since: when, in seconds since 1970.
        digest: of the package that it comes from.
        old: what served before; None: nothing did.
        migrates: whether the hub's database changes its form.
        seconds: after which it goes back, unless it is confirmed.
        stale: the start of the machine that still runs what was renewed.
        error: why a step ended early.
        failed: the name of what went back.
        undone: the name of what was led back though it was confirmed.
        reason: why it went back.
    """

    name: str | None = None
    step: str | None = None
    since: float = 0
    digest: str | None = None
    old: str | None = None
    migrates: bool = False
    seconds: int | None = None
    stale: str | None = None
    error: str | None = None
    failed: str | None = None
    undone: str | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Facts(Answer):
    """What every program of these tells of its appliance.

    Args:
        free: bytes of the file system that it writes to.
        memory: bytes that programs may still take.
        state: how far a renewal has come.
    """

    free: int
    memory: int
    state: State

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Self:
        """Take what there is."""
        return super().read({**told, "state": State.read(told["state"])})


@dataclass(frozen=True, kw_only=True)
class Beside(Facts):
    """Of what is put beside the old one, and shown in its place.

    Args:
        current: what serves now.
        sessions: the students who have one.
        incoming: bytes of each file that is being transferred, by its digest.
    """

    current: str | None
    sessions: list[str] = field(default_factory=list)
    incoming: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SageFacts(Beside):
    """Of Sage.

    Args:
        versions: all that are whole.
    """

    versions: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class NotebookFacts(Beside):
    """Of the notebook's environment.

    Args:
        python: its version of Python, as in ``3.11``.
        machine: its processor, as the kernel calls it.
        installed: versions of its packages, by name.
        lists: text of the lists that it was made by, by file.
    """

    python: str
    machine: str
    installed: dict[str, str]
    lists: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class SystemFacts(Facts):
    """Of the system.

    Args:
        working: whether packages are being brought up to date.
        boot: the name of this start of the machine.
        reboot: whether something runs that only a new start replaces.
        hostname: of the appliance.
        sage: the version that serves; None: there is none.
        pool: the pool's accounts.
        failed: units that have failed.
    """

    working: bool
    boot: str
    reboot: bool
    hostname: str
    sage: str | None
    pool: list[str]
    failed: list[str]


@dataclass(frozen=True, kw_only=True)
class Confirmed(SystemFacts):
    """The same, as an upgrade was confirmed.

    Args:
        changed: versions before and now, by package.
    """

    changed: dict[str, list[str | None]]
