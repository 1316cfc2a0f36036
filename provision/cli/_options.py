"""Options that several verbs share."""

from pathlib import Path

import click

from provision.build.plan import STAGES
from provision.config import Config

output = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The OVA's path; NAME-VERSION.ova in the current directory by default.",
)
from_stage = click.option(
    "--from",
    "from_stage",
    type=click.Choice(STAGES),
    help="Run this stage and all after it, cached or not.",
)
wait = click.option(
    "--wait",
    type=click.IntRange(min=0),
    default=0,
    metavar="SECONDS",
    help="How long to wait for a running VM to be shut down.",
)
seats = click.option(
    "--seats",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The seat file (CSV): name, address, ports, memory and pool of each seat.",
)


def default_output(config: Config) -> Path:
    """Where the OVA goes unless told otherwise."""
    return Path(f"{config.name}-{config.version}.ova")
