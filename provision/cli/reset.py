"""`appliance reset`: back to what was published, between two lessons."""

import json

import click

from provision.cli import _seat
from provision.cli._json import as_json


@click.command()
@click.argument("name", default="{name}", required=False)
@click.option(
    "--home",
    type=click.Choice(["keep", "clear"]),
    default="keep",
    show_default=True,
    help="What becomes of the users' files.",
)
@_seat.wait
@click.option(
    "--at-each-start",
    type=click.Choice(["on", "off"]),
    help="Have the root disk reset by itself at each start from now on, or no more.",
)
@as_json
def command(name: str, home: str, wait: int, at_each_start: str | None, as_json: bool) -> None:
    """Bring the root disk of the pulled appliance NAME back to the published version, in seconds.

    The next start is a first boot: host keys and passwords are made anew.
    """
    from provision.distribution import places
    from provision.distribution.pull import open_installed
    from provision.machine.hypervisor import of_this_host

    here = open_installed(places.data(), of_this_host(), name)
    here.require_off(patience=wait)
    if at_each_start:
        here.reset_at_start(wanted=at_each_start == "on")
    else:
        here.reset(clear_home=home == "clear")
    result = {"name": here.machine.config.name, "version": here.version()}
    click.echo(json.dumps(result) if as_json else f"{result['name']}  {result['version']}")
