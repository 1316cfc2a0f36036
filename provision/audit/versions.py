"""Whether a version is one that an advisory means, in the order of the version's own system."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from debian.debian_support import NativeVersion
from packaging.version import Version

from provision.audit.advisory import Advisory, Event
from provision.audit.component import PYPI


@dataclass(frozen=True)
class VersionVerdict:
    """What an advisory says of one version.

    Args:
        affected: it means this version, or cannot be compared with it.
        fixed: the first version above it that it does not mean; None: there is none yet.
        unclear: why it cannot be compared; empty: it can.
    """

    affected: bool
    fixed: str | None = None
    unclear: str = ""


def verdict(version: str, advisory: Advisory) -> VersionVerdict:
    """Judge a version by OSV's algorithm.

    A version that cannot be compared counts as affected: nobody has said that it is not.
    Source: https://ossf.github.io/osv-schema/#evaluation
    """
    parse = _order_of(advisory.ecosystem)
    try:
        there = parse(version)
        hit, fixes = version in advisory.versions, []
        if not hit and advisory.ecosystem == PYPI:
            hit = str(there) in advisory.versions
        for events in advisory.ranges:
            inside, fixed = _within(there, events, parse)
            hit = hit or inside
            fixes += [fixed] if inside and fixed is not None else []
    except ValueError as error:
        return VersionVerdict(True, None, f"{version} cannot be compared: {error}")
    return VersionVerdict(hit, latest(advisory.ecosystem, fixes) if hit else None)


def latest(ecosystem: str, versions: list[str]) -> str | None:
    """The highest of some versions; None: there is none."""
    return max(versions, key=_order_of(ecosystem), default=None)


def at_least(ecosystem: str, version: str, other: str) -> bool:
    """Whether a version is another one or above it; no, where they cannot be compared."""
    parse = _order_of(ecosystem)
    try:
        return bool(parse(version) >= parse(other))
    except ValueError:
        return False


def _within(
    there: Any, events: tuple[Event, ...], parse: Callable[[str], Any]
) -> tuple[bool, str | None]:
    inside, fixed = False, None
    placed: list[tuple[Event, Any]] = [
        (each, None if each.version == "0" else parse(each.version)) for each in events
    ]
    order: Callable[[tuple[Event, Any]], Any] = functools.cmp_to_key(_order)
    placed.sort(key=order)
    for event, at in placed:
        reached = at is None or there >= at
        if event.kind == "introduced" and reached:
            inside = True
        elif (event.kind in ("fixed", "limit") and reached) or (
            event.kind == "last_affected" and (at is None or there > at)
        ):
            inside = False
        elif event.kind == "fixed" and inside and fixed is None:
            fixed = event.version
    return inside, fixed


def _order(before: tuple[Event, Any], behind: tuple[Event, Any]) -> int:
    """Before, equal or after; None, which is OSV's 0, is before all."""
    one, two = before[1], behind[1]
    if one is None or two is None:
        return (one is not None) - (two is not None)
    return bool(one > two) - bool(one < two)


def _order_of(ecosystem: str) -> Callable[[str], Any]:
    return _pypi if ecosystem == PYPI else NativeVersion


def _pypi(version: str) -> Version:
    """A version without its local part: a local build of a version has its holes."""
    return Version(Version(version).public)
