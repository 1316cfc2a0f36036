"""Ports of this host: is one free, and who holds it."""

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

ANY = "0.0.0.0"  # noqa: S104 (this is what a public forward binds)
_LISTEN, _UNCONNECTED = "0A", "07"
# On Windows SO_REUSEADDR shares a port with whoever has it; this is what refuses there.
_TO_BE_TOLD = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)


def free(host: str, port: int, protocol: str = "tcp") -> bool:
    """Whether ``port`` can be bound at ``host`` (empty: every address), as VirtualBox would."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:  # else a connection closed a minute ago were in the way
            probe.setsockopt(socket.SOL_SOCKET, _TO_BE_TOLD, 1)
        try:
            probe.bind((host or ANY, port))
            if kind == socket.SOCK_STREAM:
                probe.listen()
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def next_free(host: str, port: int, protocol: str = "tcp", *, tries: int = 200) -> int | None:
    """Find the first free port above ``port``; None: none among the next ``tries``."""
    for candidate in range(port + 1, min(port + 1 + tries, 65536)):
        if free(host, candidate, protocol):
            return candidate
    return None


def holder(port: int, protocol: str = "tcp") -> str:
    """Name the process that holds a port, for example ``nginx (pid 812)``.

    Only root sees other users' processes; the answer then says so.
    """
    if port < _privileged_below():
        return "the system: ports this low are for root"
    sockets = set(_sockets(port, protocol))
    if not sockets:
        return "another process"
    for directory in Path("/proc").glob("[0-9]*/fd"):
        try:
            for link in directory.iterdir():
                if str(link.readlink()) in sockets:
                    pid = directory.parent.name
                    return f"{(directory.parent / 'comm').read_text().strip()} (pid {pid})"
        except OSError:  # another user's, or gone
            continue
    return "a process of another user (sudo ss -ltnup shows which)"


def _privileged_below() -> int:
    if os.name != "posix" or os.geteuid() == 0:
        return 0
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except OSError:
        return 1024


def _sockets(port: int, protocol: str) -> Iterator[str]:
    """Name the listening sockets of a port as /proc/PID/fd shows them (see proc_net_tcp)."""
    for table in (f"/proc/net/{protocol}", f"/proc/net/{protocol}6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            state = _LISTEN if protocol == "tcp" else _UNCONNECTED
            if int(columns[1].rpartition(":")[2], 16) == port and columns[3] == state:
                yield f"socket:[{columns[9]}]"
