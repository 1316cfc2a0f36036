"""`appliance pull`: bring the published version to this seat."""

import contextlib
import json
import platform
import shutil
from dataclasses import asdict
from pathlib import Path

import click

from provision.cli import _seat
from provision.cli._json import as_json
from provision.cli._renamed import renamed_option


@click.command()
@click.argument("source", required=False)
@renamed_option(
    *("--public-key", "--key", "key"),
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The publisher's minisign.pub; needed the first time, pinned from then on.",
)
@click.option("--channel", default="stable", show_default=True, help="The channel to follow.")
@click.option(
    "--name",
    default="{name}",
    show_default=True,
    help="The VM's name; {name} is the published one, {seat:02d} this seat's number.",
)
@click.option("--seat", type=click.IntRange(min=1), help="The number of this seat.")
@_seat.seats
@_seat.wait
@click.option(
    "--share",
    type=click.IntRange(min=1),
    metavar="SECONDS",
    help="Exchange chunks with the other seats of the room, and serve on so long at the end.",
)
@click.option(
    "--cache",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A copy of the published folder, however old: take from it what it has.",
)
@click.option(
    "--accept-expired",
    is_flag=True,
    help="Take a channel that has expired, such as that of an old stick.",
)
@click.option("--rollback", is_flag=True, help="Put the version before back, as it was left.")
@as_json
def command(
    source: str | None,
    key: Path | None,
    channel: str,
    name: str,
    seat: int | None,
    seats: Path | None,
    wait: int,
    share: int | None,
    cache: Path | None,
    accept_expired: bool,
    rollback: bool,
    as_json: bool,
) -> None:
    """Install or update the appliance from SOURCE, a URL or a directory that was published.

    The signature comes first; then only chunks that this host lacks are fetched. The root disk
    is replaced, /home stays, and the old version is kept for --rollback. Interrupted, the next
    pull goes on where it was.
    """
    from provision.config import architectures
    from provision.distribution import places
    from provision.distribution.chunks import ChunkStore
    from provision.distribution.peers import Sharing
    from provision.distribution.pull import pull, roll_back
    from provision.distribution.reports import seat_name
    from provision.distribution.room import report
    from provision.distribution.seats import find
    from provision.distribution.source import Web, open_source
    from provision.errors import ApplianceError
    from provision.machine.hypervisor import of_this_host

    ours = find(seats, seat)
    if rollback:
        version = roll_back(places.data(), of_this_host(), ours.name or name, patience=wait)
        click.echo(json.dumps({"version": version}) if as_json else f"version  {version}")
        return
    if source is None:
        raise click.UsageError("give the URL or directory to pull from")
    origin = open_source(source)
    me = seat_name(ours.name or (f"seat-{ours.number}" if ours.number else platform.node()))
    with contextlib.ExitStack() as stack:
        sharing = None
        if share:
            if not isinstance(origin, Web):
                raise click.UsageError("--share needs a URL, best of `appliance classroom serve`")
            sharing = stack.enter_context(Sharing(origin, me, ChunkStore(places.spool(me))))
            stack.callback(shutil.rmtree, places.spool(me), ignore_errors=True)
        try:
            result = pull(
                origin,
                places.data(),
                of_this_host(),
                key=key,
                name=name,
                seat=ours,
                channel_name=architectures.channel_of(architectures.of_this_host(), channel),
                patience=wait,
                sharing=sharing,
                cache=cache,
                accept_expired=accept_expired,
            )
        except ApplianceError as error:
            report(origin, me, state="failed", error=str(error)[:500])
            raise
        report(origin, me, state="ready", vm=result.name, version=result.version)
        if sharing and share:
            sharing.report(state="ready", vm=result.name, version=result.version)
            sharing.linger(share)
    if as_json:
        totals = {name: getattr(result, name) for name in ("local", "fetched", "fetched_size")}
        told = {**asdict(result), **totals, "settings": str(result.settings)}
        click.echo(json.dumps(told))
        return
    click.echo(f"{result.name}  {result.version}{'' if result.changed else '  (no change)'}")
    if result.changed:
        size = f"{result.fetched_size / 1e6:.1f} MB"
        whence = ", ".join(f"{each.chunks} {name}" for name, each in result.came.items())
        click.echo(f"fetched  {result.fetched} chunks ({size}), {result.local} were here")
        click.echo(f"from     {whence}")
        click.echo(f"before   {result.previous or 'none'}")
    click.echo(f"start    appliance up -c {result.settings}")
