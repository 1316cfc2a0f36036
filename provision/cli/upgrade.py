"""`appliance upgrade`: renew Sage, or the system, of one or many appliances over SSH."""

import contextlib
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.cli import _build
from provision.cli._config import with_config
from provision.cli._fleet import carry_out, take_over, takes_over, with_inventory, with_pace
from provision.cli._group import VerbGroup
from provision.cli._json import as_json
from provision.cli._linux import needs_linux
from provision.cli._renamed import renamed_option
from provision.config import Loaded
from provision.files import ordinary

if TYPE_CHECKING:
    from provision.build.sage import PackedSage
    from provision.fleet.following import UpdateSource
    from provision.fleet.inventory import Inventory
    from provision.fleet.many import Pace


resumed = click.option(
    "--resume", is_flag=True, help="Go on with the last run of this: skip what is done."
)


@click.group(cls=VerbGroup)
def command() -> None:
    """Renew appliances in use over SSH; what fails goes back by itself."""


@command.command()
@click.argument("hosts", nargs=-1, metavar="[HOST|GROUP|TAG]...")
@with_config
@click.option(
    "--to", "version", help="The version, as in /opt/sage-VERSION. Default: the configuration's."
)
@click.option(
    "--package",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The packed Sage: a tar file, plain or compressed by zstd, gzip or xz. Default: what"
    " `appliance upgrade pack` makes of the configuration, once.",
)
@click.option(
    "--wheels",
    is_flag=True,
    help="Send the list of the wheels only: each HOST takes them from its own index.",
)
@click.option("--sha256", help="What the package must have. Default: PACKAGE.sha256, if there.")
@renamed_option(
    *("--public-key", "--key", "key"),
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A minisign public key: PACKAGE.minisig must be by it.",
)
@click.option(
    "--keep", type=click.IntRange(0), default=1, show_default=True, help="Old versions to keep."
)
@click.option(
    "--drain",
    type=click.IntRange(0),
    metavar="SECONDS",
    help="Wait so long until no student has a session.",
)
@renamed_option(
    *("--timeout", "--patience", "patience"),
    type=click.IntRange(10),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="After this time a switch that was not confirmed goes back by itself.",
)
@click.option(
    "--via",
    metavar="HOST",
    help="A host of the room that gets the package first and hands it on to the others.",
)
@resumed
@take_over
@with_pace
@as_json
@with_inventory
def sage(
    inventory: "Inventory",
    hosts: tuple[str, ...],
    loaded: Loaded,
    version: str | None,
    file: Path | None,
    wheels: bool,
    sha256: str | None,
    key: Path | None,
    keep: int,
    drain: int | None,
    patience: int,
    via: str | None,
    resume: bool,
    pace: "Pace",
    as_json: bool,
) -> None:
    """Bring the HOSTs (all without one) to another version of Sage.

    It is unpacked beside the old one, proven there, switched to by one rename, and looked at
    from outside; if anything fails the old version serves on. Running kernels keep the Sage
    that they began with.
    """
    from provision.build.sage import version_of
    from provision.build.sage import wheels as listed
    from provision.errors import GuestError
    from provision.fleet.many import RunRecord
    from provision.fleet.package import read, read_wheels
    from provision.fleet.relay import offering
    from provision.fleet.upgrade import Options, prepare, upgrade_sage
    from provision.progress import note

    chosen = inventory.select(hosts)
    if via is not None and via not in inventory.hosts:
        raise click.UsageError(f"--via {via!r} is no host of {inventory.path}")
    if wheels:
        if file or sha256 or key:
            raise click.UsageError(
                "--package, --sha256 and --public-key mean nothing with --wheels"
            )
        config = loaded.config
        package = read_wheels(listed(config), version_of(config, version), lean=config.sage.lean)
    else:
        if file is None:
            made = _read_package(loaded, version)
            file, version = made.path, made.version
        if version is None:
            raise click.UsageError(f"of which version is {file}? Say it with --to.")
        package = read(file, version, sha256=sha256, key=key)
    options = Options(keep=keep, drain=drain, patience=patience, take_over=takes_over())
    task = {"upgrade": "sage", "version": package.version, "sha256": package.sha256}
    record = RunRecord.last(task) if resume else RunRecord.new(task, chosen)
    with contextlib.ExitStack() as stack:
        if via is not None:
            try:
                prepare(inventory.hosts[via], inventory, package, take_over=options.take_over)
                relay = stack.enter_context(offering(inventory.hosts[via], inventory, package))
                options = replace(options, relay=relay)
            except GuestError as error:
                note(f"{via} hands nothing on, all comes from here: {error}")
        carry_out(
            chosen,
            lambda host, tell: upgrade_sage(host, inventory, package, options, tell),
            pace,
            as_json=as_json,
            record=record,
            columns=("before", "after"),
        )


@command.command()
@needs_linux
@with_config
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file. Default: one in the cache, written once.",
)
def pack(loaded: Loaded, output: Path | None) -> None:
    """Pack the Sage that the configuration names, for `upgrade sage --package`.

    It is installed in a guest on this host, as a build does; a build of the same configuration
    takes it from there.
    """
    click.echo(_read_package(loaded, None, output).path)


def _read_package(loaded: Loaded, version: str | None, output: Path | None = None) -> "PackedSage":
    from provision.build import build as builder
    from provision.build.sage import pack, version_of

    version_of(loaded.config, version)
    output = ordinary(output) if output else None
    runtime = _build.contain_here(loaded.config)
    return pack(builder.request(loaded.config), output, runtime=runtime)


@command.command()
@needs_linux
@click.argument("hosts", nargs=-1, metavar="[HOST|GROUP|TAG]...")
@click.option(
    "--lock",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The notebook's packages: pip's requirements with hashes. Default: this version's own.",
)
@click.option(
    "--keep",
    type=click.IntRange(0, 1),
    default=1,
    show_default=True,
    help="Keep the environment before, for --undo.",
)
@click.option(
    "--timeout",
    "patience",
    type=click.IntRange(10),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="After this time a switch that was not confirmed goes back by itself.",
)
@click.option("--undo", is_flag=True, help="Lead back to before the last upgrade instead.")
@click.option(
    "--follow",
    metavar="URL",
    help="Have the HOSTs do it by themselves from now on, from what `publish --notebook` has put"
    " there; none: no longer.",
)
@click.option(
    "--public-key",
    "key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --follow: the publisher's minisign public key.",
)
@click.option("--channel", default="stable", show_default=True, help="With --follow: which one.")
@resumed
@take_over
@with_pace
@as_json
@with_inventory
def notebook(
    inventory: "Inventory",
    hosts: tuple[str, ...],
    lock: Path | None,
    keep: int,
    patience: int,
    undo: bool,
    follow: str | None,
    key: Path | None,
    channel: str,
    resume: bool,
    pace: "Pace",
    as_json: bool,
) -> None:
    """Bring JupyterHub, JupyterLab and all that they need up to date on the HOSTs.

    The new environment is put beside the old one, proven there, and shown in its place; if
    anything fails the old one serves on. Sessions that run keep the old one until they end.
    """
    from provision.build.notebook import wanted_environment
    from provision.fleet.following import follow as follow_channel
    from provision.fleet.many import RunRecord
    from provision.fleet.notebook import NotebookOptions, undo_notebook, upgrade_notebook

    chosen = inventory.select(hosts)
    force = takes_over()
    if (key is not None or channel != "stable") and not follow:
        raise click.UsageError("--public-key and --channel go with --follow")
    if follow and (undo or lock or resume):
        raise click.UsageError("--follow goes without --lock, --undo and --resume")
    if undo:
        carry_out(
            chosen,
            lambda host, tell: undo_notebook(host, inventory, tell, take_over=force),
            pace,
            as_json=as_json,
            columns=("before", "after"),
        )
        return
    if follow:
        source = _source(follow, key, channel)
        carry_out(
            chosen,
            lambda host, tell: follow_channel(host, inventory, source, tell, take_over=force),
            pace,
            as_json=as_json,
            columns=("changed",),
        )
        return
    environment = wanted_environment(lock)
    options = NotebookOptions(patience=patience, keep=bool(keep), take_over=force)
    task = {"upgrade": "notebook", "environment": environment.name}
    record = RunRecord.last(task) if resume else RunRecord.new(task, chosen)
    carry_out(
        chosen,
        lambda host, tell: upgrade_notebook(host, inventory, environment, options, tell),
        pace,
        as_json=as_json,
        record=record,
        columns=("before", "after"),
    )


def _source(url: str, key: Path | None, channel: str) -> "UpdateSource | None":
    """What is to be followed; None: nothing any more.

    Raises:
        UsageError: it is no folder on a web server, or the key is missing.
    """
    from provision.distribution.address import parse
    from provision.distribution.manifest import checked_name
    from provision.fleet.following import UpdateSource
    from provision.ova import minisign

    if url == "none":
        return None
    if key is None:
        raise click.UsageError("whose is it? Say it with --public-key minisign.pub")
    public = minisign.public_key(key).text().splitlines()[1]
    address = parse(url)
    if address.login:
        raise click.UsageError("an appliance keeps no password of a web server: leave it out")
    return UpdateSource(address.url, public, checked_name(channel))


@command.command()
@needs_linux
@click.argument("hosts", nargs=-1, metavar="[HOST|GROUP|TAG]...")
@with_config
@click.option("--no-packages", is_flag=True, help="Leave the packages as they are.")
@click.option(
    "--reboot",
    type=click.Choice(["auto", "never"]),
    default="auto",
    show_default=True,
    help="auto: when something needs it, in the window, and nobody has a session.",
)
@click.option("--window", metavar="HH:MM-HH:MM", help="When a reboot may be. Default: any time.")
@click.option(
    "--drain",
    type=click.IntRange(0),
    metavar="SECONDS",
    help="Before a reboot, tell students and wait so long until none has a session.",
)
@renamed_option(
    *("--timeout", "--patience", "patience"),
    type=click.IntRange(10),
    default=1800,
    show_default=True,
    metavar="SECONDS",
    help="After this time what was not confirmed goes back by itself.",
)
@click.option("--undo", is_flag=True, help="Lead back to before the last upgrade instead.")
@resumed
@take_over
@with_pace
@as_json
@with_inventory
def system(
    inventory: "Inventory",
    hosts: tuple[str, ...],
    loaded: Loaded,
    no_packages: bool,
    reboot: str,
    window: str | None,
    drain: int | None,
    patience: int,
    undo: bool,
    resume: bool,
    pace: "Pace",
    as_json: bool,
) -> None:
    """Bring packages, and the state that appliance.yml wants, up to date on the HOSTs.

    Without an appliance.yml only the packages. What the upgrade replaces is kept on the
    appliance; if anything fails, or nobody confirms it, all goes back. Sage stays as it is.
    """
    from provision.fleet.many import RunRecord
    from provision.fleet.system import SystemOptions, check_window, undo_system, upgrade_system

    chosen = inventory.select(hosts)
    force = takes_over()
    if undo:
        carry_out(
            chosen,
            lambda host, tell: undo_system(host, inventory, tell, take_over=force),
            pace,
            as_json=as_json,
            columns=("reboot",),
        )
        return
    if window is not None:
        check_window(window)
    config = loaded.config if loaded.origins or loaded.path else None
    options = SystemOptions(
        not no_packages, config, reboot, window, drain, patience, take_over=force
    )
    digest = hashlib.sha256(str(config).encode()).hexdigest()[:16]
    task = {"upgrade": "system", "packages": not no_packages, "config": digest}
    record = RunRecord.last(task) if resume else RunRecord.new(task, chosen)
    carry_out(
        chosen,
        lambda host, tell: upgrade_system(host, inventory, options, tell),
        pace,
        as_json=as_json,
        record=record,
        columns=("changed", "reboot"),
    )
