"""`appliance configure`: change the settings of appliances in use."""

from functools import partial
from typing import TYPE_CHECKING

import click

from provision.cli._config import with_config
from provision.cli._fleet import carry_out, take_over, takes_over, with_inventory, with_pace
from provision.cli._json import as_json
from provision.cli._linux import needs_linux
from provision.config import Loaded

if TYPE_CHECKING:
    from provision.fleet.inventory import Inventory
    from provision.fleet.many import Pace


@click.command()
@needs_linux
@click.argument("hosts", nargs=-1, metavar="[HOST|GROUP|TAG]...")
@with_config
@click.option("--check", is_flag=True, help="Show what would change and start anew; no more.")
@take_over
@with_pace
@as_json
@with_inventory
def command(
    inventory: "Inventory",
    hosts: tuple[str, ...],
    loaded: Loaded,
    check: bool,
    pace: "Pace",
    as_json: bool,
) -> None:
    """Bring the settings of appliance.yml to the HOSTs (all without one), over SSH.

    Sessions go on. If anything fails, or the notebook does not answer afterwards, the old
    settings are in force again. What needs packages is for `appliance upgrade system`.
    """
    from provision.fleet.configure import configure, preview

    if not (loaded.origins or loaded.path):
        raise click.UsageError("there is no appliance.yml here; name it by -c, or use --set")
    work = preview if check else partial(configure, take_over=takes_over())
    carry_out(
        inventory.select(hosts),
        lambda host, tell: work(host, inventory, loaded.config, tell),
        pace,
        as_json=as_json,
        columns=() if check else ("changed",),
        lists=("changes", "restarts", "diff") if check else ("tasks",),
    )
