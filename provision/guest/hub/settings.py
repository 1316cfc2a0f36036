"""What is off by default, in JupyterHub's terms.

``/etc/notebook/hosted.json`` is written from ``appliance.yml``: ``sign_in``, ``profiles``,
``egress`` (the port of the filtering proxy), ``stores``, ``expiry``. A part that is missing or
empty is off, and what belongs to it is not even imported.
"""

import json
import os
from pathlib import Path
from typing import Any

from traitlets.config import Config

from provision.guest.hub import assignments, metrics, pages, stops, students
from provision.guest.pool.spawner import PoolSpawner
from provision.guest.stores.timer import EVERY
from provision.guest.whole import secret

HOSTED = Path("/etc/notebook/hosted.json")
METRICS_TOKEN = "metrics-token"  # noqa: S105 - the name of a file


def read_hosted(path: Path = HOSTED) -> dict[str, Any]:
    """Read the settings; none where there is no file."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def extend(config: Config, hosted: dict[str, Any], state: Path) -> None:
    """Add to the hub's configuration what the settings ask for.

    Args:
        config: is changed.
        hosted: from ``read_hosted``.
        state: directory of the hub's own files.
    """
    if hosted.get("sign_in"):
        from provision.guest.hub import sign_in  # noqa: PLC0415 - installed where it is wanted

        config.merge(sign_in.configure(hosted["sign_in"], state))
    spawner = config.PoolSpawner
    spawner.profiles = hosted.get("profiles", {})
    spawner.environment = {EVERY: str(hosted.get("stores", {}).get("every", 0))}
    if port := hosted.get("egress"):
        proxy = f"http://127.0.0.1:{port}"
        names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
        spawner.environment |= {
            **dict.fromkeys(names, proxy),
            **dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost"),
            # git gives up a server that says nothing for a minute.
            **{"GIT_HTTP_LOW_SPEED_LIMIT": "1", "GIT_HTTP_LOW_SPEED_TIME": "60"},
        }
    own = [*pages.handlers(state), *students.handlers(state), *assignments.handlers(state)]
    config.JupyterHub.extra_handlers.extend(own)
    # A hub that is proven for an upgrade may not even look there, where Path.exists would raise.
    config.JupyterHub.template_vars["courses_page"] = lambda _: os.access(
        assignments.SOCKET, os.F_OK
    )
    config.JupyterHub.template_vars["own_accounts"] = not hosted.get("sign_in")
    config.JupyterHub.template_paths = [str(Path(__file__).with_name("templates"))]
    config.JupyterHub.services = [{"name": "metrics", "api_token": secret(state / METRICS_TOKEN)}]
    config.JupyterHub.load_roles = [
        {"name": "metrics", "scopes": ["read:metrics"], "services": ["metrics"]}
    ]
    metrics.register(state, PoolSpawner.line)
    stops.register(state)
