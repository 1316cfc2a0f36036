"""`appliance status`: is it there, does it run, how is it reached."""

import json
from typing import Any

import click

from provision.cli._json import as_json
from provision.cli._machine import addresses, show_addresses, with_machine
from provision.machine.hypervisor import VirtualMachine

SSH_SECONDS = 3


@click.command()
@as_json
@with_machine
def command(vm: VirtualMachine, as_json: bool) -> None:
    """Tell whether the appliance is defined, runs, and answers over SSH."""
    report = _look(vm)
    if as_json:
        click.echo(json.dumps(report))
        return
    click.echo(f"{vm.config.name:<10} {report['state']}")
    if report["state"] == "not defined":
        return
    if report["ssh"] is not None:
        click.echo(f"{'answers':<10} {report['ssh']}")
    for disk in report["disks"]:
        click.echo(f"{'disk':<10} {disk}")
    show_addresses(vm)


def _look(vm: VirtualMachine) -> dict[str, Any]:
    from provision.errors import ApplianceError
    from provision.machine.ssh import connect

    found = vm.find()
    if found is None:
        return {"name": vm.config.name, "state": "not defined"}
    ssh: str | None = None
    if found.state == "running":
        try:
            connect(vm.endpoint(), patience=SSH_SECONDS).close()
            ssh = "yes"
        except ApplianceError as error:
            ssh = str(error)
    return {
        "name": vm.config.name,
        "uuid": found.uuid,
        "state": found.state,
        "ssh": ssh,
        "disks": list(map(str, found.disks.values())),
        "console": str(vm.console),
        "forwards": addresses(vm),
    }
