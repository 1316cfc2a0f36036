"""`appliance users`: who may sign in, on one or many appliances."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.cli._fleet import ask_each, on
from provision.cli._group import VerbGroup
from provision.cli._json import as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from provision.fleet.inventory import Inventory

by_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password. Default: make one, and show it."
)


@click.group(cls=VerbGroup)
def command() -> None:
    """Manage the students' accounts over SSH. Passwords are never arguments."""


@command.command("list")
@on
@as_json
def list_(inventory: "Inventory", on: tuple[str, ...], as_json: bool) -> None:
    """Show all names that may sign in, and who is locked or waits."""
    columns = ("users", "locked", "waiting")
    ask_each(inventory, on, ("users-list",), as_json=as_json, columns=columns)


@command.command()
@click.argument("name")
@by_stdin
@on
@as_json
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
def reset(
    inventory: "Inventory", name: str, password_stdin: bool, on: tuple[str, ...], as_json: bool
) -> None:
    """Give the account NAME a new password."""
    _with_password(inventory, "users-reset", name, password_stdin, on=on, as_json=as_json)


@command.command()
@click.argument("names", nargs=-1, required=True)
@on
@as_json
def remove(
    inventory: "Inventory", names: tuple[str, ...], on: tuple[str, ...], as_json: bool
) -> None:
    """End the sessions and sign-in of NAMES; the files stay."""
    _change(inventory, "users-remove", names, on=on, as_json=as_json)


@command.command()
@click.argument("names", nargs=-1, required=True)
@on
@as_json
def lock(
    inventory: "Inventory", names: tuple[str, ...], on: tuple[str, ...], as_json: bool
) -> None:
    """Keep NAMES from signing in, and end their sessions; the files stay."""
    _change(inventory, "users-lock", names, on=on, as_json=as_json)


@command.command()
@click.argument("names", nargs=-1, required=True)
@on
@as_json
def unlock(
    inventory: "Inventory", names: tuple[str, ...], on: tuple[str, ...], as_json: bool
) -> None:
    """Let NAMES, who are locked, sign in as before."""
    _change(inventory, "users-unlock", names, on=on, as_json=as_json)


@command.command()
@click.argument("names", nargs=-1, required=True)
@on
@as_json
def approve(
    inventory: "Inventory", names: tuple[str, ...], on: tuple[str, ...], as_json: bool
) -> None:
    """Let the accounts of NAMES open, which wait."""
    _change(inventory, "users-approve", names, on=on, as_json=as_json)


@command.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@on
@as_json
def delete(
    inventory: "Inventory", name: str, yes: bool, on: tuple[str, ...], as_json: bool
) -> None:
    """Delete NAME and all files, which are archived on the appliance first."""
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"this deletes {name} and all files; add --yes")
        click.confirm(f"Delete {name} and all files, after archiving them?", abort=True, err=True)
    ask_each(inventory, on, ("users-delete", _name(name)), as_json=as_json, columns=("said",))


def _output(verb: "Callable[..., None]") -> "Callable[..., None]":
    folder = click.Path(file_okay=False, path_type=Path)
    told = "Where it is put; default: here."
    return click.option("-o", "--output", type=folder, default=Path(), help=told)(verb)


@command.command()
@click.argument("name")
@_output
@on
@as_json
def export(
    inventory: "Inventory", name: str, output: Path, on: tuple[str, ...], as_json: bool
) -> None:
    """Fetch all that is kept of NAME as one archive: files, hand-ins, settings, audit."""
    from provision.cli._fleet import carry_out
    from provision.fleet.many import Pace
    from provision.fleet.person import export

    name = _name(name)
    carry_out(
        inventory.select(on),
        lambda host, tell: export(host, inventory, name, output, tell),
        Pace(8),
        as_json=as_json,
        columns=("archive", "bytes"),
    )


@command.command()
@click.argument("name")
@_output
@click.option("--yes", is_flag=True, help="Do not ask.")
@on
@as_json
def erase(
    inventory: "Inventory", name: str, output: Path, yes: bool, on: tuple[str, ...], as_json: bool
) -> None:
    """Erase NAME for good: account, files, archives, hand-ins, backups, audit.

    NAME-HOST.json says what was erased, and what is kept and why; the appliance signs it.
    """
    from provision.cli._fleet import carry_out
    from provision.fleet.many import Pace
    from provision.fleet.person import erase

    name = _name(name)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"this erases {name} for good; add --yes")
        click.confirm(f"Erase {name}, backups included? Nothing comes back.", abort=True, err=True)
    carry_out(
        inventory.select(on),
        lambda host, tell: erase(host, inventory, name, output, tell),
        Pace(8),
        as_json=as_json,
        columns=("record",),
        lists=("erased", "kept"),
    )


@command.command()
@click.option(
    "--days",
    type=click.IntRange(0, 36500),
    default=7,
    show_default=True,
    help="Look so far ahead; 0: what goes tonight.",
)
@on
@as_json
def retention(inventory: "Inventory", days: int, on: tuple[str, ...], as_json: bool) -> None:
    """Show which archives and lines of the audit `retention:` lets go soon; removes nothing."""
    ask_each(
        inventory,
        on,
        ("due", str(days)),
        program="retention",
        as_json=as_json,
        columns=("kept",),
        lists=("goes",),
    )


@command.command("bring-back")
@click.argument("name")
@on
@as_json
def bring_back(inventory: "Inventory", name: str, on: tuple[str, ...], as_json: bool) -> None:
    """Put the archived files of NAME, who was deleted, back; `reset` then makes a password."""
    ask_each(inventory, on, ("users-back", _name(name)), as_json=as_json, columns=("said",))


@command.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--reset-passwords",
    is_flag=True,
    help="Give those who are there the list's passwords, or new ones; it ends their sessions.",
)
@click.option(
    "--same-students",
    is_flag=True,
    help="Names with files from before are the same students: they need not wait.",
)
@click.option("--encoding", default="", help="Of FILE, if not UTF-8 or UTF-16: windows-1252.")
@click.option("--make-names", is_flag=True, help="Make names of what cannot be one; shown first.")
@click.option("--yes", is_flag=True, help="Do not ask for the names that are made.")
@on
@as_json
def import_(
    inventory: "Inventory",
    file: Path,
    reset_passwords: bool,
    same_students: bool,
    encoding: str,
    make_names: bool,
    yes: bool,
    on: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make the accounts of a class list FILE: lines name[,password], or with a header.

    Who is there already is skipped, and said. Passwords that are not in it are made, and shown
    once where they took effect. With --make-names: small letters, umlauts as two, no accents, dots
    for blanks, and nothing else that a name cannot have.
    """
    from provision.cli._fleet import carry_out
    from provision.errors import UsageError
    from provision.fleet.classroom import ask, with_passwords
    from provision.fleet.many import HostRow, Pace
    from provision.guest.pool.classlist import ListError, read_list

    try:
        found = read_list(file.read_bytes(), encoding=encoding, make_names=make_names)
    except ListError as error:
        told = "\n".join(f"{file}: {line}" for line in str(error).splitlines())
        raise UsageError(told, hint="no appliance was asked; mend these lines") from None
    if make_names and found.made_names():
        for written, name in found.made_names().items():
            click.echo(f"{written} -> {name}", err=True)
        if not yes:
            if not sys.stdin.isatty():
                raise click.UsageError("these names would be made; add --yes")
            click.confirm("Make these names?", abort=True, err=True)
    for column in found.unused:
        click.echo(f"not used: column {column}", err=True)
    text, words = with_passwords(found.as_csv())
    options = ["reset"] * reset_passwords + ["same"] * same_students

    def make_passwords(rows: "Sequence[HostRow]") -> dict[str, dict[str, str]]:
        told = [row.facts for row in rows if row.result == "ok"]
        names = {name for facts in told for name in [*facts["added"], *facts["reset"]]}
        return {"passwords": {name: word for name, word in words.items() if name in names}}

    stdin = text.encode()
    carry_out(
        inventory.select(on),
        lambda host, tell: ask(host, inventory, ("users-import", *options), tell, stdin=stdin),
        Pace(8),
        as_json=as_json,
        columns=("added", "reset"),
        lists=("said",),
        further=make_passwords,
    )


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
    words = (verb, _name(name))
    ask_each(inventory, on, words, stdin=text, as_json=as_json, columns=columns, lists=("said",))


def _name(written: str) -> str:
    """A name as sign-in reads it."""
    from provision.errors import UsageError
    from provision.guest.pool.classlist import plain, why_not

    if why := why_not(written):
        raise UsageError(why.removesuffix(", or --make-names"))
    return plain(written)


def _change(
    inventory: "Inventory", verb: str, names: tuple[str, ...], *, on: tuple[str, ...], as_json: bool
) -> None:
    words = (verb, *map(_name, names))
    ask_each(inventory, on, words, as_json=as_json, columns=("users",))
