"""`appliance replace-root`: a newly built root disk under an appliance in use."""

import json
from functools import partial
from pathlib import Path

import click

from provision.cli._fleet import take_over, takes_over
from provision.cli._json import as_json
from provision.cli._machine import host_of, with_machine
from provision.machine.hypervisor import VirtualMachine


@click.command()
@with_machine
@click.option(
    "--disk",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The new root disk: raw, VDI or VMDK. Default: build it from appliance.yml.",
)
@click.option("--confirm", is_flag=True, help="Delete the old root disk: the new one is good.")
@click.option("--rollback", is_flag=True, help="Put the old root disk back.")
@take_over
@as_json
def command(
    vm: VirtualMachine, disk: Path | None, confirm: bool, rollback: bool, as_json: bool
) -> None:
    """Give the VM of appliance.yml a new root disk.

    /home, accounts, the hub's state, host keys and the administrator's keys stay. The old root
    disk is kept until --confirm; if the new one is not healthy it comes back by itself.
    """
    from provision.fleet.replace_root import replace, roll_back
    from provision.machine.root_disk import RootDisk
    from provision.progress import note

    if confirm and rollback:
        raise click.UsageError("--confirm or --rollback, not both")
    root, host = RootDisk(vm), partial(host_of, vm)

    def tell(step: str, detail: str) -> None:
        note(f"{step} {detail}".strip())

    if confirm:
        told = {"deleted": str(root.confirm())}
    elif rollback:
        told = roll_back(root, host, tell, take_over=takes_over())
    else:
        new = root.prepare(disk or _build_root(vm))
        told = replace(root, new, host, tell, take_over=takes_over())
    click.echo(json.dumps(told) if as_json else "\n".join(f"{k}  {v}" for k, v in told.items()))


def _build_root(vm: VirtualMachine) -> Path:
    """The root disk that the configuration leads to, from the cache or built now."""
    from provision.build import build as builder

    return builder.build_disks(builder.request(vm.config))[0]
