"""`appliance classroom`: serve a room of seats, and see how they are."""

import contextlib
import json
from pathlib import Path

import click

from provision.cli._machine import as_json


@click.group()
def command() -> None:
    """Serve a published folder to a room, and see how each seat is."""


@command.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--address", default="", help="To listen on. Default: every address of this host.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True)
def serve(directory: Path, address: str, port: int) -> None:
    """Serve DIRECTORY over HTTP until interrupted, and take the reports of the seats.

    Any other web server will do as well; then seats do not find each other, and report nothing.
    """
    from provision.distribution.room import serve as make

    server = make(directory, address, port)
    host, number = server.server_address[:2]
    click.echo(f"http://{host!s}:{number}", err=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
    server.server_close()


@command.command()
@click.argument("source")
@as_json
def status(source: str, as_json: bool) -> None:
    """Show what each seat reported to SOURCE, the room's URL or the published folder."""
    from provision.distribution.room import status as ask
    from provision.distribution.source import opened

    rows = ask(opened(source))
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        detail = row.get("error") or row.get("version") or ""
        # A report comes from anybody in the room: it must not steer the terminal.
        text = f"{row['name']:<20} {row.get('state', '?'):<8} {detail}"
        click.echo("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))
    if not rows:
        click.echo("no seat has reported", err=True)
