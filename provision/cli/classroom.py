"""`appliance classroom`: serve a room of seats, and see how they are."""

import contextlib
import json
import time
from pathlib import Path

import click

from provision.cli import _seat
from provision.cli._group import VerbGroup
from provision.cli._json import as_json

SOON_SECONDS = 14 * 24 * 3600.0


@click.group(cls=VerbGroup)
def command() -> None:
    """Serve a published folder to a room, and see how each seat is."""


@command.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--address", default="", help="To listen on. Default: every address of this host.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True)
def serve(directory: Path, address: str, port: int) -> None:
    """Serve DIRECTORY over HTTP until interrupted, and take the reports of the seats.

    Any other web server will do as well; then seats find each other only by multicast DNS, and
    report nothing.
    """
    from provision.distribution.publication import Publication
    from provision.distribution.room import serve as make

    for each in Publication(directory).channels():
        if each.good_for(time.time()) < SOON_SECONDS:
            day = each.last_day or "no day, which seats refuse"
            mend = f"appliance publish {directory} --renew --channel {each.name}"
            click.echo(f"the channel {each.name} expires on {day}: {mend}", err=True)

    server = make(directory, address, port)
    host, number = server.server_address[:2]
    click.echo(f"http://{host!s}:{number}", err=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
    server.server_close()


@command.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--receivers", type=click.IntRange(1, 1000), required=True, help="Seats to wait for.")
@click.option("--channel", default="stable", show_default=True, help="The channel to send.")
@click.option("--interface", help="Network card. Default: the default route's.")
@click.option("--rate", metavar="BITS", help="Most bits a second, such as 90m.")
@click.option("--port", type=click.IntRange(1024, 65534), default=9000, show_default=True)
def send(
    directory: Path,
    receivers: int,
    channel: str,
    interface: str | None,
    rate: str | None,
    port: int,
) -> None:
    """Send DIRECTORY's current version by multicast (udpcast) to all seats that `receive`.

    It leaves the server once, however many listen, where the network lets multicast through.
    """
    from provision.distribution.multicast import send as cast

    size = cast(directory, channel, receivers, interface=interface, rate=rate, port=port)
    click.echo(f"sent     {size / 1e6:.1f} MB")


@command.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--interface", help="Network card. Default: the default route's.")
@click.option("--port", type=click.IntRange(1024, 65534), default=9000, show_default=True)
def receive(directory: Path, interface: str | None, port: int) -> None:
    """Wait for `send` and put what comes into DIRECTORY; `appliance pull DIRECTORY` verifies it."""
    from provision.distribution.multicast import receive as take

    click.echo(f"received {take(directory, interface=interface, port=port)} files")
    click.echo(f"pull     appliance pull {directory}")


@command.command()
@click.argument("source")
@_seat.seats
@as_json
def status(source: str, seats: Path | None, as_json: bool) -> None:
    """Show what each seat reported to SOURCE, the room's URL or the published folder.

    With --seats also those seats that have reported nothing.
    """
    from provision.distribution.room import status as ask
    from provision.distribution.seats import read
    from provision.distribution.source import open_source

    rows = ask(open_source(source))
    for number, seat in sorted(read(seats).items()) if seats else ():
        name = seat.name or f"seat-{number}"
        if name not in {row["name"] for row in rows}:
            rows.append({"name": name, "address": seat.address, "state": "silent"})
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        detail = row.get("error") or row.get("version") or ""
        # A report comes from anybody in the room: it must not steer the terminal.
        address = row.get("address") or ""
        text = f"{row['name']:<20} {address:<15} {row.get('state', '?'):<8} {detail}"
        click.echo("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))
    if not rows:
        click.echo("no seat has reported", err=True)
