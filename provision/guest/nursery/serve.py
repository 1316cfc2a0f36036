"""A nursery's one loop: who may have a child, and when children end.

It reads nothing that a session sends. It is single-threaded and never waits for anybody: a
session's process may be stopped or traced by its owner.
"""

import contextlib
import os
import select
import signal
import socket
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

from provision.guest.nursery.peer import Peer, peer_of
from provision.guest.nursery.wire import RefusedError, tell

LIVE = 32  # kernels of one account at once
BURST, BURST_SECONDS = 20, 10.0  # kernels of one account in so many seconds
TICK_SECONDS = 30.0
RETRY_SECONDS = 1.0
END_SECONDS = 0.2


@dataclass(frozen=True)
class Child:
    """A kernel that was forked.

    Args:
        pid: its number; it is ours until we have waited for it.
        pidfd: readable once it has ended.
        uid: whose it is.
        connection: to who asked for it.
    """

    pid: int
    pidfd: int
    uid: int
    connection: socket.socket


@dataclass(frozen=True)
class Born:
    """What a child has in hand.

    Args:
        peer: who asked for it.
        connection: to them.
    """

    peer: Peer
    connection: socket.socket


class Nursery:
    """The children of one nursery.

    Args:
        listener: where sessions connect.
        gid: primary group of the accounts that may.
    """

    def __init__(self, listener: socket.socket, gid: int) -> None:
        self._listener, self._gid = listener, gid
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)
        self._children: dict[int, Child] = {}  # by both of its descriptors
        self._stuck: set[Child] = set()  # ended, but their owner's tracer has not let them go
        self._times: dict[int, deque[float]] = defaultdict(lambda: deque(maxlen=BURST))

    def serve(self, wanted: Callable[[], bool]) -> Born | None:
        """Fork children for whoever may have them.

        Args:
            wanted: asked from time to time: whether to go on once there is no child.

        Returns:
            In each child: what it has in hand. In the nursery: None, when it is not wanted.
        """
        while True:
            patience = RETRY_SECONDS if self._stuck else TICK_SECONDS
            ready = [descriptor for descriptor, _ in self._poll.poll(patience * 1000)]
            # Who has ended is gone before who follows is born: they may want the same ports.
            for child in {self._children[d] for d in ready if d in self._children} | self._stuck:
                self._end(child)
            if self._listener.fileno() in ready:
                if born := self._accept():
                    return born
            elif not ready and not self._children and not wanted():
                return None

    def _accept(self) -> Born | None:
        """Fork for the next in line; what it returns is a child's."""
        try:
            connection, _ = self._listener.accept()
        except OSError:  # who asked has gone again, or there are no descriptors left
            return None
        pid = None
        try:
            peer = peer_of(connection)
            try:
                self._judge(peer)
                pid = os.fork()
            finally:
                if pid != 0:
                    os.close(peer.pidfd)
        except (OSError, RefusedError) as error:
            tell(connection, refused=str(error))
            connection.close()
            return None
        if pid == 0:
            self._listener.close()
            return Born(peer, connection)
        child = Child(pid, os.pidfd_open(pid), peer.uid, connection)
        for descriptor in (child.pidfd, connection.fileno()):
            self._children[descriptor] = child
            self._poll.register(descriptor, select.POLLIN if descriptor == child.pidfd else 0)
        return None

    def _judge(self, peer: Peer) -> None:
        """Whether a peer may have a child now.

        Raises:
            RefusedError: it may not.
        """
        if peer.gid != self._gid or peer.uid == 0:
            raise RefusedError("it is no account for sessions")
        times, now = self._times[peer.uid], time.monotonic()
        often = len(times) == BURST and now - times[0] < BURST_SECONDS
        if often or sum(c.uid == peer.uid for c in set(self._children.values())) >= LIVE:
            raise RefusedError("too many kernels at once")
        times.append(now)

    def _end(self, child: Child) -> None:
        """A child has ended, or is to: who asked for it has gone."""
        ended = select.poll()
        ended.register(child.pidfd, select.POLLIN)
        if not ended.poll(0):
            os.kill(child.pid, signal.SIGKILL)
            ended.poll(END_SECONDS * 1000)
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        if pid:
            tell(child.connection, status=os.waitstatus_to_exitcode(status))
        for descriptor in (child.pidfd, child.connection.fileno()):
            if child not in self._stuck:
                with contextlib.suppress(KeyError):
                    self._poll.unregister(descriptor)
            if pid:
                del self._children[descriptor]
        if pid:
            self._stuck.discard(child)
            child.connection.close()
            os.close(child.pidfd)
        else:
            self._stuck.add(child)
