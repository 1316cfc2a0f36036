"""Who learns and teaches in a course by the roll of a learning platform, beside the record.

Root's: the hub asks root's service (``assignments.desk``), which writes here only names that a
platform's people have, and only into courses that the record connects with a platform. What the
record says of a name itself stays.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from provision.guest import typed
from provision.guest.pool.certificate import NAME
from provision.guest.whole import keep, locking

PREFIX = "lti-"  # of the names of a platform's people, which nobody else gets
FILE = "rolls.json"  # beside the courses' directories
ROLES = ("members", "teachers")
MOST = 5000  # names of a roll
MEND = "remove it: the platforms' next rolls write it anew"


Rolls = dict[str, dict[str, dict[str, list[str]]]]  # names by course, source and role


def source_of(issuer: str, client_id: str, deployment: str, context: str) -> str:
    """The name of a platform's course, which no other one has."""
    return json.dumps([issuer, client_id, deployment, context])


def places_of(platform: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Which course of ours each course of one platform's is, by deployment and context there.

    Args:
        platform: one of ``sign_in.lti`` of the record.
    """
    usual = platform["deployments"][0]
    return {
        (each.get("deployment") or usual, each["context"]): each["course"]
        for each in platform["courses"]
    }


def connections(platforms: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The same of all platforms, by ``source_of``.

    Args:
        platforms: ``sign_in.lti`` of the record.
    """
    return {
        source_of(each["issuer"], each["client_id"], *place): course
        for each in platforms
        for place, course in places_of(each).items()
    }


def merge(
    courses: Mapping[str, Any], directory: Path, connected: Mapping[str, str]
) -> dict[str, Any]:
    """The courses of the record, with those who are on a platform's roll.

    Args:
        courses: by name, each a ``record.CourseRecord``.
        directory: of the courses' directories.
        connected: from ``connections``; the roll of one that is no more is nobody's.

    Raises:
        DamagedError: the file of rolls is damaged.
    """
    rolls = _read(directory)
    told = {}
    for name, course in courses.items():
        known = rolls.get(name, {})
        of_platform = [roll for source, roll in known.items() if connected.get(source) == name]
        found: dict[str, list[str]] = {}
        for role, other in (ROLES, ROLES[::-1]):
            came = {each for roll in of_platform for each in roll.get(role, ())} - {*course[other]}
            found[role] = [*course[role], *sorted(came - {*course[role]})]
        # Who teaches at one place and learns at another does not hand in to himself.
        learns = {*found["teachers"]} - {*course["members"]}
        found["members"] = [each for each in found["members"] if each not in learns]
        told[name] = {**course, **found}
    return told


def enroll(
    directory: Path, course: str, source: str, roll: Mapping[str, Iterable[str]], *, whole: bool
) -> None:
    """Write down who is on a platform's roll.

    Args:
        directory: of the courses' directories.
        course: which.
        source: of which platform and course there; each has a roll of its own.
        roll: names by role.
        whole: they are all; else these are there, too, or have another role now.

    Raises:
        ValueError: a name is none of a platform's, or there are too many.
    """
    given = {role: sorted(set(roll.get(role, ()))) for role in ROLES}
    everybody = {name for found in given.values() for name in found}
    for name in everybody:
        if not (name.startswith(PREFIX) and NAME.fullmatch(name)):
            raise ValueError(f"{name!r} is no name of a platform's")
    directory.mkdir(mode=0o700, exist_ok=True)
    with locking(directory):
        rolls = _read(directory)
        before = rolls.get(course, {}).get(source, {})
        if not whole:
            stay = {role: {*before.get(role, ())} - everybody for role in ROLES}
            given = {role: sorted({*given[role], *stay[role]}) for role in ROLES}
        if sum(map(len, given.values())) > MOST:
            raise ValueError(f"{course} has at most {MOST} people of a platform")
        if given != before:
            rolls.setdefault(course, {})[source] = given
            keep(directory / FILE, json.dumps(rolls))


def names(directory: Path, course: str, source: str) -> set[str]:
    """Who is on one platform's roll of a course.

    Args:
        directory: of the courses' directories.
        course: which.
        source: which platform, and which course there.

    Raises:
        DamagedError: the file of rolls is damaged.
    """
    roll = _read(directory).get(course, {}).get(source, {})
    return {name for found in roll.values() for name in found}


def _read(directory: Path) -> Rolls:
    try:
        told: Rolls = typed.load(Rolls, directory / FILE, MEND)
    except FileNotFoundError:
        return {}
    return told
