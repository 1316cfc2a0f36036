"""`appliance notebook`: stop, start, reload the notebook in the appliance, or ask how it is."""

import json
import shlex

import click

from provision.cli._group import VerbGroup
from provision.cli._json import as_json
from provision.cli._machine import with_machine
from provision.machine.hypervisor import VirtualMachine

UNITS = ("notebook-firewall", "sshd-pool", "notebook-proxy", "notebook")
# A stopped hub leaves its sessions running; who stops the notebook wants them ended.
COMMANDS = {
    "stop": "systemctl stop notebook notebook-proxy && notebook-sessions end"
    " && systemctl stop sshd-pool",
    "start": f"systemctl start {' '.join(UNITS)}",
    "reload": "systemctl reload notebook notebook-proxy",
}


@click.group(cls=VerbGroup)
def command() -> None:
    """Stop, start or reload the notebook in the running appliance."""


@command.command()
@with_machine
def stop(vm: VirtualMachine) -> None:
    """Stop the notebook and end every session; files stay."""
    _ask(vm, COMMANDS["stop"])


@command.command()
@with_machine
def start(vm: VirtualMachine) -> None:
    """Start the notebook."""
    _ask(vm, COMMANDS["start"])


@command.command()
@with_machine
def reload(vm: VirtualMachine) -> None:
    """Read the settings and the certificate again; sessions go on."""
    _ask(vm, COMMANDS["reload"])


@command.command()
@as_json
@with_machine
def status(vm: VirtualMachine, as_json: bool) -> None:
    """Tell which of the notebook's services run, and who has which account."""
    states = _ask(vm, f"systemctl is-active {' '.join(UNITS)} || true").split()
    leases = [line.split() for line in _ask(vm, "notebook-sessions").splitlines()]
    if as_json:
        sessions = [{"account": account, "student": student} for account, student in leases]
        units = dict(zip(UNITS, states, strict=True))
        click.echo(json.dumps({"units": units, "sessions": sessions}))
        return
    for name, value in [*zip(UNITS, states, strict=True), *leases]:
        click.echo(f"{name:<18} {value}")


def _ask(vm: VirtualMachine, line: str) -> str:
    from provision.errors import GuestError
    from provision.machine.ssh import connect, execute

    with connect(vm.endpoint()) as client:
        done = execute(client, f"sudo -n sh -c {shlex.quote(line)}", timeout=120)
    if done.status:
        raise GuestError(
            f"the guest refused: {done.stderr.strip()[-500:]}",
            hint="is it an appliance with a notebook? `appliance logs`",
        )
    return done.stdout
