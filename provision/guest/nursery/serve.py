"""A nursery's one loop: who may have a child, and when children end.

It reads nothing that a session sends. It is single-threaded and waits for nobody: a session's
process may be stopped or traced by its owner.
"""

import contextlib
import os
import select
import signal
import socket
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from provision.guest.nursery.peer import Caller, peer_of
from provision.guest.nursery.wire import ForkRefusedError, tell

LIVE = 32  # kernels of one account at once
BURST, BURST_SECONDS = 20, 10.0  # kernels of one account in so many seconds
TICK_SECONDS = 10.0
CLOSE_SECONDS = 0.02
WALL = 0x40000000  # waitpid(2): children of every kind


@dataclass(frozen=True)
class Child:
    """A kernel that was forked.

    Args:
        pid: its number; it is ours until we have waited for it.
        uid: whose it is.
        connection: to who asked for it.
    """

    pid: int
    uid: int
    connection: socket.socket


@dataclass(frozen=True)
class Born:
    """What a child has in hand.

    Args:
        peer: who asked for it.
        connection: to them.
    """

    peer: Caller
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
        self._children: dict[int, Child] = {}  # by number
        self._connected: dict[int, Child] = {}  # by descriptor, while who asked is there
        self._times: dict[int, deque[float]] = defaultdict(lambda: deque(maxlen=BURST))

    def serve(self, alive: Callable[[], None], wanted: Callable[[], bool]) -> Born | None:
        """Fork children for whoever may have them.

        Args:
            alive: called each time round, which is every ``TICK_SECONDS`` at least.
            wanted: asked from time to time: whether to go on while there is no child.

        Returns:
            In each child: what it has in hand. In the nursery: None, when it is not wanted.
        """
        with _woken_by_signals() as woken:
            self._poll.register(woken, select.POLLIN)
            while True:
                alive()
                ready = [number for number, _ in self._poll.poll(TICK_SECONDS * 1000)]
                if woken.fileno() in ready:
                    woken.recv(4096)
                self._reap()
                for number in ready:
                    if given_up := self._connected.pop(number, None):
                        self._poll.unregister(number)
                        os.kill(given_up.pid, signal.SIGKILL)
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
        except (OSError, ForkRefusedError) as error:
            tell(connection, refused=str(error))
            _close(connection)
            return None
        if pid == 0:
            self._listener.close()
            return Born(peer, connection)
        child = Child(pid, peer.uid, connection)
        self._children[pid] = self._connected[connection.fileno()] = child
        self._poll.register(connection, 0)  # only whether they have gone
        return None

    def _judge(self, peer: Caller) -> None:
        """Whether a peer may have a child now.

        Raises:
            ForkRefusedError: it may not.
        """
        if peer.gid != self._gid or peer.uid == 0:
            raise ForkRefusedError("it is no account for sessions")
        times, now = self._times[peer.uid], time.monotonic()
        often = len(times) == BURST and now - times[0] < BURST_SECONDS
        if often or sum(child.uid == peer.uid for child in self._children.values()) >= LIVE:
            raise ForkRefusedError("too many kernels at once")
        times.append(now)

    def _reap(self) -> None:
        """Let go whoever has ended, and tell who asked for them.

        Also those whom we have not forked: a child may make itself siblings (``CLONE_PARENT``), and
        may have us trace it (``PTRACE_TRACEME``), so that each of its threads waits for us. As long
        as one of them is left, its account opens to nobody.
        """
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | WALL)
            except ChildProcessError:
                return
            if not pid:
                return
            if os.WIFSTOPPED(status):  # seen by who traces alone, as we do not want to
                os.kill(pid, signal.SIGKILL)
            elif child := self._children.pop(pid, None):
                if self._connected.pop(child.connection.fileno(), None):
                    self._poll.unregister(child.connection)
                tell(child.connection, status=os.waitstatus_to_exitcode(status))
                _close(child.connection)


@contextlib.contextmanager
def _woken_by_signals() -> Iterator[socket.socket]:
    """A socket that is readable when a child has ended, or a timer has run out."""
    woken, waking = socket.socketpair()
    with woken, waking:
        for end in (woken, waking):
            end.setblocking(False)
        signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGALRM):
            signal.signal(number, lambda *_: None)
        try:
            yield woken
        finally:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGALRM):
                signal.signal(number, signal.SIG_DFL)


def _close(connection: socket.socket) -> None:
    """Close a connection in which a session may have left descriptors that nobody took.

    The last to close a socket waits until its data are sent, if it is told to (``SO_LINGER``), or
    until a signal comes.
    """
    signal.setitimer(signal.ITIMER_REAL, CLOSE_SECONDS, CLOSE_SECONDS)
    connection.close()
    signal.setitimer(signal.ITIMER_REAL, 0)
