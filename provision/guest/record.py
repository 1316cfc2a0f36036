"""What this appliance is configured to be, as far as its own programs must know.

One file, which ``build/variables.py`` makes of ``appliance.yml``, and which hub, keeper, sampler
and sessions read. A key of ``appliance.yml`` that one of these needs is in here under its own name.
Root and the hub's user may read it; sessions may not.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from provision.guest import typed
from provision.guest.pool.entitlement import Share

PLACE = Path("/etc/notebook/guest.json")
VERSION = 1
OWN = Path("/etc/notebook/students.json")  # what the administrator sets while the notebook runs
MEND = "from outside, `appliance configure` writes it anew"

Limits = dict[str, int]  # some of a share's; what is not given is as without


class GroupRecord(TypedDict):
    """Students who have limits in common."""

    members: list[str]
    limits: Limits


class ProfileRecord(TypedDict):
    """What may be chosen when a session starts.

    Args:
        title: as it is shown.
        kernels: their names, or what these begin with; none: all.
        limits: of such a session.
        forked: whether its kernels come from the nursery.
    """

    title: str
    kernels: list[str]
    limits: Limits
    forked: bool


class CourseRecord(TypedDict):
    """Who learns and who teaches.

    Args:
        members: the students.
        teachers: who is shown all of it.
        quota: bytes of the course's own files.
    """

    members: list[str]
    teachers: list[str]
    quota: int


class RetentionRecord(TypedDict):
    """For how many seconds is kept what is of the past; 0: for ever.

    Args:
        archives: of deleted students.
        audit: its lines.
    """

    archives: int
    audit: int


@dataclass(frozen=True)
class Record:
    """The record; what is left out is off.

    Args:
        admin: who administers the hub.
        accounts: the pool's, as ``user@host``.
        limits: of a session for which nothing else says more.
        expiry: seconds after which any session is ended; 0: never.
        egress: port of the filtering proxy to further servers; 0: there is none.
        groups: by name.
        students: limits of single students.
        profiles: by name, the first is chosen unless told otherwise.
        courses: by name.
        sign_in: as ``sign_in`` of ``appliance.yml``; empty: accounts are the notebook's own.
        stores: ``every`` so many seconds they are brought up to date; empty: there are none.
        retention: seconds for which archives and the audit's lines are kept; 0: for ever.
        version: of this form.
    """

    admin: str
    accounts: list[str]
    limits: Share
    expiry: int = 0
    egress: int = 0
    groups: dict[str, GroupRecord] = field(default_factory=dict)
    students: dict[str, Limits] = field(default_factory=dict)
    profiles: dict[str, ProfileRecord] = field(default_factory=dict)
    courses: dict[str, CourseRecord] = field(default_factory=dict)
    sign_in: dict[str, Any] = field(default_factory=dict)
    stores: dict[str, int] = field(default_factory=dict)
    retention: RetentionRecord = field(default_factory=lambda: RetentionRecord(archives=0, audit=0))
    version: int = VERSION


def read(path: Path = PLACE) -> Record:
    """Read the record.

    Raises:
        DamagedError: it is missing, damaged, or of another form.
    """
    try:
        found: Record = typed.load(Record, path, MEND)
    except OSError as error:
        raise typed.DamagedError(f"{path}: {error.strerror}; {MEND}") from error
    if found.version != VERSION:
        raise typed.DamagedError(f"{path} is of form {found.version}, not {VERSION}; {MEND}")
    return found


def shares(known: Path = PLACE, own: Path = OWN) -> dict[str, Any]:
    """Everything that decides what a session may use, as ``entitlement.share_of`` takes it.

    Also ``started``: the profiles whose kernels are not forked.

    Args:
        known: the record.
        own: limits of single students, which go before the record's.

    Raises:
        DamagedError: one of the files is.
    """
    told, students = read(known), dict[str, Limits]()
    if own.exists():
        students = typed.load(dict[str, Limits], own, "remove it: the sampler writes it anew")
    return {
        "default": asdict(told.limits),
        "profiles": {name: profile["limits"] for name, profile in told.profiles.items()},
        "groups": told.groups,
        "students": {**told.students, **students},
        "started": [name for name, profile in told.profiles.items() if not profile["forked"]],
    }
