"""`appliance users`: who may sign in, on one or many appliances."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.cli._fleet import ask_each, on, with_inventory
from provision.cli._json import as_json

if TYPE_CHECKING:
    from provision.fleet.inventory import Inventory

by_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password. Default: make one, and show it."
)


@click.group()
def command() -> None:
    """Manage the students' accounts over SSH. Passwords are never arguments."""


@command.command("list")
@on
@as_json
@with_inventory
def list_(inventory: "Inventory", on: tuple[str, ...], as_json: bool) -> None:
    """Show all names that may sign in."""
    ask_each(inventory, on, ("users-list",), as_json=as_json, columns=("users",))


@command.command()
@click.argument("name")
@by_stdin
@on
@as_json
@with_inventory
def add(
    inventory: "Inventory", name: str, password_stdin: bool, on: tuple[str, ...], as_json: bool
) -> None:
    """Make the account NAME."""
    _with_password(inventory, "users-add", name, password_stdin, on=on, as_json=as_json)


@command.command()
@click.argument("name")
@by_stdin
@on
@as_json
@with_inventory
def reset(
    inventory: "Inventory", name: str, password_stdin: bool, on: tuple[str, ...], as_json: bool
) -> None:
    """Give the account NAME a new password."""
    _with_password(inventory, "users-reset", name, password_stdin, on=on, as_json=as_json)


@command.command()
@click.argument("name")
@on
@as_json
@with_inventory
def remove(inventory: "Inventory", name: str, on: tuple[str, ...], as_json: bool) -> None:
    """End NAME's session and sign-in; the files stay."""
    ask_each(inventory, on, ("users-remove", name), as_json=as_json, columns=("users",))


@command.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@on
@as_json
@with_inventory
def delete(
    inventory: "Inventory", name: str, yes: bool, on: tuple[str, ...], as_json: bool
) -> None:
    """Delete NAME and all files, which are archived on the appliance first."""
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"this deletes {name} and all files; add --yes")
        click.confirm(f"Delete {name} and all files, after archiving them?", abort=True, err=True)
    ask_each(inventory, on, ("users-delete", name), as_json=as_json, columns=("said",))


@command.command("bring-back")
@click.argument("name")
@on
@as_json
@with_inventory
def bring_back(inventory: "Inventory", name: str, on: tuple[str, ...], as_json: bool) -> None:
    """Put the archived files of NAME, who was deleted, back; `reset` then makes a password."""
    ask_each(inventory, on, ("users-back", name), as_json=as_json, columns=("said",))


@command.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@on
@as_json
@with_inventory
def import_(inventory: "Inventory", file: Path, on: tuple[str, ...], as_json: bool) -> None:
    """Make accounts of a CSV FILE of lines name[,password].

    Passwords that are not in it are made, and shown once.
    """
    from provision.fleet.classroom import with_passwords

    text, made = with_passwords(file.read_text(encoding="utf-8-sig"))
    if made and as_json:
        click.echo(json.dumps({"passwords": made}))
    else:
        for name, password in made.items():
            click.echo(f"{name},{password}")
    stdin = text.encode()
    ask_each(inventory, on, ("users-import",), stdin=stdin, as_json=as_json, columns=("users",))


def _with_password(
    inventory: "Inventory",
    verb: str,
    name: str,
    given: bool,
    *,
    on: tuple[str, ...],
    as_json: bool,
) -> None:
    text = sys.stdin.readline().encode() if given else b""
    columns = ("users",) if given else ("passwords",)
    ask_each(inventory, on, (verb, name), stdin=text, as_json=as_json, columns=columns)
