"""appliance build: from the package mirror to the OVA."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.cli import _build
from provision.cli._config import with_config
from provision.cli._json import as_json
from provision.cli._linux import needs_linux
from provision.config import Loaded
from provision.files import ordinary

if TYPE_CHECKING:
    from provision.build.workshop import Runtime


@click.command()
@needs_linux
@with_config
@_build.output
@_build.from_stage
@click.option("--offline", is_flag=True, help="Download nothing; build from the cache.")
@click.option("--keep-on-failure", is_flag=True, help="Keep the directory of a failed stage.")
@click.option(
    "--vm/--no-vm",
    default=None,
    help="Define the VM in VirtualBox too. Default: where VirtualBox is installed; --vm fetches"
    " one that starts no VM.",
)
@click.option(
    "--runtime",
    type=click.Choice(["nspawn", "qemu"]),
    help="What boots the guest while it is provisioned: nspawn, if root, is the fastest; qemu"
    " needs no root and works in containers.",
)
@as_json
def command(
    loaded: Loaded,
    output: Path | None,
    from_stage: str | None,
    offline: bool,
    keep_on_failure: bool,
    vm: bool | None,
    runtime: "Runtime | None",
    as_json: bool,
) -> None:
    """Build the appliance and write its OVA.

    Finished stages are cached: an interrupted or changed build goes on from the first stage
    that is missing. `appliance plan` tells which.
    """
    from provision.build import build as builder
    from provision.build import places
    from provision.build.description import how_to_reach

    config = loaded.config
    place = ordinary(output or _build.default_output(config))
    best = _build.contain_here(config)
    wanted = builder.request(config, offline=offline)
    built = builder.build(
        wanted,
        place,
        from_stage=from_stage,
        offline=offline,
        keep_on_failure=keep_on_failure,
        with_vm=vm,
        runtime=runtime or best,
    )
    if as_json:
        click.echo(
            json.dumps(
                {
                    "ova": str(built.ova),
                    "size": built.size,
                    "sha256": built.sha256,
                    "disks": [str(path) for path in built.disks],
                    "log": str(built.log),
                }
            )
        )
        return
    click.echo(f"{built.ova}")
    click.echo(f"size    {built.size / 2**20:.0f} MiB")
    click.echo(f"sha256  {built.sha256}")
    click.echo(f"import  VBoxManage import {built.ova}   (or: appliance up)")
    key = None if config.admin.keys else places.admin_key(config.name)
    click.echo(how_to_reach(config, key))
