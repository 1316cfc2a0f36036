"""`appliance restore`: bring files back from a backup."""

import sys
from typing import TYPE_CHECKING

import click

from provision.cli._fleet import take_over, takes_over, with_inventory
from provision.cli._json import as_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.fleet.inventory import Host, Inventory


@click.command()
@click.argument("host")
@click.option("--student", help="Bring back this student's files, beside those of today.")
@click.option("--path", default=".", show_default=True, help="A file or folder of the student's.")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Bring back everything, over what is there today; sessions end.",
)
@click.option(
    "--at",
    default="latest",
    show_default=True,
    help="A snapshot, or a time: 2026-11-20, '2026-11-20 15:00' or 2026-11-20T14:00Z.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@take_over
@as_json
@with_inventory
def command(
    inventory: "Inventory",
    host: str,
    student: str | None,
    path: str,
    everything: bool,
    at: str,
    yes: bool,
    as_json: bool,
) -> None:
    """Restore on HOST: one student's file or folder, or everything after a loss.

    A time without a zone is the appliance's own, and means the last backup not after it; which
    one that is, is said first.
    """
    if (student is None) != everything:
        raise click.UsageError("give --student NAME, or --all")
    if everything and not yes and not sys.stdin.isatty():
        raise click.UsageError("this ends all sessions and overwrites files; add --yes")
    from provision.cli._fleet import carry_out
    from provision.fleet.classroom import restore
    from provision.fleet.many import Pace

    hosts = inventory.select((host,))
    if everything and not yes:
        _ask(inventory, hosts, at)
    words = ("restore-all",) if student is None else ("restore", student, path)
    force = takes_over()
    carry_out(
        hosts,
        lambda each, tell: restore(each, inventory, at, words, tell, take_over=force),
        Pace(1),
        as_json=as_json,
        columns=("said", "ended", "kept", "left") if everything else ("said", "place"),
    )


def _ask(inventory: "Inventory", hosts: "Sequence[Host]", at: str) -> None:
    from provision.fleet.classroom import ask

    for host in hosts:
        words = ("restore-plan", at)
        plan = ask(host, inventory, words, lambda *_: None, program="backup")
        click.echo(f"{host.name}: {plan['said']}, {plan['sessions']} sessions now", err=True)
    question = "End all sessions, and bring everything back over what is there?"
    click.confirm(question, abort=True, err=True)
