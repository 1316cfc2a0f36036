"""Who must be out: an order for each account that was closed or has another password.

An order is a file that waits for the hub, which ends the session, every cookie and every token of
the student, then takes the order away. One that was given while the hub is down is carried out
before the hub answers anybody again; the session itself, ``end_sessions`` ends without the hub.
"""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Collection, Iterator
from pathlib import Path

from provision.guest.pool.leases import Leases
from provision.waiting import until

PLACE = "out"
POLL_SECONDS = 0.1


class Evictions:
    """The orders that wait.

    Args:
        state: directory of the hub's own files.
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        self._place = state / PLACE

    @contextlib.contextmanager
    def settling(self) -> Iterator[None]:
        """Held while accounts and orders change together: an order counts when both are there."""
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._state, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def order(self, name: str) -> None:
        """Have a student put out.

        Args:
            name: the student's, checked.
        """
        self._place.mkdir(mode=0o700, exist_ok=True)
        # A name of its own: the next order is another one, while this one is carried out.
        with (self._place / f"{name}:{secrets.token_hex(8)}").open("x") as file:
            os.fsync(file.fileno())

    def orders(self) -> dict[Path, str]:
        """The orders that wait: file and student."""
        if not self._place.is_dir() or not os.listdir(self._place):  # noqa: PTH208 - asked often
            return {}
        with self.settling():
            return {path: path.name.partition(":")[0] for path in sorted(self._place.iterdir())}

    def carried_out(self, names: Collection[str], seconds: float) -> bool:
        """Wait until no order of these students is left.

        Args:
            names: the students.
            seconds: how long.

        Returns:
            Whether none is left.
        """
        wanted = set(names)
        return until(lambda: wanted.isdisjoint(self.orders().values()), seconds, pause=POLL_SECONDS)


def end_sessions(names: Collection[str], leases: Leases) -> None:
    """Ask the sessions of students to end, whether the hub runs or not."""
    for lease in leases:
        if lease.student in names:
            lease.end()
