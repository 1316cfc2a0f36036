"""`appliance snapshot`: take, list, restore and delete snapshots."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from provision.cli._group import Group
from provision.cli._json import as_json
from provision.cli._machine import with_machine

if TYPE_CHECKING:
    from provision.machine.virtualbox import VirtualBoxMachine


@click.group(cls=Group)
def command() -> None:
    """Keep the appliance's state of one moment, and go back to it."""


@command.command()
@click.argument("name")
@click.option("--description", default="", help="What it is for.")
@with_machine
def take(vm: "VirtualBoxMachine", name: str, description: str) -> None:
    """Take a snapshot; a running appliance goes on running."""
    from provision.machine.virtualbox import translated
    from provision.progress import step
    from vbox import snapshot

    with translated(), step(f"take snapshot {name}"):
        click.echo(snapshot.take(vm.manage, vm.get(), name, description).uuid)


@command.command("list")
@as_json
@with_machine
def list_(vm: "VirtualBoxMachine", as_json: bool) -> None:
    """List the snapshots, each below the one that it was taken on; * marks the present base."""
    from provision.machine.virtualbox import translated
    from vbox import snapshot

    with translated():
        found = snapshot.listed(vm.manage, vm.get())
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found]))
        return
    for each in found:
        click.echo(f"{'*' if each.current else ' '} {'  ' * each.depth}{each.name}")


@command.command()
@click.argument("name")
@with_machine
def restore(vm: "VirtualBoxMachine", name: str) -> None:
    """Bring the appliance, which must be off, back to a snapshot."""
    from provision.machine.virtualbox import translated
    from provision.progress import step
    from vbox import snapshot

    with translated(), step(f"restore snapshot {name}"):
        snapshot.restore(vm.manage, vm.get(), name)


@command.command()
@click.argument("name")
@with_machine
def delete(vm: "VirtualBoxMachine", name: str) -> None:
    """Delete a snapshot; the present state stays as it is."""
    from provision.machine.virtualbox import translated
    from provision.progress import advance, step
    from vbox import snapshot

    with translated(), step(f"delete snapshot {name}"):
        snapshot.delete(vm.manage, vm.get(), name, on_progress=lambda done: advance(done, 100))
