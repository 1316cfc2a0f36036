"""The service's process: ``python -m provision.guest.grader --config FILE``."""

import argparse
import logging
import os
import socket
import sys
from pathlib import Path

from aiohttp import web

from provision.errors import ApplianceError
from provision.guest.grader import settings as settings_
from provision.guest.grader.engines import make
from provision.guest.grader.service import Service


def main() -> None:
    """Serve until SIGTERM; running boxes then end, and are run again by the next start."""
    parser = argparse.ArgumentParser(prog="grader", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        settings = settings_.load(options.config)
        service = Service(settings, make(settings))
    except ApplianceError as error:
        sys.exit(f"grader: {error}" + (f" ({error.hint})" if error.hint else ""))
    web.run_app(
        service.application(),
        host=settings.host,
        port=settings.port,
        access_log=None,
        shutdown_timeout=2,
        handler_cancellation=True,
        print=lambda *_: _ready(),  # called once, when the port is open
    )
    # Threads may still wait for their boxes, which end with us.
    logging.shutdown()
    os._exit(0)


def _ready() -> None:
    """Tell systemd that requests are answered; see sd_notify(3)."""
    place = os.environ.pop("NOTIFY_SOCKET", None)
    if place:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(b"READY=1", "\0" + place[1:] if place.startswith("@") else place)


if __name__ == "__main__":
    main()
