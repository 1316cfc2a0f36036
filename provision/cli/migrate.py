"""`appliance migrate`: port forwards of an appliance of 2008 to what VirtualBox reads today."""

import json
import sys
from dataclasses import asdict

import click

from provision.cli._json import as_json


@click.command()
@click.argument("vm")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def command(vm: str, yes: bool, as_json: bool) -> None:
    """Find port forwards in VM's extra data, and offer to turn them into NAT rules.

    Old appliances set them by `setextradata … HostPort`, which VirtualBox no longer reads. VM is
    the name or UUID of any VM that is off. Without --yes and without a terminal they are only
    listed.
    """
    from provision.machine.virtualbox import manage, translating
    from vbox import extradata, machine, nat

    virtualbox = manage()
    with translating():
        found = machine.show(virtualbox, vm)
        old = [each.forward for each in nat.legacy(dict(extradata.read(virtualbox, found.uuid)))]
    agreed = bool(old) and (
        yes
        or (
            sys.stdin.isatty()
            and click.confirm(f"Migrate {len(old)} forwards of {found.name}?", err=True)
        )
    )
    if agreed:
        with translating():
            nat.migrate(virtualbox, found)
    if as_json:
        click.echo(json.dumps({"migrated": agreed, "forwards": [asdict(each) for each in old]}))
        return
    for each in old:
        click.echo(each.rule())
    if not old:
        click.echo(f"{found.name} has no such forwards", err=True)
    elif not agreed:
        click.echo("nothing changed; --yes migrates them", err=True)
