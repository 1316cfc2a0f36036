"""A machine that runs a guest: one protocol, three runtimes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

SSH = 22  # the guest's port, which every runtime forwards


@dataclass(frozen=True)
class SshEndpoint:
    """Where and how to reach a guest over SSH.

    Args:
        host: name or address as seen from this host.
        port: TCP port.
        user: account to sign in as.
        key: private key file.
        known_hosts: file with the guest's pinned host keys; made at first contact.
    """

    host: str
    port: int
    user: str
    key: Path
    known_hosts: Path


@dataclass(frozen=True)
class Stream:
    """A way for bytes out of a guest, that no network carries.

    Args:
        path: what a program in the guest writes to.
        reading: descriptor of its end here. It does not end when who writes does.
    """

    path: str
    reading: int


class Machine(Protocol):
    """One guest under one runtime. All methods raise HypervisorError or GuestError."""

    def start(self) -> SshEndpoint:
        """Boot the guest and return once its SSH server answers and lets us in."""

    def stop(self) -> None:
        """Shut the guest down in order; when it does not obey, cut the power. Idempotent."""

    def host_port(self, guest_port: int) -> int:
        """The loopback port of this host that reaches ``guest_port``."""
