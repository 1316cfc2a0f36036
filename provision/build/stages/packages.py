"""The slow layer: all that apt and pip bring."""

from collections.abc import Sequence
from pathlib import Path

from provision.build.artefacts import LAYER
from provision.build.guest import guest, variables_for
from provision.build.playbook import run_playbook
from provision.build.workshop import Workshop
from provision.jeos.layers import clamp_times


def work(shop: Workshop, layers: Sequence[Path], part: Path) -> None:
    """Boot the guest on the layers so far and run the playbook in it."""
    with guest(shop, layers, part) as endpoint:
        variables = variables_for(shop.request, "packages", endpoint)
        run_playbook("packages", endpoint, variables, log=shop.log)
    clamp_times(part / LAYER, shop.request.release.epoch)
