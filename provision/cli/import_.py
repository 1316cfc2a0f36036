"""`appliance import`: bring an OVA into VirtualBox."""

import json
from pathlib import Path

import click

from provision.cli._json import as_json
from provision.cli._machine import addresses, show_addresses, with_machine
from provision.machine.hypervisor import VirtualMachine


@click.command("import")
@click.argument("ova", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--accept-licence", is_flag=True, help="Agree to the licence that the OVA has.")
@as_json
@with_machine
def command(vm: VirtualMachine, ova: Path, accept_licence: bool, as_json: bool) -> None:
    """Make the appliance's VM from an OVA, with the configuration's name, memory and ports."""
    found = vm.bring(ova, accept_licence=accept_licence)
    if as_json:
        click.echo(json.dumps({"name": found.name, "uuid": found.uuid, "forwards": addresses(vm)}))
        return
    show_addresses(vm)
    click.echo(f"{'start':<10} appliance up")
