"""TCP ports of this host: which are free, and who holds the others."""

import socket


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port
