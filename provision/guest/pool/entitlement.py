"""What one session may use: the pool's limits, or a profile's, a group's, a student's own.

Root reads it when a session opens; the student's name and the profile are in the certificate.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHARES = Path("/etc/notebook/shares.json")
OWN = Path("/etc/notebook/students.json")  # what the administrator sets while the notebook runs
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


def read_shares(files: Sequence[Path] = (SHARES, OWN)) -> dict[str, Any]:
    """Everything that decides a share: ``default``, ``profiles``, ``groups``, ``students``.

    Also ``started``: the profiles whose kernels are not forked.

    Raises:
        OSError, ValueError: the first file cannot be read, or one is damaged.
    """
    shares: dict[str, Any] = json.loads(files[0].read_text())
    for file in files[1:]:
        if file.exists():
            shares["students"] = {**shares["students"], **json.loads(file.read_text())}
    return shares


def share_of(student: str, profile: str, shares: Mapping[str, Any]) -> Share:
    """The limits of a session: a student's own before groups', those before the profile's.

    Args:
        student: the student's name.
        profile: what was chosen when the session started; empty: nothing.
        shares: from ``read_shares``.
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
