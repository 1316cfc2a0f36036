"""What one session may use: the pool's limits, or a profile's, a group's, a student's own.

Nothing but Python: other engines than ours get this file as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KINDS = ("memory", "cpu", "disk")


@dataclass(frozen=True)
class Share:
    """Limits of one session.

    Args:
        memory: bytes.
        cpu: percent of one core.
        disk: bytes of the student's files; 0: no limit.
    """

    memory: int
    cpu: int
    disk: int


def share_of(student: str, profile: str, shares: Mapping[str, Any]) -> Share:
    """The limits of a session: a student's own before groups', those before the profile's.

    Args:
        student: the student's name.
        profile: what was chosen when the session started; empty: nothing.
        shares: from ``record.shares``.
    """
    groups = [g["limits"] for g in shares["groups"].values() if student in g["members"]]
    found = {}
    for kind in KINDS:
        of_groups = [given[kind] for given in groups if given.get(kind) is not None]
        choices = (
            shares["students"].get(student, {}).get(kind),
            max(of_groups, default=None),
            shares["profiles"].get(profile, {}).get(kind),
            shares["default"][kind],
        )
        found[kind] = next(value for value in choices if value is not None)
    return Share(**found)
