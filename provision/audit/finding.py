"""What of some components is open, by some advisories: one finding for each hole of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from provision.audit.advisory import Advisory, highest
from provision.audit.component import Bill, Component
from provision.audit.database import Database
from provision.audit.mending import AuditTarget, Reach, mend, reach
from provision.audit.versions import VersionVerdict, latest, verdict


@dataclass(frozen=True)
class Finding:
    """A known hole in something that is installed.

    Args:
        name: of the hole: its CVE, if it has one and no more; else the advisory's.
        names: all that it is called.
        summary: one line; may be empty.
        severity: ``low`` to ``critical``; ``unknown``: nobody has judged it.
        component: what has it.
        fixed: the version without it; None: there is none yet.
        reach: where in our appliance it can be reached.
        mend: the command that brings the fixed version.
        unclear: why the versions cannot be compared; empty: they can.
    """

    name: str
    names: tuple[str, ...]
    summary: str
    severity: str
    component: Component
    fixed: str | None
    reach: Reach
    mend: str | None
    unclear: str = ""


def judge(target: AuditTarget, bill: Bill, database: Database) -> tuple[Finding, ...]:
    """All that is open in a target, whatever its severity."""
    return tuple(
        _finding(target, component, hole)
        for component in bill.components
        for hole in _holes(component, database)
    )


_Hit = tuple[Advisory, VersionVerdict]


def _holes(component: Component, database: Database) -> Iterator[Sequence[_Hit]]:
    """The advisories that mean a version, those of the same hole together."""
    holes: list[list[_Hit]] = []
    for advisory in database.advisories.get((component.ecosystem, component.package), ()):
        said = verdict(component.version, advisory)
        if not said.affected:
            continue
        same = [hole for hole in holes if any(each.names & advisory.names for each, _ in hole)]
        holes = [hole for hole in holes if hole not in same]
        holes.append([hit for hole in same for hit in hole] + [(advisory, said)])
    yield from sorted(holes, key=lambda hole: min(each.name for each, _ in hole))


def _finding(target: AuditTarget, component: Component, hole: Sequence[_Hit]) -> Finding:
    names = sorted(frozenset[str]().union(*(each.names for each, _ in hole)))
    cves = [name for name in names if name.startswith("CVE-")]
    fixes = [said.fixed for _, said in hole if said.fixed is not None]
    fixed = latest(component.ecosystem, fixes)
    return Finding(
        cves[0] if len(cves) == 1 else min(each.name for each, _ in hole),
        tuple(names),
        max((each.summary for each, _ in hole), key=len),
        highest(*(each.severity for each, _ in hole)),
        component,
        fixed,
        reach(component),
        mend(target, component, fixed),
        max((said.unclear for _, said in hole), key=len),
    )
