"""`appliance backup`: encrypted backups by restic, made in the appliances themselves."""

import os
import secrets
import sys
from typing import TYPE_CHECKING

import click

from provision.cli._fleet import ask_each, with_inventory
from provision.cli._group import VerbGroup
from provision.cli._json import as_json

if TYPE_CHECKING:
    from provision.fleet.inventory import Inventory

PASSED_ON = ("AWS_", "B2_", "AZURE_", "GOOGLE_", "OS_", "RCLONE_")


@click.group(cls=VerbGroup)
def command() -> None:
    """Back up students' files, accounts and configuration, by a timer in the appliance."""


@command.command()
@click.argument("hosts", nargs=-1, metavar="[HOST|GROUP|TAG]...")
@click.option(
    "--to",
    "repository",
    required=True,
    help="As restic names it: /mnt/backup, sftp:user@host:/path, s3:…, rclone:remote:path;"
    " {host} is each host's name.",
)
@click.option("--when", default="daily", show_default=True, help="As systemd.time(7) has it.")
@click.option("--keep-daily", type=click.IntRange(1), default=7, show_default=True)
@click.option("--keep-weekly", type=click.IntRange(1), default=5, show_default=True)
@click.option("--keep-monthly", type=click.IntRange(1), default=12, show_default=True)
@click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the repository's password. Default: the one that it has, else a new one is made.",
)
@as_json
@with_inventory
def setup(
    inventory: "Inventory",
    hosts: tuple[str, ...],
    repository: str,
    when: str,
    keep_daily: int,
    keep_weekly: int,
    keep_monthly: int,
    password_stdin: bool,
    as_json: bool,
) -> None:
    """Make the repository and start the timer. Without its password nothing can be restored.

    A second time it changes what is given; the password stays. New settings are tried first.

    Credentials for S3 and others are taken from this environment (AWS_…, RCLONE_…, as restic
    knows them) and kept in the appliance where only root reads them.
    """
    from provision.cli._fleet import carry_out
    from provision.fleet.classroom import set_up_backup
    from provision.fleet.many import Pace

    password = sys.stdin.readline().rstrip("\n") if password_stdin else secrets.token_urlsafe(24)
    settings = {
        "repository": repository,
        "password": password,
        "made": not password_stdin,
        "environment": {k: v for k, v in os.environ.items() if k.startswith(PASSED_ON)},
        "keep": {"daily": keep_daily, "weekly": keep_weekly, "monthly": keep_monthly},
        "when": when,
    }
    carry_out(
        inventory.select(hosts),
        lambda host, tell: set_up_backup(host, inventory, settings, tell),
        Pace(4),
        as_json=as_json,
        columns=("repository", "password", "kept"),
    )


@command.command("password")
@click.argument("hosts", nargs=-1, metavar="[HOST|GROUP|TAG]...")
@as_json
@with_inventory
def password_(inventory: "Inventory", hosts: tuple[str, ...], as_json: bool) -> None:
    """Show what opens the repository; of an appliance that is lost, what is kept on this host."""
    from provision.cli._fleet import carry_out
    from provision.fleet.classroom import password_of_backup
    from provision.fleet.many import Pace

    carry_out(
        inventory.select(hosts),
        lambda host, tell: password_of_backup(host, inventory, tell),
        Pace(4),
        as_json=as_json,
        columns=("repository", "password", "kept"),
    )


@command.command()
@click.argument("hosts", nargs=-1, metavar="[HOST|GROUP|TAG]...")
@as_json
@with_inventory
def run(inventory: "Inventory", hosts: tuple[str, ...], as_json: bool) -> None:
    """Back up now. Tells whether files changed while they were read, and how the database is."""
    _each(inventory, hosts, ("run",), as_json, ("snapshot", "consistent", "changed", "database"))


@command.command("list")
@click.argument("hosts", nargs=-1, metavar="[HOST|GROUP|TAG]...")
@as_json
@with_inventory
def list_(inventory: "Inventory", hosts: tuple[str, ...], as_json: bool) -> None:
    """Show what there is to restore from."""
    _each(inventory, hosts, ("snapshots",), as_json, ("snapshots",))


@command.command()
@click.argument("hosts", nargs=-1, metavar="[HOST|GROUP|TAG]...")
@as_json
@with_inventory
def verify(inventory: "Inventory", hosts: tuple[str, ...], as_json: bool) -> None:
    """Prove the newest backup by reading all of it, and compare."""
    _each(inventory, hosts, ("verify",), as_json, ("snapshot", "restored", "compared"))


@command.command()
@click.argument("host")
@click.argument("snapshot")
@as_json
@with_inventory
def forget(inventory: "Inventory", host: str, snapshot: str, as_json: bool) -> None:
    """Remove one SNAPSHOT of HOST: one of a day when the clock was wrong, say."""
    _each(inventory, (host,), ("forget", snapshot), as_json, ("said",))


def _each(
    inventory: "Inventory",
    hosts: tuple[str, ...],
    words: tuple[str, ...],
    as_json: bool,
    columns: tuple[str, ...],
) -> None:
    ask_each(inventory, hosts, words, program="backup", as_json=as_json, columns=columns)
