"""`appliance fleet`: which appliances there are, and how they are."""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.cli._config import with_config
from provision.cli._fleet import with_inventory
from provision.cli._group import VerbGroup
from provision.cli._json import as_json
from provision.config import Loaded

if TYPE_CHECKING:
    from provision.fleet.inventory import Host, Inventory


@click.group(cls=VerbGroup)
def command() -> None:
    """Keep the list of appliances (an inventory that plain Ansible reads too)."""


@command.command()
@click.argument("name", required=False)
@click.argument("address", required=False)
@click.option("--port", type=click.IntRange(1, 65535), default=22, show_default=True)
@click.option("--user", default="sageadm", show_default=True, help="The administrator.")
@click.option(
    "-i",
    "--identity",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=None,
    help="The administrator's private key. Default: ~/.ssh/id_ed25519.",
)
@click.option("--url", help="Where its notebook answers. Default: https://ADDRESS:8000.")
@click.option("--group", "groups", multiple=True, help="A group of it. May be repeated.")
@click.option("--tag", "tags", multiple=True, help="A tag of it. May be repeated.")
@click.option(
    "--from",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Add all hosts of this Ansible inventory.",
)
@click.option("--local", is_flag=True, help="Add the running appliances of this VirtualBox.")
@click.option("--fingerprint", help="Of the host key, as the appliance's console shows it.")
@click.option("--trust", is_flag=True, help="Pin whatever key answers, without comparing it.")
@with_inventory
def add(
    inventory: "Inventory",
    name: str | None,
    address: str | None,
    port: int,
    user: str,
    identity: Path | None,
    url: str | None,
    groups: tuple[str, ...],
    tags: tuple[str, ...],
    file: Path | None,
    local: bool,
    fingerprint: str | None,
    trust: bool,
) -> None:
    """Add the appliance NAME at ADDRESS, or all of a file or of this VirtualBox.

    Its host key is pinned by the fingerprint that its console shows. A host whose key changes
    later is not touched.
    """
    from provision.fleet import inventory as fleet

    found: list[Host] = []
    if file:
        found += fleet.from_ansible(file)
    if local:
        from provision.fleet.local import running

        found += running()
    if name and address:
        key = identity or Path.home() / ".ssh" / "id_ed25519"
        where = url or f"https://{address}:8000"
        found.append(fleet.Host(name, address, port, user, key.absolute(), where))
    elif name or not (file or local):
        raise click.UsageError("give NAME and ADDRESS, or --from FILE, or --local")
    for host in found:
        _pin(inventory, host, fingerprint, trust=trust)
        inventory = fleet.with_host(
            inventory,
            replace(
                host,
                groups=tuple(dict.fromkeys((*host.groups, *groups))),
                tags=tuple(dict.fromkeys((*host.tags, *tags))),
            ),
        )
        fleet.write(inventory)
        click.echo(f"{host.name}  {host.address}:{host.port}")


def _pin(inventory: "Inventory", host: "Host", fingerprint: str | None, *, trust: bool) -> None:
    from provision.fleet.remote import check_fingerprint, offered_key, pin, pinned_fingerprint
    from provision.machine.ssh import HostKeyChangedError

    key = offered_key(host.address, host.port)
    known = pinned_fingerprint(host, inventory.known_hosts)
    if known == key.fingerprint:
        return
    if known is not None and fingerprint is None:
        raise HostKeyChangedError(
            f"the host key of {host.name} is {key.fingerprint}, but {known} is pinned",
            hint="if it was made anew: compare with its console and give --fingerprint",
        )
    if fingerprint is not None:
        check_fingerprint(key, fingerprint)
    elif not trust:
        question = f"{host.name} has the host key {key.fingerprint}. Does its console show that?"
        if not sys.stdin.isatty():
            raise click.UsageError(
                f"{host.name} has the host key {key.fingerprint}; if its console shows the same,"
                f" add --fingerprint {key.fingerprint}"
            )
        if not click.confirm(question, err=True):
            raise click.Abort
    pin(host.address, host.port, key, inventory.known_hosts)


@command.command("list")
@click.argument("hosts", nargs=-1, metavar="[HOST|GROUP|TAG]...")
@as_json
@with_inventory
def list_(inventory: "Inventory", hosts: tuple[str, ...], as_json: bool) -> None:
    """Show the appliances of the inventory."""
    from provision.fleet.remote import pinned_fingerprint

    chosen = inventory.select(hosts) if hosts or inventory.hosts else ()
    rows = [
        {
            **asdict(host),
            "key": str(host.key),
            "fingerprint": pinned_fingerprint(host, inventory.known_hosts),
        }
        for host in chosen
    ]
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        words = " ".join((*row["groups"], *row["tags"]))
        click.echo(f"{row['name']:<20} {row['address']}:{row['port']}  {words}".rstrip())


@command.command()
@click.argument("hosts", nargs=-1, required=True, metavar="HOST|GROUP|TAG...")
@with_inventory
def remove(inventory: "Inventory", hosts: tuple[str, ...]) -> None:
    """Forget appliances and their host keys; nothing is done to them."""
    from provision.fleet import inventory as fleet
    from provision.fleet.remote import forget

    chosen = inventory.select(hosts)
    fleet.write(fleet.without(inventory, (host.name for host in chosen)))
    for host in chosen:
        forget(host.address, host.port, inventory.known_hosts)
        click.echo(host.name)


@command.command()
@click.argument("hosts", nargs=-1, metavar="[HOST|GROUP|TAG]...")
@with_config
@click.option("--drift", is_flag=True, help="Also what differs from appliance.yml; takes longer.")
@as_json
@with_inventory
def status(
    inventory: "Inventory", hosts: tuple[str, ...], loaded: Loaded, drift: bool, as_json: bool
) -> None:
    """Show version, disks, memory, sessions, failed units, reboots, certificate and backup.

    Below a host is what is wrong with it, by the rules that `fleet alerts` gives Prometheus.
    """
    from provision.cli._fleet import carry_out
    from provision.fleet.many import Pace
    from provision.fleet.status import status as ask

    columns = ("sage", "sessions", "failed_units", "reboot", "certificate_days", "backup_seconds")
    carry_out(
        inventory.select(hosts),
        lambda host, tell: ask(host, inventory, loaded.config if drift else None, tell),
        Pace(8),
        as_json=as_json,
        columns=(*columns, "drift") if drift else columns,
        lists=("alerts",),
    )


@command.command()
def alerts() -> None:
    """Print alerting rules for Prometheus: disk, backup, certificate, line, vulnerabilities."""
    from provision.guest.hub.conditions import rules

    click.echo(rules(), nl=False)
