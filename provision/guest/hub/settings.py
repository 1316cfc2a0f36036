"""What is off by default, in JupyterHub's terms.

The appliance's ``record`` says what is on; what belongs to the rest is not even imported.
"""

import os
from pathlib import Path

from traitlets.config import Config

from provision.guest.documentation import shelf
from provision.guest.hub import assignments, metrics, pages, roll, stops, students
from provision.guest.hub.words import OWN, Words
from provision.guest.pool.spawner import PoolSpawner
from provision.guest.record import Record
from provision.guest.stores.timer import EVERY
from provision.guest.whole import secret

METRICS_TOKEN = "metrics-token"  # noqa: S105 - the name of a file


def extend(config: Config, told: Record, state: Path) -> None:
    """Add to the hub's configuration what the settings ask for.

    Args:
        config: is changed.
        told: of the appliance.
        state: directory of the hub's own files.
    """
    if told.sign_in:
        # Installed where it is wanted.
        if told.sign_in.get("lti"):
            from provision.guest.lti.tool import configure  # noqa: PLC0415
        else:
            from provision.guest.hub.sign_in import configure  # noqa: PLC0415

        config.merge(configure(told.sign_in, state))
    spawner = config.PoolSpawner
    spawner.profiles = told.profiles
    spawner.environment = {EVERY: str(told.stores.get("every", 0))}
    if told.egress:
        proxy = f"http://127.0.0.1:{told.egress}"
        names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
        spawner.environment |= {
            **dict.fromkeys(names, proxy),
            **dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost"),
            # git gives up a server that says nothing for a minute.
            **{"GIT_HTTP_LOW_SPEED_LIMIT": "1", "GIT_HTTP_LOW_SPEED_TIME": "60"},
        }
    own = [*pages.handlers(state), *students.handlers(state), *roll.handlers(state)]
    own += assignments.handlers(state)
    config.JupyterHub.extra_handlers.extend(own)
    # A hub that is proven for an upgrade may not even look there, where Path.exists would raise.
    config.JupyterHub.template_vars["courses_page"] = lambda _: os.access(
        assignments.SOCKET, os.F_OK
    )
    config.JupyterHub.template_vars["documentation"] = lambda _: os.access(shelf.KNOWN, os.F_OK)
    config.JupyterHub.template_vars["own_accounts"] = not told.sign_in or bool(
        told.sign_in.get("lti")
    )
    config.JupyterHub.template_paths = [str(OWN)]
    config.JupyterHub.jinja_environment_options = {"extensions": [Words]}
    config.JupyterHub.services = [{"name": "metrics", "api_token": secret(state / METRICS_TOKEN)}]
    config.JupyterHub.load_roles = [
        {"name": "metrics", "scopes": ["read:metrics"], "services": ["metrics"]}
    ]
    metrics.register(state, PoolSpawner.line)
    stops.register(state)
