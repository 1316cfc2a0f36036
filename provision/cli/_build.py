"""What the verbs that build share: their options, and where the OVA goes."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.build.plan import STAGES
from provision.config import Config

if TYPE_CHECKING:
    from provision.build.workshop import Runtime

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


def default_output(config: Config) -> Path:
    """Where the OVA goes unless told otherwise."""
    return Path(f"{config.name}-{config.version}.ova")


def contain_here(config: Config) -> "Runtime":
    """Go on in a process tree that ends as one, as ``contain`` says; the runtime that suits it."""
    from provision.machine.containment import contain, rules_the_host

    contain(config.architecture)
    return "nspawn" if rules_the_host() else "qemu"
