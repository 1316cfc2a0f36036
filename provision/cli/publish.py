"""`appliance publish`: put a build into a folder that a classroom can pull from."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision.cli import _build
from provision.cli._config import with_config
from provision.cli._json import as_json
from provision.cli._linux import needs_linux
from provision.cli._renamed import renamed_option
from provision.config import Loaded

if TYPE_CHECKING:
    from provision.config.architectures import Name as ArchName
    from provision.distribution.publication import Publication


@click.command()
@needs_linux
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@renamed_option(
    *("--secret-key", "--key", "key"),
    type=click.Path(dir_okay=False, path_type=Path),
    help="The minisign secret key. Default: one made on first use and kept with your data.",
)
@click.option("--channel", default="stable", show_default=True, help="The channel to move.")
@click.option("--promote", metavar="VERSION", help="Point the channel to a published version.")
@click.option(
    "--expires",
    "days",
    type=click.IntRange(1, 3650),
    metavar="DAYS",
    help="Seats take the channel so long, unless it is signed anew. Default: three months.",
)
@click.option("--renew", is_flag=True, help="Only sign the channel anew, so that it expires later.")
@click.option(
    "--notebook",
    is_flag=True,
    help="Publish the notebook's packages alone, for appliances that follow (upgrade notebook).",
)
@click.option(
    "--lock",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --notebook: pip's requirements with hashes. Default: this version's own.",
)
@click.option("--ova", is_flag=True, help="Offer the whole OVA too, for import by hand.")
@click.option(
    "--prune",
    type=click.IntRange(min=1),
    metavar="N",
    help="Afterwards keep the newest N versions, and those that a channel points to.",
)
@as_json
@with_config
def command(
    loaded: Loaded,
    directory: Path,
    key: Path | None,
    channel: str,
    promote: str | None,
    days: int | None,
    renew: bool,
    notebook: bool,
    lock: Path | None,
    ova: bool,
    prune: int | None,
    as_json: bool,
) -> None:
    """Publish the built appliance in DIRECTORY, which any web server or file share can serve.

    Builds what is not cached, adds only chunks that the folder lacks, signs, then moves the
    channel in one step. Seats need the public key once: it is shown at the end.
    """
    from provision.config.architectures import channel_of
    from provision.distribution.channel import LIFE_DAYS
    from provision.distribution.places import signing_key
    from provision.distribution.publication import Publication
    from provision.ova import minisign

    if renew and (promote or ova):
        raise click.UsageError("--renew changes no version: leave --promote and --ova out")
    if lock and not notebook:
        raise click.UsageError("--lock goes with --notebook alone")
    secret, life = key or signing_key(), days or LIFE_DAYS
    channel = channel_of(loaded.config.architecture, channel)
    if notebook:
        if promote or renew or ova or prune:
            raise click.UsageError("--notebook goes with --lock, --channel and --expires alone")
        arch = loaded.config.architecture
        _notebook(directory, lock, secret, channel, life, arch=arch, as_json=as_json)
        return
    publication = Publication(directory)
    if renew:
        result = asdict(publication.renew(channel, secret, life))
    elif promote:
        result = asdict(publication.promote(promote, channel, secret, life))
    else:
        result = _publish(loaded, publication, secret, channel, life, ova=ova)
    if prune:
        result["pruned_versions"], result["pruned_bytes"] = publication.prune(prune)
    pointed = next(each for each in publication.channels() if each.name == channel)
    result["expires"] = pointed.last_day
    if as_json:
        click.echo(json.dumps(result))
        return
    click.echo(f"version  {result['version']}  channel {channel}  serial {result['serial']}")
    if "size" in result:
        click.echo(f"whole    {result['size'] / 1e6:.1f} MB in {result['chunks']} chunks")
        click.echo(f"new      {result['new_size'] / 1e6:.1f} MB in {result['new_chunks']} chunks")
    click.echo(f"expires  {pointed.last_day}; renew it before: appliance publish DIR --renew")
    if prune:
        freed = result["pruned_bytes"] / 1e6
        click.echo(f"pruned   {result['pruned_versions']} versions, {freed:.1f} MB")
    click.echo(f"key      {minisign.public_of(secret).text().splitlines()[1]}")
    click.echo(f"pull     appliance pull {directory} --public-key {directory / 'minisign.pub'}")


def _notebook(
    directory: Path,
    lock: Path | None,
    secret: Path,
    channel: str,
    days: int,
    *,
    arch: "ArchName",
    as_json: bool,
) -> None:
    from provision.build.notebook import offer, wanted_environment
    from provision.config.distributions import DISTRIBUTIONS
    from provision.distribution.environments import PLACE, publish

    environment = wanted_environment(lock)
    pythons = {python for each in DISTRIBUTIONS.values() for python in each.pythons.values()}
    told, files = offer(environment, sorted(pythons), arch)
    pointed = publish(
        *(directory, environment.name, told, files),
        secret=secret,
        channel_name=channel,
        days=days,
    )
    if as_json:
        click.echo(json.dumps({**asdict(pointed), "packages": len(files)}))
        return
    click.echo(f"notebook {pointed.version}  channel {channel}  serial {pointed.serial}")
    click.echo(f"expires  {pointed.last_day}; sign it anew before: the same command")
    public = directory / PLACE / "minisign.pub"
    click.echo(f"follow   appliance upgrade notebook --follow URL --public-key {public}")


def _publish(
    loaded: Loaded,
    publication: "Publication",
    secret: Path,
    channel: str,
    days: int,
    *,
    ova: bool,
) -> dict[str, Any]:
    from provision.build import build as builder
    from provision.build.artefacts import SBOM
    from provision.distribution.manifest import definition
    from provision.distribution.publication import DiskImage

    config = loaded.config
    wanted = builder.request(config)
    extra = None
    if ova:
        built = builder.build(wanted, _build.default_output(config), with_vm=False)
        disks, extra = built.disks, built.ova
    else:
        disks = builder.build_disks(wanted)
    images = [
        DiskImage(system.name, raw, keep=not system.is_root)
        for system, raw in zip(wanted.file_systems, disks, strict=True)
    ]
    return asdict(
        publication.publish(
            images,
            definition=definition(config),
            sbom=disks[0].with_name(SBOM).read_text(),
            secret=secret,
            channel_name=channel,
            extra=extra,
            days=days,
        )
    )
