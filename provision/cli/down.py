"""`appliance down`: stop the appliance."""

import click

from provision.cli._machine import with_machine
from provision.machine.hypervisor import VirtualMachine


@click.command()
@click.option("--force", is_flag=True, help="Cut the power at once.")
@click.option("--save", is_flag=True, help="Freeze it to disk; `up` goes on where it was.")
@click.option(
    "--timeout",
    type=click.IntRange(0),
    default=90,
    show_default=True,
    metavar="SECONDS",
    help="How long it may take to shut down before the power is cut.",
)
@with_machine
def command(vm: VirtualMachine, force: bool, save: bool, timeout: int) -> None:
    """Shut the appliance down in order; one that does not obey has its power cut."""
    if force and save:
        raise click.UsageError("--force and --save exclude each other.")
    if save:
        vm.save()
    else:
        vm.stop(grace=0 if force else timeout)
