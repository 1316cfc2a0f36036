"""`appliance snapshot`: take, list, restore and delete snapshots."""

import json
from dataclasses import asdict

import click

from provision.cli._group import VerbGroup
from provision.cli._json import as_json
from provision.cli._machine import with_machine
from provision.machine.hypervisor import VirtualMachine


@click.group(cls=VerbGroup)
def command() -> None:
    """Keep the appliance's state of one moment, and go back to it."""


@command.command()
@click.argument("name")
@click.option("--description", default="", help="What it is for.")
@with_machine
def take(vm: VirtualMachine, name: str, description: str) -> None:
    """Take a snapshot; a running appliance goes on running."""
    click.echo(vm.take(name, description))


@command.command("list")
@as_json
@with_machine
def list_(vm: VirtualMachine, as_json: bool) -> None:
    """List the snapshots, each below the one that it was taken on; * marks the present base."""
    found = vm.snapshots()
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found]))
        return
    for each in found:
        click.echo(f"{'*' if each.current else ' '} {'  ' * each.depth}{each.name}")


@command.command()
@click.argument("name")
@with_machine
def restore(vm: VirtualMachine, name: str) -> None:
    """Bring the appliance, which must be off, back to a snapshot."""
    vm.restore(name)


@command.command()
@click.argument("name")
@with_machine
def delete(vm: VirtualMachine, name: str) -> None:
    """Delete a snapshot; the present state stays as it is."""
    vm.drop(name)
