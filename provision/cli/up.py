"""`appliance up`: start the appliance in VirtualBox."""

import json

import click

from provision.cli._json import as_json
from provision.cli._machine import addresses, show_addresses, with_machine
from provision.machine.hypervisor import VirtualMachine


@click.command()
@click.option("--wait/--no-wait", default=True, help="Wait until SSH lets the admin in.")
@click.option(
    "--timeout",
    type=click.IntRange(1),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for SSH.",
)
@as_json
@with_machine
def command(vm: VirtualMachine, wait: bool, timeout: int, as_json: bool) -> None:
    """Start the appliance, and wait until SSH answers.

    A VM that is not there yet is imported from NAME-VERSION.ova in the current directory.
    Taken ports of this host are corrected, or refused with the name of what holds them.
    """
    from provision.cli._build import default_output

    ova = default_output(vm.config)
    if vm.find() is None and ova.exists():
        vm.bring(ova)
    if wait:
        vm.start(timeout=timeout)
    else:
        vm.power_on()
    if as_json:
        click.echo(json.dumps({"name": vm.config.name, "forwards": addresses(vm)}))
    else:
        show_addresses(vm)
