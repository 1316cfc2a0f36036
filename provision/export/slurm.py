"""The same sessions as jobs of a cluster with Slurm: the configuration of its hub.

The cluster has its own machines, accounts and shared home directories; each machine has the
appliance's ``/opt/notebook``, or the hub is told where else the server is.
"""

import json
from pathlib import Path
from typing import Any

from provision.config import Config
from provision.export import elsewhere
from provision.guest.pool.certificate import NAME

CONFIG = "jupyterhub_config.py"


def export(config: Config, target: Path, *, server: str = elsewhere.SERVER) -> dict[str, Any]:
    """Write the hub's configuration into a directory.

    Args:
        config: the appliance.
        target: a directory, made if need be.
        server: jupyterhub-singleuser on the cluster's machines, with batchspawner beside it.

    Returns:
        What the configuration is told.
    """
    notebook = config.notebook
    told: dict[str, Any] = {
        "shares": elsewhere.shares(config),
        "profiles": elsewhere.choices(config),
        # Slurm counts minutes.
        "runtime": str(-(-notebook.session_expiry // 60) or ""),
        "idle_timeout": notebook.timeout,
        "max_sessions": notebook.max_sessions,
        "names": NAME.pattern,
        "server": server,
        "wrapper": str(Path(server).with_name("batchspawner-singleuser")),
    }
    target.mkdir(parents=True, exist_ok=True)
    (target / "appliance.json").write_text(json.dumps(told, indent=1) + "\n")
    for module in ("pool/entitlement.py", "hub/profiles.py"):
        (target / Path(module).name).write_text(elsewhere.source(module))
    (target / CONFIG).write_text(Path(__file__).with_name("slurm_config.py").read_text())
    return told
