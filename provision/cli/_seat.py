"""Options of the verbs at a seat, which may have no more than Python and VirtualBox."""

from pathlib import Path

import click

from provision.cli._renamed import renamed_option

wait = renamed_option(
    *("--timeout", "--wait", "wait"),
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
