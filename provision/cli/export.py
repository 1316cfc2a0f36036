"""`appliance export`: for the hypervisor that the school has, or an engine beyond one room."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.cli import _build
from provision.cli._config import with_config
from provision.cli._group import VerbGroup
from provision.cli._json import as_json
from provision.cli._linux import needs_linux

if TYPE_CHECKING:
    from provision.config import Loaded

_TITLES = {
    "proxmox": "Proxmox VE",
    "libvirt": "libvirt with QEMU and KVM",
    "hyperv": "Hyper-V",
    "vmware": "VMware Workstation and Fusion",
    "utm": "UTM on a Mac",
}
_directory = click.argument("directory", type=click.Path(file_okay=False, path_type=Path))


@click.group(cls=VerbGroup)
def command() -> None:
    """Write the appliance for another hypervisor, or its sessions for many machines."""


def _for_hypervisor(name: str) -> None:
    """Add the verb of one hypervisor."""

    @command.command(name, short_help=f"Write disks and definition of a VM for {_TITLES[name]}.")
    @_directory
    @click.option(
        "--ova",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="From this OVA. Default: the one that `appliance build` wrote here.",
    )
    @as_json
    @with_config
    def verb(directory: Path, ova: Path | None, loaded: "Loaded", as_json: bool) -> None:
        from provision.errors import ApplianceError
        from provision.export.hypervisors import HYPERVISORS, export

        source = ova or _build.default_output(loaded.config)
        if not source.exists():
            raise ApplianceError(
                f"{source} is not there", hint="appliance build, or name it by --ova"
            )
        machine = export(source, HYPERVISORS[name], directory)
        then = HYPERVISORS[name].then(machine, directory)
        if as_json:
            click.echo(
                json.dumps({"path": str(directory), "disks": machine.disks, "then": list(then)})
            )
            return
        click.echo(f"{directory}")
        for line in then:
            click.echo(f"then  {line}")

    verb.help = (
        f"Write the disks and the definition of the VM for {_TITLES[name]} into DIRECTORY.\n\n"
        "The OVA is verified first; the directory is there only when it is whole."
    )


for _name in _TITLES:
    _for_hypervisor(_name)


@command.command("zero-to-jupyterhub")
@needs_linux
@_directory
@click.option(
    "--image",
    default="registry.example.org/appliance",
    show_default=True,
    help="The name under which your registry will have the image, without a tag.",
)
@as_json
@with_config
def zero_to_jupyterhub(directory: Path, image: str, loaded: "Loaded", as_json: bool) -> None:
    """Write the image of a built appliance and the values of the chart Zero to JupyterHub.

    DIRECTORY gets image, an OCI layout with the build's root file system, and values.yaml with
    the same profiles and limits.
    """
    from provision.build import build as builder
    from provision.errors import ApplianceError, HostNotReadyError
    from provision.export import zero_to_jupyterhub

    try:
        wanted = builder.request(loaded.config, offline=True)
    except HostNotReadyError as error:  # nothing of that name was ever built here
        raise ApplianceError(
            f"{loaded.config.name} is not built", hint="appliance build"
        ) from error
    zero_to_jupyterhub.export(
        loaded.config,
        builder.root_layers(wanted),
        directory,
        image=image,
        epoch=wanted.release.epoch,
    )
    tag = f"{image}:{loaded.config.version}"
    push = f"skopeo copy oci:{directory / 'image'}:{loaded.config.version} docker://{tag}"
    if as_json:
        click.echo(json.dumps({"path": str(directory), "image": tag, "push": push}))
        return
    click.echo(f"{directory / 'image'}")
    click.echo(f"{directory / 'values.yaml'}")
    click.echo(f"push  {push}")
    click.echo(
        "then  helm upgrade --install notebook jupyterhub --repo https://hub.jupyter.org/helm-chart"
        f" --values {directory / 'values.yaml'}"
    )


@command.command("slurm")
@_directory
@click.option("--server", help="jupyterhub-singleuser on the cluster's machines.")
@as_json
@with_config
def slurm(directory: Path, server: str | None, loaded: "Loaded", as_json: bool) -> None:
    """Write JupyterHub's configuration for sessions as jobs of Slurm, by batchspawner.

    DIRECTORY gets jupyterhub_config.py and what it reads, with the same profiles and limits.
    """
    from provision.export import elsewhere
    from provision.export import slurm as cluster

    cluster.export(loaded.config, directory, server=server or elsewhere.SERVER)
    path = directory / cluster.CONFIG
    click.echo(json.dumps({"path": str(path)}) if as_json else f"{path}")
