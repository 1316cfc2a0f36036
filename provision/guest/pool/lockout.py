"""Who may try a password now: what stands between the form and the check of a password.

A try is counted before it is checked, so that a hundred at once are no more than a hundred in a
row. Names are counted apart for each place from where somebody comes: a browser that has signed
in with that name before, an address from which it was, and all the rest. Whoever guesses from
elsewhere locks the rest, not the owner. (OWASP's "device cookies" are the model.)
"""

import asyncio
import contextlib
import os
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from time import monotonic

FREE_TRIES = 5
LONGEST_WAIT = 900.0
FORGOTTEN = 3600.0  # seconds after which a wrong try no longer counts
REMEMBERED = 100_000  # names and addresses; the oldest are forgotten first
# A class behind one address may mistype a hundred times at once, and thirty times a minute.
ADDRESS_TRIES, ADDRESS_SECONDS = 100.0, 2.0
IN_LINE = 4  # tries of one name from one place that wait while another is checked
WAITING, RESERVE = 200, 50  # tries of all names that wait; so many more from where people are known
ELSEWHERE = "elsewhere"
CROWDED = "Too many wrong passwords from your address. Wait a minute."


class TryRefusedError(Exception):
    """A password may not be tried now.

    Args:
        why: to be shown.
        seconds: after which it may be.
    """

    def __init__(self, why: str, seconds: float) -> None:
        super().__init__(why)
        self.seconds = max(1, round(seconds))


@dataclass
class Lockout:
    """Makes guessing slow: after 5 wrong tries each further one doubles the wait.

    Args:
        failures: key -> number of wrong tries and the last one's time, the oldest first.
    """

    failures: OrderedDict[str, tuple[int, float]] = field(default_factory=OrderedDict)

    def count(self, key: str, now: float) -> int:
        """The wrong tries that are not forgotten."""
        count, last = self.failures.get(key, (0, 0.0))
        return count if now - last < FORGOTTEN else 0

    def wait(self, key: str, now: float) -> float:
        """Seconds until the next try is allowed; 0 when it is now."""
        if (count := self.count(key, now)) < FREE_TRIES:
            return 0.0
        return max(
            0.0, self.failures[key][1] + min(2.0 ** (count - FREE_TRIES), LONGEST_WAIT) - now
        )

    def count_failure(self, key: str, now: float) -> None:
        """Count a wrong try."""
        count = self.count(key, now)
        self.failures[key] = (count + 1, now)
        self.failures.move_to_end(key)
        if len(self.failures) > REMEMBERED:
            self.failures.popitem(last=False)

    def forget_failures(self, key: str) -> None:
        """Forget the wrong tries."""
        self.failures.pop(key, None)


@dataclass
class Allowance:
    """What addresses have left of their wrong tries: it grows again with time.

    Args:
        spent: address -> tries that are spent, and when that was counted, the oldest first.
    """

    spent: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def empty(self, address: str, now: float) -> bool:
        """Whether no try is left."""
        return self._debt(address, now) > ADDRESS_TRIES - 1

    def spend(self, address: str, now: float, tries: float = 1.0) -> None:
        """Take tries away, or give them back."""
        self.spent[address] = (max(0.0, self._debt(address, now) + tries), now)
        self.spent.move_to_end(address)
        if len(self.spent) > REMEMBERED:
            self.spent.popitem(last=False)

    def _debt(self, address: str, now: float) -> float:
        spent, then = self.spent.get(address, (0.0, now))
        return max(0.0, spent - (now - then) / ADDRESS_SECONDS)


@dataclass(frozen=True)
class Visit:
    """From where somebody comes.

    Args:
        address: IPv4 or IPv6, as ``network`` of it.
        device: the mark of a browser that has signed in with this name before; empty: none.
    """

    address: str
    device: str = ""


@dataclass
class Turn:
    """One try that may be checked now; wrong unless something else is said.

    Args:
        in_vain: it is wrong, and need not be checked.
        right: the password was right.
        made: an account was made by it: that counts for the address as a wrong try does.
        unknown: it could not be checked, and does not count.
    """

    in_vain: bool = False
    right: bool = False
    made: bool = False
    unknown: bool = False


class PasswordGuard:
    """Lets passwords be tried: one of a name at a time, few at once, not too many wrong ones.

    An address that has no wrong tries left may still try each name that has none against it: a
    class behind the same address signs in on. Names that do not exist take no time of the
    processor then, but as long as others.

    Args:
        slots: passwords that are checked at the same time; 0: as many as there are processors.
        clock: seconds that only grow.
    """

    def __init__(self, slots: int = 0, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._slots = asyncio.Semaphore(slots or max(2, os.cpu_count() or 2))
        self._names, self._addresses = Lockout(), Allowance()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._turns: dict[str, asyncio.Lock] = {}
        self._in_line: Counter[str] = Counter()
        self._lasted = 0.0  # seconds that the last try had to wait and was checked

    @contextlib.asynccontextmanager
    async def turn(
        self, name: str, visit: Visit, exists: Callable[[], bool] = lambda: True
    ) -> AsyncIterator[Turn]:
        """Wait for the turn to try a password.

        Args:
            name: of whom.
            visit: from where.
            exists: whether there is such a name; asked of an address without wrong tries left.

        Raises:
            TryRefusedError: too many are or were tried.
        """
        begun, place = self._clock(), self._place(name, visit)
        self._admit(place, visit)
        turn = Turn(in_vain=self._is_crowded(visit) and not exists())
        with self._line(place, name, "in vain" if turn.in_vain else "to be checked") as line:
            async with line, contextlib.nullcontext() if turn.in_vain else self._slots:
                self._admit(place, visit)
                before = self._names.failures.get(place)
                now = self._clock()
                self._names.count_failure(place, now)
                self._addresses.spend(visit.address, now)
                try:
                    if turn.in_vain:
                        await asyncio.sleep(self._lasted)
                    yield turn
                finally:
                    self._settle(turn, place, before, name, visit)
                    if not turn.in_vain:
                        self._lasted = self._clock() - begun

    def _place(self, name: str, visit: Visit) -> str:
        """The key under which the tries of a name are counted; no name has a blank in it."""
        if visit.device:
            return f"{name} {visit.device}"
        known = (name, visit.address) in self._known
        return f"{name} {visit.address if known else ELSEWHERE}"

    def _is_crowded(self, visit: Visit) -> bool:
        return not visit.device and self._addresses.empty(visit.address, self._clock())

    def _admit(self, place: str, visit: Visit) -> None:
        now = self._clock()
        if (seconds := self._names.wait(place, now)) > 0:
            raise TryRefusedError(f"Too many wrong passwords. Wait {seconds:.0f} seconds.", seconds)
        if self._is_crowded(visit) and self._names.count(place, now):
            raise TryRefusedError(CROWDED, 30)

    @contextlib.contextmanager
    def _line(self, place: str, name: str, kind: str) -> Iterator[asyncio.Lock]:
        """Stand in the line of a name, unless it or the hall is full."""
        known = not place.endswith(f" {ELSEWHERE}")
        if self._in_line[place] > IN_LINE or self._in_line[kind] >= WAITING + RESERVE * known:
            raise TryRefusedError("Too many sign in at once. Wait some seconds.", 5)
        keys = (place, name, kind)
        self._in_line.update(keys)
        try:
            yield self._turns.setdefault(name, asyncio.Lock())
        finally:
            self._in_line.subtract(keys)
            self._in_line += Counter()  # forgets those at zero
            if name not in self._in_line:
                del self._turns[name]

    def _settle(
        self, turn: Turn, place: str, before: tuple[int, float] | None, name: str, visit: Visit
    ) -> None:
        if not turn.right and not turn.unknown:
            return
        self._names.forget_failures(place)
        if turn.unknown and before:
            self._names.failures[place] = before
        if not turn.made:
            self._addresses.spend(visit.address, self._clock(), -1.0)
        if turn.right:
            self._known[name, visit.address] = None
            self._known.move_to_end((name, visit.address))
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)


def network(address: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 of an IPv6 address.

    One machine may use all of its /64 (RFC 4862); what is no address counts as itself.
    """
    try:
        told = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(told, IPv6Address):
        if told.ipv4_mapped:
            return str(told.ipv4_mapped)
        return f"{IPv6Address(int(told) >> 64 << 64)}/64"
    return str(told)
