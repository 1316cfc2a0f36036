"""``appliance audit``: which known vulnerabilities are open, by advisories that are brought."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision.cli._fleet import NONE, PARTIAL, table_of, with_inventory
from provision.cli._json import as_json
from provision.cli.inspect import printable
from provision.config.distributions import DISTRIBUTIONS
from provision.errors import UsageError

if TYPE_CHECKING:
    from provision.audit.component import Bill
    from provision.audit.database import Database
    from provision.audit.finding import Finding
    from provision.audit.mending import AuditTarget
    from provision.fleet.inventory import Host, Inventory
    from provision.fleet.many import HostRow

OPEN = 8
KINDS: dict[str, str] = {
    "pypi": "PyPI",
    **{name: known.title for name, known in DISTRIBUTIONS.items()},
}


@click.command()
@click.argument(
    "files",
    nargs=-1,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="[FILE]...",
)
@click.option(
    "--locks", is_flag=True, help="The lists of Python packages that builds and this tool use."
)
@click.option("--fleet", "everyone", is_flag=True, help="Every appliance of the inventory.")
@click.option("--on", multiple=True, metavar="HOST", help="These hosts, groups or tags of it.")
@click.option(
    "--supported",
    is_flag=True,
    help="Only hold the table of what is supported until when against today; no advisories.",
)
@click.option(
    "--advisories",
    multiple=True,
    metavar="PATH|URL",
    envvar="APPLIANCE_ADVISORIES",
    help="A .json or .zip of OSV's or of Debian's tracker, or a folder of such. May be repeated.",
)
@click.option(
    "--severity",
    type=click.Choice(["low", "medium", "high", "critical"]),
    default="low",
    show_default=True,
    help="Show what is of this severity or worse, or of none that is known.",
)
@click.option(
    "--only",
    type=click.Choice(list(KINDS)),
    multiple=True,
    help="Judge these packages alone. Default: all. May be repeated.",
)
@click.option(
    "--metrics",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write how many of high severity each host has, for node_exporter's textfile collector.",
)
@as_json
@with_inventory
def command(
    inventory: "Inventory",
    files: tuple[Path, ...],
    locks: bool,
    everyone: bool,
    on: tuple[str, ...],
    supported: bool,
    advisories: tuple[str, ...],
    severity: str,
    only: tuple[str, ...],
    metrics: Path | None,
    as_json: bool,
) -> None:
    """Hold what is installed against advisories, without a network.

    FILE is an OVA with its bill of materials (.cdx.json) beside it, such a bill, or a lock of
    Python packages. Each finding says what is installed, in which version it is mended, who
    reaches it in an appliance (a session, the hub, only the build), and the command that mends it.

    Exit code: 0 nothing is open, 8 something is, 6 or 1 some or none of the hosts answered.
    """
    from provision.audit import database
    from provision.audit.advisory import counts
    from provision.audit.finding import judge
    from provision.jeos import proxy

    if supported:
        if files or locks or everyone or on:
            raise click.UsageError("--supported judges our own dependencies alone")
        _show_support(as_json=as_json)
        return
    if not advisories:
        raise click.UsageError("against what? --advisories, or $APPLIANCE_ADVISORIES")
    targets = _files(files, locks=locks)
    rows, bills = _hosts(inventory, on) if on or everyone else ((), [])
    targets = [(target, _only(target.name, bill, only)) for target, bill in (*targets, *bills)]
    if not (files or locks or rows):
        raise click.UsageError("give FILE, --locks, --fleet or --on HOST")
    if metrics and (only or not rows):
        raise click.UsageError("--metrics counts all packages of hosts: --fleet, without --only")
    wanted = {(part.ecosystem, part.package) for _, bill in targets for part in bill.components}
    known = database.read(advisories, wanted, opener=proxy.of(None).opener())
    everything = [(target, bill, judge(target, bill, known)) for target, bill in targets]
    if not only:
        _note(everything, metrics)
    judged = [
        (target, bill, [each for each in found if counts(each.severity, severity)])
        for target, bill, found in everything
    ]
    if as_json:
        click.echo(json.dumps(_document(judged, rows, known, severity)))
    else:
        _print(judged, rows, known)
    if any(found for _, _, found in judged):
        raise click.exceptions.Exit(OPEN)
    if failed := sum(row.result != "ok" for row in rows):
        raise click.exceptions.Exit(PARTIAL if failed < len(rows) else NONE)


def _show_support(*, as_json: bool) -> None:
    """Say until when what we depend on is supported.

    Raises:
        Exit: 8, something is over, or not known.
    """
    from provision.audit import mending
    from provision.audit import supported as support

    entries = support.entries()
    pins = support.lists(mending.locks())
    found = list(support.troubles(entries, support.requirements(), pins, datetime.now(UTC).date()))
    if as_json:
        shown = [{**asdict(each), "until": str(each.until)} for each in entries]
        click.echo(json.dumps({"supported": shown, "troubles": found}))
    else:
        for each in sorted(entries, key=lambda each: (each.until, each.name)):
            line = f"{each.until}  {each.name} {each.version}".rstrip()
            click.echo(f"{line}  {each.held}".rstrip())
        for trouble in found:
            click.echo(trouble)
    if found:
        raise click.exceptions.Exit(OPEN)


Judged = Sequence[tuple["AuditTarget", "Bill", Sequence["Finding"]]]


def _files(files: Sequence[Path], *, locks: bool) -> "list[tuple[AuditTarget, Bill]]":
    from provision.audit import mending
    from provision.audit.component import bill_of

    chosen = [*files, *(mending.locks() if locks else ())]
    return [(mending.AuditTarget(_kind(path), str(path)), bill_of(path)) for path in chosen]


def _kind(path: Path) -> Any:
    return "appliance" if path.suffix in (".ova", ".json") else "lock"


def _hosts(
    inventory: "Inventory", on: Sequence[str]
) -> "tuple[tuple[HostRow, ...], list[tuple[AuditTarget, Bill]]]":
    """Ask the hosts; those that do not answer are rows alone."""
    from provision.audit.component import from_sbom
    from provision.audit.mending import AuditTarget
    from provision.fleet.many import Pace, run_on
    from provision.fleet.materials import materials

    hosts, told = inventory.select(on), {}

    def ask(host: "Host", tell: Any) -> dict[str, Any]:
        told[host.name] = from_sbom(materials(host, inventory, tell), host.name)
        return {}

    with table_of(hosts) as show:
        rows = run_on(hosts, ask, Pace(8), None, show)
    return rows, [(AuditTarget("host", name), told[name]) for name in sorted(told)]


def _note(judged: "Judged", metrics: Path | None) -> None:
    """Keep for `fleet status`, and write for Prometheus, how many are open on each host."""
    from provision.audit.advisory import counts
    from provision.files import write_whole
    from provision.fleet.status import note_advisories
    from provision.guest.hub.conditions import OPEN

    lines = [f"# HELP {OPEN} Known vulnerabilities of high severity", f"# TYPE {OPEN} gauge"]
    for target, _, found in judged:
        if target.kind == "host":
            number = sum(counts(each.severity, "high") for each in found)
            note_advisories(target.name, number)
            lines.append(f'{OPEN}{{host="{target.name}"}} {number}')
    if metrics:
        write_whole(metrics, "".join(f"{line}\n" for line in lines).encode())


def _only(name: str, bill: "Bill", only: Sequence[str]) -> "Bill":
    """What is to be judged of a target.

    Raises:
        UsageError: nothing is, and that must not look as if nothing were open.
    """
    kinds = {KINDS[each] for each in only or KINDS}
    kept = tuple(part for part in bill.components if part.ecosystem.partition(":")[0] in kinds)
    if not kept:
        raise UsageError(f"{name} has no package of {', '.join(sorted(kinds))}, so none is judged")
    return replace(bill, components=kept)


def _document(
    judged: Judged, rows: "Sequence[HostRow]", known: "Database", severity: str
) -> dict[str, Any]:
    return {
        "advisories": {"records": known.records, "newest": known.newest},
        "severity": severity,
        "targets": [
            {
                **asdict(target),
                "components": len(bill.components),
                "unjudged": bill.unjudged,
                "findings": [asdict(each) for each in found],
            }
            for target, bill, found in judged
        ],
        "hosts": [asdict(row) for row in rows],
    }


def _print(judged: Judged, rows: "Sequence[HostRow]", known: "Database") -> None:
    newest = f", the newest of {printable(known.newest)}" if known.newest else ""
    counted = ", ".join(
        f"{known.records[name]} of {printable(name)}" for name in sorted(known.records)
    )
    click.echo(f"advisories: {counted}{newest}")
    for target, bill, found in judged:
        left = f", {len(bill.unjudged)} not judged" if bill.unjudged else ""
        click.echo(f"{target.name}: {len(bill.components)} components{left}, {len(found)} open")
        for each in found:
            part = each.component
            fixed = f"fixed in {each.fixed}" if each.fixed else "not fixed yet"
            where = f"{part.package} {part.version}  {fixed}  {each.severity}, {each.reach}"
            click.echo("  " + printable(f"{where}  {each.name} {each.summary}".rstrip()))
            if each.unclear:
                click.echo("    " + printable(each.unclear))
            if each.mend:
                click.echo("    " + printable(each.mend))
    for row in rows:
        if row.result != "ok":
            click.echo(f"{row.host}: not judged: {row.detail}")
