"""The fast layer: accounts, everything from a template, and the user's own playbooks."""

from collections.abc import Sequence
from pathlib import Path

from provision.build.artefacts import LAYER
from provision.build.guest import guest, variables_for
from provision.build.playbook import run_hooks, run_playbook
from provision.build.sandboxes import roots
from provision.build.workshop import Workshop
from provision.jeos.layers import clamp_times


def work(shop: Workshop, layers: Sequence[Path], part: Path) -> None:
    """Run our configuration and the user's own playbooks and roles."""
    hooks = shop.request.config.hooks
    with guest(shop, layers, part) as endpoint:
        variables = variables_for(shop.request, "configure", endpoint)
        variables |= roots(shop.request, shop.downloads)
        run_playbook("configure", endpoint, variables, log=shop.log)
        run_hooks(hooks.playbooks, hooks.roles, endpoint, variables, log=shop.log)
    clamp_times(part / LAYER, shop.request.release.epoch)
