"""Who is at the other end of a connection: what the kernel says, and nothing that they say."""

import os
import select
import socket
import struct
from dataclasses import dataclass

SO_PEERGROUPS, SO_PEERPIDFD = 59, 77
MOST_GROUPS = 255


@dataclass(frozen=True)
class Caller:
    """The process that connected.

    Args:
        pid: its number, which is its own while ``pidfd`` is not readable.
        pidfd: the process itself.
        uid: its user when it connected.
        gid: its group then.
        groups: its further groups then.
    """

    pid: int
    pidfd: int
    uid: int
    gid: int
    groups: tuple[int, ...]

    @property
    def gone(self) -> bool:
        """Whether it has ended, so that its number may be another's."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))


def peer_of(connection: socket.socket) -> Caller:
    """Ask the kernel who connected.

    Raises:
        OSError: it does not tell: it is older than Linux 6.5, or they have ended.
    """
    pid, uid, gid = struct.unpack(
        "iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    )
    groups = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, MOST_GROUPS * 4)
    (pidfd,) = struct.unpack("i", connection.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD, 4))
    os.set_inheritable(pidfd, False)
    return Caller(pid, pidfd, uid, gid, struct.unpack(f"{len(groups) // 4}I", groups))
