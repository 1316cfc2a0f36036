"""What the verbs about a fleet share: the inventory, the pace, the live table, the exit code."""

import contextlib
import functools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from provision.fleet.inventory import Host, Inventory
    from provision.fleet.many import HostRow, Pace, RunRecord, Work

Verb = Callable[..., Any]
PARTIAL = 6
NONE = 1

_TAKE_OVER = "appliance.take_over"


def _note_take_over(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.meta[_TAKE_OVER] = value


take_over = click.option(
    "--take-over",
    is_flag=True,
    expose_value=False,
    callback=_note_take_over,
    help="End another operator's run that has the appliance; its next step is refused.",
)


def takes_over() -> bool:
    """Whether the verb that is carried out was given ``--take-over``."""
    return bool(click.get_current_context().meta.get(_TAKE_OVER))


def on(verb: Verb) -> Verb:
    """Give a verb ``--on``, its hosts, ``--take-over`` and an inventory as `with_inventory` does.

    Where no fleet is kept, this host's VM of the configuration is the only one in it.
    """

    @click.option(
        "--on", multiple=True, metavar="HOST", help="Hosts, groups or tags. Default: all."
    )
    @take_over
    @with_inventory
    @functools.wraps(verb)
    def wrapper(*args: Any, inventory: "Inventory", **options: Any) -> Any:
        return verb(*args, inventory=inventory if inventory.hosts else _here(inventory), **options)

    return wrapper


def _here(empty: "Inventory") -> "Inventory":
    from provision import config
    from provision.cli._machine import host_of, open_machine
    from provision.errors import HostNotReadyError
    from provision.fleet.inventory import Inventory, default_path

    if empty.path != default_path():
        return empty
    try:
        vm = open_machine(config.read(config.find(None)).config, fetch=False)
    except HostNotReadyError:  # no VirtualBox here
        return empty
    return Inventory(vm.known_hosts, {vm.config.name: host_of(vm)}) if vm.find() else empty


def with_inventory(verb: Verb) -> Verb:
    """Give a verb ``--inventory``, and the inventory as its argument ``inventory``."""

    @click.option(
        "--inventory",
        "inventory_path",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Default: $APPLIANCE_FLEET, else fleet.yml in the user's configuration.",
    )
    @functools.wraps(verb)
    def wrapper(*args: Any, inventory_path: Path | None, **options: Any) -> Any:
        from provision.fleet import inventory

        return verb(
            *args, inventory=inventory.read(inventory_path or inventory.default_path()), **options
        )

    return wrapper


def with_pace(verb: Verb) -> Verb:
    """Give a verb the options that say how it goes through its hosts, as argument ``pace``."""

    @click.option(
        "--parallel",
        type=click.IntRange(1, 64),
        default=4,
        show_default=True,
        help="Hosts at once.",
    )
    @click.option(
        "--canary",
        type=click.IntRange(0),
        default=0,
        help="So many hosts first; the others only if these succeed.",
    )
    @click.option(
        "--max-failures",
        type=click.IntRange(1),
        default=None,
        help="Begin no further host after so many failures. Default: try all.",
    )
    @functools.wraps(verb)
    def wrapper(
        *args: Any, parallel: int, canary: int, max_failures: int | None, **options: Any
    ) -> Any:
        from provision.fleet.many import Pace

        return verb(*args, pace=Pace(parallel, canary, max_failures), **options)

    return wrapper


def carry_out(
    hosts: "Sequence[Host]",
    work: "Work",
    pace: "Pace",
    *,
    as_json: bool,
    record: "RunRecord | None" = None,
    columns: Sequence[str] = (),
    lists: Sequence[str] = (),
    further: "Callable[[Sequence[HostRow]], dict[str, Any]] | None" = None,
) -> None:
    """Do a piece of work on hosts, show how it goes, report, and exit with what came of it.

    Each host is a line with the facts of ``columns``, and below it those of ``lists``. ``further``
    tells more of all that was done: a part of the JSON document, or lines ``NAME,VALUE`` before.

    Exit code: 0 all, 6 some, 1 none.
    """
    from provision.fleet.many import run_on

    with table_of(hosts) as show:
        rows = run_on(hosts, work, pace, record, show)
    told = further(rows) if further else {}
    if as_json:
        shown = {"hosts": [asdict(row) for row in rows], **told}
        click.echo(json.dumps(shown | ({"record": str(record.path)} if record else {})))
    else:
        for facts in told.values():
            for name, value in facts.items():
                click.echo(f"{name},{value}")
        for row in rows:
            _print(row, columns)
            for name in lists:
                for line in row.facts.get(name, ()):
                    click.echo(f"  {name:<10} {line}")
    good = sum(row.result == "ok" for row in rows)
    if good < len(rows):
        raise click.exceptions.Exit(PARTIAL if good else NONE)


def _print(row: "HostRow", columns: Sequence[str]) -> None:
    told = [(name, _text_of(row.facts.get(name))) for name in columns] if row.facts else []
    only = len(columns) == 1
    facts = "  ".join(value if only else f"{name}: {value}" for name, value in told)
    why = f"{row.step}: {row.detail}" if row.result == "failed" else row.detail
    click.echo(f"{row.host:<20} {row.result:<8} {facts or why}".rstrip())


def _text_of(value: Any) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


@contextlib.contextmanager
def table_of(hosts: "Sequence[Host]") -> "Iterator[Callable[[HostRow], None]]":
    """A live table on a terminal; a line for each new step elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        seen: dict[str, tuple[str, str]] = {}

        def line(row: "HostRow") -> None:
            if seen.get(row.host) != (row.step, row.result):
                seen[row.host] = (row.step, row.result)
                print(row.host, row.result, row.step, file=sys.stderr, flush=True)  # noqa: T201

        yield line
        return
    from rich.live import Live
    from rich.table import Table

    rows: dict[str, HostRow] = {}

    def table() -> Table:
        made = Table("host", "version", "step", "result", "seconds", box=None)
        for host in hosts:
            if row := rows.get(host.name):
                version = str(row.facts.get("after", ""))
                step = f"{row.step} {row.detail[:60]}".strip()
                made.add_row(row.host, version, step, row.result, f"{row.seconds:.0f}")
            else:
                made.add_row(host.name, "", "", "waiting", "")
        return made

    with Live(table(), console=console, refresh_per_second=4, transient=True) as live:

        def draw(row: "HostRow") -> None:
            rows[row.host] = row
            live.update(table())

        yield draw


def ask_each(
    inventory: "Inventory",
    on: Sequence[str],
    words: Sequence[str],
    *,
    as_json: bool,
    stdin: bytes = b"",
    program: str = "classroom",
    columns: Sequence[str] = (),
    lists: Sequence[str] = (),
) -> None:
    """Carry out a verb of one of the appliances' own programs on hosts, and report."""
    from provision.fleet.classroom import ask
    from provision.fleet.many import Pace

    asked = partial(ask, program=program, stdin=stdin, take_over=takes_over())
    carry_out(
        inventory.select(on),
        lambda host, tell: asked(host, inventory, words, tell),
        Pace(8),
        as_json=as_json,
        columns=columns,
        lists=lists,
    )
