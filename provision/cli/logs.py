"""`appliance logs`: the guest's console, or VirtualBox's own log of the VM."""

import collections
import time
from pathlib import Path

import click

from provision.cli._machine import with_machine
from provision.machine.hypervisor import VirtualMachine

POLL_SECONDS = 0.2


@click.command()
@click.option("--vbox", is_flag=True, help="VirtualBox's log of the VM instead of the console.")
@click.option("-f", "--follow", is_flag=True, help="Go on as it grows, until interrupted.")
@click.option(
    "-n", "--lines", type=click.IntRange(0), default=200, show_default=True, help="How many."
)
@with_machine
def command(vm: VirtualMachine, vbox: bool, follow: bool, lines: int) -> None:
    """Print the end of the guest's serial console: firmware, kernel and boot messages."""
    from provision.errors import HypervisorError

    file = vm.get().log if vbox else vm.console
    try:
        _print(file, lines, follow=follow)
    except FileNotFoundError as error:
        raise HypervisorError(
            f"{file} is not there", hint="has it been started? `appliance up`"
        ) from error


def _print(file: Path, lines: int, *, follow: bool) -> None:
    with file.open(errors="replace") as stream:
        click.echo("".join(collections.deque(stream, lines)), nl=False)
        while follow:
            if text := stream.read():
                click.echo(text, nl=False)
            else:
                time.sleep(POLL_SECONDS)
