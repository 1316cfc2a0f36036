"""One host of a room has a package first and hands it on to the others, over SSH between them."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.fleet.inventory import Host, Inventory
from provision.fleet.package import Package
from provision.fleet.remote import Remote, reached
from provision.machine import keys

PROGRAM = "hand_on"
HOURS = 12


@dataclass(frozen=True)
class Relay:
    """Where the others of a room find a package.

    Args:
        host: the one that has it.
        told: what ``inside/hand_on.py`` must know to take it from there.
    """

    host: Host
    told: dict[str, Any]

    def hand_on(self, remote: Remote, package: Package) -> None:
        """Have another appliance take the package.

        Raises:
            StepError: it did not come whole; what came stays for the next try.
        """
        told = json.dumps(self.told).encode()
        words = ("take", remote.host.user, package.sha256, str(package.size))
        remote.program(PROGRAM, *words, stdin=told)


@contextlib.contextmanager
def offered(host: Host, inventory: Inventory, package: Package) -> Iterator[Relay]:
    """Have a host offer the package that it received, with a key made for this run alone.

    Raises:
        StepError: it has no such package.
        GuestError: no way in.
    """
    with tempfile.TemporaryDirectory() as place:
        public = keys.generate(Path(place) / "key", comment="hand-on")
        private = (Path(place) / "key").read_text()
    with reached(host, inventory) as remote:
        words = ("offer", host.user, package.sha256, str(HOURS))
        answer = remote.program(PROGRAM, *words, stdin=public.encode())
    address, _, port = (host.room or f"{host.address}:{host.port}").rpartition(":")
    relay = Relay(
        host,
        {
            **{"address": address, "port": int(port), "user": host.user},
            **{"key": private, "host_key": answer["host_key"]},
        },
    )
    try:
        yield relay
    finally:
        with reached(host, inventory) as remote:
            remote.program(PROGRAM, "withdraw", host.user)
