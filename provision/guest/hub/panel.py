"""An extension of the session's notebook server: its usage, for the page, and its stores' clock.

Root's sampler writes the usage (``usage``), and ``account`` binds it into the session.
"""

import asyncio
import json
import resource
from pathlib import Path
from typing import Any

from jupyter_server.base.handlers import JupyterHandler  # type: ignore[import-not-found]
from tornado import web

from provision.guest.stores import timer

USAGE = Path("/run/usage/usage.json")


class UsageHandler(JupyterHandler):  # type: ignore[misc]  # jupyter_server is the guest's
    """``GET api/appliance/usage``."""

    @web.authenticated
    def get(self) -> None:
        """What this session uses and what is left; empty while it is not known."""
        try:
            found = json.loads(USAGE.read_text())
        except (OSError, ValueError):
            found = {}
        largest, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        known = largest != resource.RLIM_INFINITY
        self.finish({**found, "file": largest if known else None})


def _load_jupyter_server_extension(app: Any) -> None:
    base = app.web_app.settings["base_url"].rstrip("/")
    app.web_app.add_handlers(".*", [(f"{base}/api/appliance/usage", UsageHandler)])


async def _start_jupyter_server_extension(app: Any) -> None:
    app.stores_clock = asyncio.create_task(timer.keep(Path.home()))


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]
