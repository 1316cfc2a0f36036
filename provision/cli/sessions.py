"""`appliance sessions`: who has a session, on one or many appliances."""

from typing import TYPE_CHECKING

import click

from provision.cli._fleet import ask_each, on
from provision.cli._group import VerbGroup
from provision.cli._json import as_json

if TYPE_CHECKING:
    from provision.fleet.inventory import Inventory


@click.group(cls=VerbGroup)
def command() -> None:
    """See, end and tell sessions over SSH."""


@command.command("list")
@on
@as_json
def list_(inventory: "Inventory", on: tuple[str, ...], as_json: bool) -> None:
    """Show who has a session."""
    ask_each(inventory, on, ("sessions-list",), as_json=as_json, columns=("sessions",))


@command.command()
@click.argument("students", nargs=-1)
@click.option("--all", "everybody", is_flag=True, help="End all sessions.")
@on
@as_json
def stop(
    inventory: "Inventory",
    students: tuple[str, ...],
    everybody: bool,
    on: tuple[str, ...],
    as_json: bool,
) -> None:
    """End the sessions of STUDENTS; their files stay."""
    if bool(students) == everybody:
        raise click.UsageError("name students, or give --all")
    words = ("sessions-stop", *students)
    ask_each(inventory, on, words, as_json=as_json, columns=("ended",))


@command.command()
@click.argument("text")
@on
@as_json
def message(inventory: "Inventory", text: str, on: tuple[str, ...], as_json: bool) -> None:
    """Put TEXT as a file into the file list of everybody who has a session."""
    from provision.cli._fleet import carry_out
    from provision.fleet.classroom import tell_students
    from provision.fleet.many import Pace

    carry_out(
        inventory.select(on),
        lambda host, tell: tell_students(host, inventory, text, tell),
        Pace(8),
        as_json=as_json,
        columns=("told",),
    )


@command.command()
@click.argument("count", type=click.IntRange(1, 999))
@on
@as_json
def pool(inventory: "Inventory", count: int, on: tuple[str, ...], as_json: bool) -> None:
    """Let COUNT students have a session at once; no session ends by this.

    Accounts that are too many go when their sessions have ended.
    """
    words = ("resize", str(count))
    columns = ("pool", "leaving")
    ask_each(inventory, on, words, program="pool", as_json=as_json, columns=columns)
