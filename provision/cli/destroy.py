"""`appliance destroy`: delete the VM."""

import sys

import click

from provision.cli._machine import with_machine
from provision.machine.hypervisor import VirtualMachine


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_machine
def command(vm: VirtualMachine, yes: bool) -> None:
    """Delete the appliance's VM with its disks and snapshots, and so all that its users made.

    The OVA and the configuration stay. A VM of the same name that `appliance` did not make is
    never touched.
    """
    from provision.errors import UsageError

    if vm.find() is not None and not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                f"this would delete {vm.config.name!r} with its disks", hint="add --yes"
            )
        click.confirm(f"Delete {vm.config.name} with all its disks?", abort=True, err=True)
    if not vm.destroy():
        click.echo(f"there is no VM {vm.config.name}", err=True)
