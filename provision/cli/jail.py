"""`appliance jail`: build a Python jail, and run programs in it under limits."""

import json
from pathlib import Path

import click

from provision.cli._group import VerbGroup
from provision.cli._json import as_json
from provision.cli._linux import needs_linux


@click.group(cls=VerbGroup)
def command() -> None:
    """A chroot with Python and nothing else, for running what strangers wrote."""


@command.command()
@needs_linux
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--suite", default="trixie", show_default=True, help="The Debian release.")
@click.option("--mirror", help="Where packages come from. Default: the distribution's own.")
@click.option("--pip", "pip", multiple=True, metavar="NAME", help="A further PyPI package.")
@click.option("-p", "--package", "packages", multiple=True, help="A further Debian package.")
def build(
    directory: Path,
    suite: str,
    mirror: str | None,
    pip: tuple[str, ...],
    packages: tuple[str, ...],
) -> None:
    """Make a jail in DIRECTORY: Debian's own Python, precompiled, nothing set-user-id."""
    from provision.guest.jail import rootfs
    from provision.progress import step

    directory = directory.absolute()
    with step(f"Building the jail {directory}"):
        rootfs.build(directory, suite=suite, mirror=mirror, pip=pip, packages=packages)
    click.echo(directory)


@command.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@needs_linux
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="OPTIONS --exec PROGRAM...")
def run(words: tuple[str, ...]) -> None:
    """Run a program with safeexec's options and report; without any they are listed.

    For web pages use the command `safeexec` of this package: it starts faster.
    """
    from provision.guest.jail.safeexec import main

    raise click.exceptions.Exit(main(words))


@command.command()
@needs_linux
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--owner", default="root", show_default=True, help="The user who owns the jail.")
@click.option("--web", default="www-data", show_default=True, help="The web server's group.")
@as_json
def maintenance(directory: Path, owner: str, web: str, as_json: bool) -> None:
    """Set the owners and modes of a jail and empty its scratch directory."""
    from provision.guest.jail import rootfs

    changed = rootfs.maintain(directory, owner=owner, web=web)
    if as_json:
        click.echo(json.dumps(changed))
    else:
        for line in changed:
            click.echo(line)
