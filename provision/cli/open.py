"""`appliance open`: the notebook in this host's browser."""

import click

from provision.cli._machine import addresses, with_machine
from provision.machine.hypervisor import VirtualMachine


@click.command()
@click.option("--print", "only_print", is_flag=True, help="Print the address, open nothing.")
@with_machine
def command(vm: VirtualMachine, only_print: bool) -> None:
    """Open the appliance's notebook in this host's browser.

    The appliance makes its certificate itself unless you gave it one, so that the browser asks
    once whether to trust it.
    """
    import webbrowser

    from provision.errors import HypervisorError

    config = vm.config
    port = next((f["host"] for f in addresses(vm) if f["guest"] == config.notebook.port), None)
    if port is None:
        raise HypervisorError(
            "no port of this host leads to the notebook",
            hint="add network.forwards.notebook to appliance.yml",
        )
    url = f"{'https' if config.https else 'http'}://localhost:{port}/"
    click.echo(url)
    if not only_print and not webbrowser.open(url):
        raise HypervisorError("this host has no browser to open", hint=f"open {url} in one")
