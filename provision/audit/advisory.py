"""Advisories, from OSV's records and from the data of Debian's security tracker."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cvss import CVSS2, CVSS3, CVSS4
from cvss.exceptions import CVSSError
from packaging.utils import canonicalize_name
from pydantic import BaseModel, ConfigDict, ValidationError

from provision.audit.component import PYPI

SEVERITIES = ("low", "medium", "high", "critical")
UNKNOWN = "unknown"
# What databases write instead; Debian's unimportant ones are no security matter as packaged.
_WORDS = {
    "moderate": "medium",
    "unimportant": "low",
    "negligible": "low",
    "none": "low",
    "important": "high",
}
_SCORES = {"CVSS_V2": CVSS2, "CVSS_V3": CVSS3, "CVSS_V4": CVSS4}
# Debian's tracker names releases, bills of materials and OSV number them.
_RELEASES = {"bullseye": "11", "bookworm": "12", "trixie": "13", "forky": "14", "duke": "15"}
_SCHEMA = "1"
_KEYS = ("severity", "urgency")  # where databases write a word of their own


@dataclass(frozen=True)
class Event:
    """Where in the order of versions something begins or ends."""

    kind: Literal["introduced", "fixed", "last_affected", "limit"]
    version: str


@dataclass(frozen=True)
class Advisory:
    """What one record says of one package.

    Args:
        name: the record's own.
        names: that, and those of the same hole elsewhere.
        ecosystem: as in ``Component``.
        package: as in ``Component``.
        severity: one of ``SEVERITIES``, or ``UNKNOWN``.
        summary: one line; may be empty.
        ranges: of versions that it means.
        versions: further ones, one by one.
    """

    name: str
    names: frozenset[str]
    ecosystem: str
    package: str
    severity: str
    summary: str
    ranges: tuple[tuple[Event, ...], ...]
    versions: frozenset[str] = frozenset()


class SchemaError(Exception):
    """It is no advisory of a schema that is known here; the message says why."""


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Score(_Lenient):
    type: str
    score: str


class _Range(_Lenient):
    type: str
    events: list[dict[str, str]]


class _Package(_Lenient):
    ecosystem: str
    name: str


class _Affected(_Lenient):
    package: _Package | None = None
    severity: list[_Score] | None = None
    ranges: list[_Range] | None = None
    versions: list[str] | None = None
    ecosystem_specific: dict[str, Any] | None = None
    database_specific: dict[str, Any] | None = None


class _Record(_Lenient):
    id: str
    modified: str
    schema_version: str = "1.0.0"
    withdrawn: str | None = None
    aliases: list[str] | None = None
    upstream: list[str] | None = None
    summary: str = ""
    details: str = ""
    severity: list[_Score] | None = None
    affected: list[_Affected] | None = None
    database_specific: dict[str, Any] | None = None


def from_osv(record: Any) -> tuple[str, tuple[Advisory, ...]]:
    """The advisories of one OSV record, and when it was changed last.

    Raises:
        SchemaError: it is no such record, or of a schema to come.
    """
    try:
        told = _Record.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise SchemaError(f"{where}: {first['msg']}") from None
    if told.schema_version.partition(".")[0] != _SCHEMA:
        raise SchemaError(f"schema_version {told.schema_version}; {_SCHEMA}.x is known here")
    if told.withdrawn:
        return told.modified, ()
    return told.modified, tuple(_each(told))


def _each(told: _Record) -> Iterator[Advisory]:
    names = frozenset({told.id, *(told.aliases or ()), *(told.upstream or ())})
    summary = " ".join((told.summary or told.details.partition("\n")[0]).split())[:200]
    for part in told.affected or ():
        if part.package is None:
            continue
        ranges = tuple(
            tuple(_events(each.events)) for each in part.ranges or () if each.type != "GIT"
        )
        words = (told.database_specific, part.database_specific, part.ecosystem_specific)
        ecosystem = part.package.ecosystem.removesuffix(":LTS")
        yield Advisory(
            told.id,
            names,
            ecosystem,
            canonicalize_name(part.package.name) if ecosystem == PYPI else part.package.name,
            highest(
                *(_score(each) for each in (*(told.severity or ()), *(part.severity or ()))),
                *(_word(each.get(key)) for each in words if each for key in _KEYS),
            ),
            summary,
            ranges,
            frozenset(part.versions or ()),
        )


def _events(events: list[dict[str, str]]) -> Iterator[Event]:
    for event in events:
        for kind, version in event.items():
            match kind:
                case "introduced" | "fixed" | "last_affected":
                    yield Event(kind, version)
                case "limit" if version != "*":
                    yield Event(kind, version)
                case "limit":
                    pass
                case _:
                    raise SchemaError(f"affected.ranges.events: {kind!r} is not known")


def from_tracker(package: str, holes: Any) -> Iterator[Advisory]:
    """The advisories of one source package in the data of Debian's security tracker.

    Source: https://security-tracker.debian.org/tracker/data/json

    Raises:
        SchemaError: it is something else.
    """
    try:
        for name, hole in holes.items():
            summary = " ".join(str(hole.get("description", "")).split())[:200]
            for release, state in hole["releases"].items():
                number, fixed = _RELEASES.get(release), state.get("fixed_version")
                if number is None or (state["status"] == "resolved" and fixed in (None, "0")):
                    continue
                events = [Event("introduced", "0")]
                if state["status"] == "resolved":
                    events.append(Event("fixed", str(fixed)))
                urgency = _word(state.get("urgency"))
                minor = "low" if urgency == UNKNOWN and "nodsa" in state else urgency
                ecosystem, names = f"Debian:{number}", frozenset({name})
                yield Advisory(name, names, ecosystem, package, minor, summary, (tuple(events),))
    except (AttributeError, KeyError, TypeError) as error:
        raise SchemaError(f"{package}: not as Debian's security tracker has it ({error})") from None


def highest(*severities: str) -> str:
    """The worst of some severities; ``UNKNOWN`` where none is known."""
    known = [each for each in severities if each != UNKNOWN]
    return max(known, key=SEVERITIES.index, default=UNKNOWN)


def counts(severity: str, asked: str) -> bool:
    """Whether a severity is the asked one or worse; one that nobody has judged is."""
    return severity == UNKNOWN or SEVERITIES.index(severity) >= SEVERITIES.index(asked)


def _score(score: _Score) -> str:
    kind = _SCORES.get(score.type)
    if kind is None:
        return _word(score.score)
    try:
        rated = kind(score.score)
    except CVSSError:
        return UNKNOWN
    return _word(rated.severity if isinstance(rated, CVSS4) else rated.severities()[0])


def _word(text: Any) -> str:
    word = str(text or "").strip().rstrip("*").lower()
    word = _WORDS.get(word, word)
    return word if word in SEVERITIES else UNKNOWN


def is_tracker(holes: Mapping[str, Any]) -> bool:
    """Whether the first value of a document looks like a package of Debian's tracker."""
    return all(isinstance(each, dict) and "releases" in each for each in holes.values())
