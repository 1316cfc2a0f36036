"""The slow layer: all that apt and pip bring."""

from collections.abc import Sequence
from pathlib import Path

from provision.build.artefacts import LAYER
from provision.build.guest import programs, variables_for
from provision.build.playbook import run_playbook
from provision.build.workshop import Workshop
from provision.jeos.layers import clamp_times


def work(shop: Workshop, layers: Sequence[Path], part: Path) -> None:
    """Run the playbook with the programs of the layers so far."""
    with programs(shop, layers, part) as endpoint:
        variables = variables_for(shop.request, "packages", endpoint)
        run_playbook("packages", endpoint, variables, log=shop.log)
    clamp_times(part / LAYER, shop.request.release.epoch)
