"""One host of a room has a package first and hands it on to the others, over SSH between them."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provision.errors import GuestError
from provision.fleet.inventory import Host, Inventory
from provision.fleet.package import Package
from provision.fleet.remote import Remote, reach
from provision.machine import keys
from provision.progress import note

PROGRAM = "hand_on"
HOURS = 12
MOST_FAILURES = 3  # of hosts that got nothing whole, until no other asks


@dataclass(frozen=True)
class Relay:
    """Where the others of a room find a package.

    Args:
        host: the one that has it.
        told: what ``inside/hand_on.py`` must know to take it from there.
        failures: names of the hosts that it did not serve.
    """

    host: Host
    told: dict[str, Any]
    failures: list[str] = field(default_factory=list)

    def serves(self, host: Host) -> bool:
        """Whether to ask it for a host: it is another, and it is not known to be dead."""
        return host != self.host and len(self.failures) < MOST_FAILURES

    def hand_on(self, remote: Remote, package: Package) -> None:
        """Have another appliance take the package.

        Raises:
            GuestError: it did not come whole; what came stays for the next try.
        """
        told = json.dumps(self.told).encode()
        words = ("take", remote.host.user, package.sha256, str(package.size))
        try:
            remote.program(PROGRAM, *words, stdin=told)
        except GuestError:
            self.failures.append(remote.host.name)
            raise


@contextlib.contextmanager
def offering(host: Host, inventory: Inventory, package: Package) -> Iterator[Relay]:
    """Have a host offer the package that it received, with a key made for this run alone.

    Raises:
        StepError: it has no such package.
        GuestError: no way in.
    """
    with tempfile.TemporaryDirectory() as place:
        public = keys.generate(Path(place) / "key", comment="hand-on")
        private = (Path(place) / "key").read_text()
    with reach(host, inventory) as remote:
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
        try:
            with reach(host, inventory) as remote:
                remote.program(PROGRAM, "withdraw", host.user)
        except GuestError as error:
            note(f"{host.name} cannot be told to end its offer, which ends in {HOURS} h: {error}")
