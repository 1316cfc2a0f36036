"""Bring what was changed in an appliance.yml to an appliance in use, without new packages.

The engine is that of ``system``: what a failure leaves goes back, and nobody's session ends.
"""

import shlex
from collections.abc import Mapping
from typing import Any

from provision.build.playbook import run_playbook
from provision.build.variables import playbook_variables
from provision.config import Config
from provision.fleet.inventory import Host, Inventory
from provision.fleet.many import Tell
from provision.fleet.remote import Remote, reach
from provision.fleet.system import SystemOptions, log_of, upgrade_system, variables_for
from provision.fleet.upgrade import NotReadyError

PATIENCE = 600
# What stands for each thing that only packages bring; patterns.
SITE = "/opt/notebook/lib/python3*/site-packages"
PROXY = "/usr/sbin/squid"
BROUGHT = {
    "git": (f"{SITE}/jupyterlab_git", PROXY),
    "signin": (f"{SITE}/oauthenticator",),
    "stores": ("/usr/bin/rclone", PROXY),
    "courses": ("/opt/nbgrader/installed.lock",),
}


def preview(host: Host, inventory: Inventory, config: Config, tell: Tell) -> dict[str, Any]:
    """Tell what ``configure`` would do; nothing is changed.

    Args:
        host: the appliance.
        inventory: with its pinned key.
        config: what it should be.
        tell: called as each step begins.

    Returns:
        ``changes`` (of which task, what), ``restarts`` (what follows) and ``diff`` (lines).

    Raises:
        NotReadyError: it wants packages that are not there.
        GuestError: no way in.
        ProvisioningError: a task cannot be tried.
    """
    tell("compare", "")
    with reach(host, inventory) as remote:
        _refuse_missing(remote, config)
        variables = variables_for(config, remote)
    endpoint = host.endpoint(inventory.known_hosts)
    found = run_playbook("configure", endpoint, variables, log=log_of(host), check=True).changes
    return {
        "changes": [f"{c.task}: {', '.join(c.items)}" for c in found if not c.handler],
        "restarts": [item for change in found if change.handler for item in change.items],
        "diff": [line for change in found for line in change.diff],
    }


def configure(
    host: Host, inventory: Inventory, config: Config, tell: Tell, *, take_over: bool = False
) -> dict[str, Any]:
    """Bring a configuration to an appliance in use; what fails leaves the old one in force.

    Args:
        host: the appliance.
        inventory: with its pinned key.
        config: what it should be.
        tell: called as each step begins.
        take_over: end another run that has the appliance.

    Returns:
        ``tasks`` (of Ansible, that changed something) and ``changed``.

    Raises:
        NotReadyError: nothing was changed.
        WentBackError: something failed; the appliance is as it was.
        GuestError: no way in, or the connection broke; the appliance goes back by itself.
    """
    tell("compare", "")
    with reach(host, inventory) as remote:
        _refuse_missing(remote, config)
    options = SystemOptions(
        packages=False,
        config=config,
        reboot="never",
        patience=PATIENCE,
        playbook="configure",
        take_over=take_over,
    )
    done = upgrade_system(host, inventory, options, tell)
    return {name: done[name] for name in ("tasks", "changed")}


def paths_of_packages(told: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """What a configuration wants that only packages bring: patterns of paths, by name.

    Args:
        told: the playbooks' variables.
    """
    wanted = {each["name"]: tuple(each["brought"]) for each in told["kernels_languages"]}
    if told["kernels_wheels"]:
        wanted["kernels.python.packages"] = ("/opt/python/installed.lock",)
    return wanted | {name: BROUGHT[name] for name in told["extensions_names"]}


def _refuse_missing(remote: Remote, config: Config) -> None:
    """Refuse a configuration that wants what only packages bring."""
    told = playbook_variables(config, (), epoch=0)
    script = [
        f"dpkg-query -W -f '${{db:Status-Abbrev}}' {shlex.quote(name)} 2>/dev/null"
        f" | grep -q ^.i || echo {shlex.quote(name)}"
        for name in told["packages_extra"]
    ]
    script += [
        f"ls -d {' '.join(paths)} >/dev/null 2>&1 || echo {shlex.quote(name)}"
        for name, paths in paths_of_packages(told).items()
    ]
    if missing := remote.sudo("sh", "-c", "\n".join([*script, ":"])).splitlines():
        raise NotReadyError(
            f"{remote.host.name} lacks {', '.join(missing)}",
            hint="appliance upgrade system brings packages, then the configuration",
        )
