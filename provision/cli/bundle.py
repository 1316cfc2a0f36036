"""`appliance bundle`: everything on a stick, for seats without a network."""

import json
from pathlib import Path

import click

from provision.cli._json import as_json


@click.command()
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("target", type=click.Path(file_okay=False, path_type=Path))
@click.option("--channel", default="stable", show_default=True, help="The channel to take.")
@click.option(
    "--wheels",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A directory of wheels: this CLI and its dependencies, for the seats' systems,"
    " as `pip download` or `pip wheel` make it.",
)
@click.option(
    "--windows",
    metavar="PYTHON.zip",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A program for seats with Windows and no Python, and a file to double-click: python.org's"
    " embeddable package (64-bit). Needs --wheels with this CLI's wheel.",
)
@click.option("--ova", is_flag=True, help="The whole OVA too, as `publish --ova` put it there.")
@as_json
def command(
    source: Path,
    target: Path,
    channel: str,
    wheels: Path | None,
    windows: Path | None,
    ova: bool,
    as_json: bool,
) -> None:
    """Copy the current version of the published folder SOURCE to TARGET, with a check for it.

    `appliance pull TARGET` then works without a network.
    """
    from provision.distribution.bundle import bundle

    found = sorted(wheels.glob("*.whl")) if wheels else []
    size = bundle(source, target, channel_name=channel, wheels=found, windows=windows, ova=ova)
    if as_json:
        click.echo(json.dumps({"path": str(target), "size": size}))
    else:
        click.echo(f"{target}  {size / 1e6:.1f} MB")
