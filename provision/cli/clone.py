"""`appliance clone`: more copies of the pulled appliance on this host."""

import json
from pathlib import Path

import click

from provision.cli import _seat
from provision.cli._json import as_json


@click.command()
@click.argument("name", default="{name}", required=False)
@click.option("--count", type=click.IntRange(1, 250), required=True, help="How many copies.")
@click.option(
    "--linked/--full",
    default=True,
    show_default=True,
    help="Share the published images, or copy them.",
)
@click.option("--pattern", default="{name}-{seat:02d}", show_default=True, help="Of the names.")
@_seat.seats
@as_json
def command(
    name: str, count: int, linked: bool, pattern: str, seats: Path | None, as_json: bool
) -> None:
    """Make copies of the appliance NAME as it was published; no copy takes from another's changes.

    Ports are laid out by number and shown. Copies that exist already are left as they are.
    """
    from provision.distribution import places
    from provision.distribution.clone import clone
    from provision.distribution.pull import open_installed
    from provision.distribution.seats import read
    from provision.machine.hypervisor import of_this_host

    made = clone(
        open_installed(places.data(), of_this_host(), name),
        count,
        linked=linked,
        pattern=pattern,
        known=read(seats) if seats else None,
    )
    if as_json:
        rows = [{"name": c.name, "ports": c.ports, "settings": str(c.settings)} for c in made]
        click.echo(json.dumps(rows))
        return
    for copy in made:
        ports = "  ".join(f"{forward} {port}" for forward, port in copy.ports.items())
        click.echo(f"{copy.name:<20} {ports}   appliance up -c {copy.settings}")
