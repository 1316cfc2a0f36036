"""`appliance upgrade`: renew Sage on one or many appliances over SSH."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.cli._fleet import as_json, carry_out, with_inventory, with_pace

if TYPE_CHECKING:
    from provision.fleet.inventory import Inventory
    from provision.fleet.many import Pace


@click.group()
def command() -> None:
    """Renew appliances in use over SSH; what fails goes back by itself."""


@command.command()
@click.argument("hosts", nargs=-1, metavar="[HOST|GROUP|TAG]...")
@click.option("--to", "version", required=True, help="The version, as in /opt/sage-VERSION.")
@click.option(
    "--package",
    "file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The packed Sage: a tar file, plain or compressed by zstd, gzip or xz.",
)
@click.option("--sha256", help="What the package must have. Default: PACKAGE.sha256, if there.")
@click.option(
    "--keep", type=click.IntRange(0), default=1, show_default=True, help="Old versions to keep."
)
@click.option(
    "--drain",
    type=click.IntRange(0),
    metavar="SECONDS",
    help="Wait so long until no student has a session.",
)
@click.option(
    "--patience",
    type=click.IntRange(10),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="After this time a switch that was not confirmed goes back by itself.",
)
@click.option("--resume", is_flag=True, help="Go on with the last run of this: skip what is done.")
@with_pace
@as_json
@with_inventory
def sage(
    inventory: "Inventory",
    hosts: tuple[str, ...],
    version: str,
    file: Path,
    sha256: str | None,
    keep: int,
    drain: int | None,
    patience: int,
    resume: bool,
    pace: "Pace",
    as_json: bool,
) -> None:
    """Bring the HOSTs (all without one) to another version of Sage.

    It is unpacked beside the old one, proven there, switched to by one rename, and looked at
    from outside; if anything fails the old version serves on. Running kernels keep the Sage
    that they began with.
    """
    from provision.fleet.many import Record
    from provision.fleet.package import read
    from provision.fleet.upgrade import Options, upgrade_sage

    chosen = inventory.select(hosts)
    package = read(file, version, sha256=sha256)
    options = Options(keep=keep, drain=drain, patience=patience)
    task = {"upgrade": "sage", "version": version, "sha256": package.sha256}
    record = Record.last(task) if resume else Record.new(task, chosen)
    carry_out(
        chosen,
        lambda host, tell: upgrade_sage(host, inventory, package, options, tell),
        pace,
        as_json=as_json,
        record=record,
        columns=("before", "after"),
    )
