"""`appliance restore`: bring files back from a backup."""

from typing import TYPE_CHECKING

import click

from provision.cli._fleet import ask_each, with_inventory
from provision.cli._json import as_json

if TYPE_CHECKING:
    from provision.fleet.inventory import Inventory


@click.command()
@click.argument("host")
@click.option("--student", help="Bring back this student's files, beside those of today.")
@click.option("--path", default=".", show_default=True, help="A file or folder of the student's.")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Bring back all students' files and accounts, over those of today.",
)
@click.option(
    "--at",
    default="latest",
    show_default=True,
    help="A snapshot, or a time: 2026-11-20 or 2026-11-20T15:00.",
)
@as_json
@with_inventory
def command(
    inventory: "Inventory",
    host: str,
    student: str | None,
    path: str,
    everything: bool,
    at: str,
    as_json: bool,
) -> None:
    """Restore on HOST: one student's file or folder, or everything after a loss."""
    if (student is None) != everything:
        raise click.UsageError("give --student NAME, or --all")
    words = ("restore-all", at) if student is None else ("restore", at, student, path)
    columns = ("snapshot", "place")
    ask_each(inventory, (host,), words, program="backup", as_json=as_json, columns=columns)
