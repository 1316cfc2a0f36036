import asyncio
from collections.abc import Awaitable, Callable

import pytest

from provision.guest.pool import lockout
from provision.guest.pool.lockout import (
    ADDRESS_SECONDS,
    ADDRESS_TRIES,
    FORGOTTEN,
    FREE_TRIES,
    IN_LINE,
    LONGEST_WAIT,
    WAITING,
    Allowance,
    Lockout,
    PasswordGuard,
    TryRefusedError,
    Visit,
    network,
)

HOME, AWAY = Visit("192.0.2.1"), Visit("198.51.100.7")


def test_some_wrong_passwords_are_human() -> None:
    lockout = Lockout()
    for second in range(FREE_TRIES - 1):
        lockout.count_failure("alice", float(second))
    assert lockout.wait("alice", 5.0) == 0


def test_each_further_one_doubles_the_wait() -> None:
    lockout = Lockout()
    waits = []
    for _ in range(FREE_TRIES + 3):
        lockout.count_failure("alice", 0.0)
        waits.append(lockout.wait("alice", 0.0))
    assert waits[FREE_TRIES - 1 :] == [1, 2, 4, 8]


def test_the_wait_ends_and_has_a_limit() -> None:
    lockout = Lockout()
    for _ in range(50):
        lockout.count_failure("alice", 0.0)
    assert lockout.wait("alice", 0.0) == LONGEST_WAIT
    assert lockout.wait("alice", LONGEST_WAIT) == 0


def test_wrong_passwords_are_forgotten() -> None:
    lockout = Lockout()
    for _ in range(50):
        lockout.count_failure("alice", 0.0)
    assert lockout.count("alice", FORGOTTEN) == 0


def test_others_do_not_wait() -> None:
    lockout = Lockout()
    for _ in range(50):
        lockout.count_failure("alice", 0.0)
    assert lockout.wait("bob", 0.0) == 0


def test_the_right_password_clears_the_name() -> None:
    lockout = Lockout()
    for _ in range(FREE_TRIES + 1):
        lockout.count_failure("alice", 0.0)
    lockout.forget_failures("alice")
    assert lockout.wait("alice", 0.0) == 0


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockout, "REMEMBERED", 10)
    names, addresses = Lockout(), Allowance()
    for number in range(100):
        names.count_failure(f"name{number}", 0.0)
        addresses.spend(f"address{number}", 0.0)
    assert len(names.failures) == len(addresses.spent) == 10
    assert names.count("name99", 0.0) == 1


def test_an_address_gets_its_tries_back_with_time() -> None:
    addresses = Allowance()
    for _ in range(int(ADDRESS_TRIES)):
        assert not addresses.empty("192.0.2.1", 0.0)
        addresses.spend("192.0.2.1", 0.0)
    assert addresses.empty("192.0.2.1", 0.0)
    assert not addresses.empty("192.0.2.1", ADDRESS_SECONDS)
    assert not addresses.empty("192.0.2.2", 0.0)


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("unknown", "unknown"),
        ("x" * 5000, "x" * 64),
    ],
)
def test_one_machine_is_one_address(address: str, counted: str) -> None:
    assert network(address) == counted


class Time:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Door:
    """A guard and what it let in."""

    def __init__(self, slots: int = 2) -> None:
        self.time = Time()
        self.guard = PasswordGuard(slots, self.time)
        self.checked: list[str] = []
        self.busy: list[str] = []
        self.most = 0

    async def attempt(
        self, name: str, visit: Visit, *, right: bool = False, exists: bool = True
    ) -> str:
        """Try a password: what came of it."""
        try:
            async with self.guard.turn(name, visit, lambda: exists) as turn:
                if turn.in_vain:
                    return "in vain"
                assert name not in self.busy
                self.busy.append(name)
                self.most = max(self.most, len(self.busy))
                await asyncio.sleep(0)
                self.busy.remove(name)
                self.checked.append(name)
                turn.right = right
        except TryRefusedError:
            return "refused"
        return "in" if turn.right else "wrong"


def run(story: Callable[[Door], Awaitable[None]], slots: int = 2) -> None:
    async def told() -> None:
        await story(Door(slots))

    asyncio.run(told())


def test_tries_at_once_are_counted_before_they_are_checked() -> None:
    async def story(door: Door) -> None:
        tries = [door.attempt("victim", AWAY, right=n == 150) for n in range(200)]
        said = await asyncio.gather(*tries)
        assert said[150] == "refused"
        assert len(door.checked) <= FREE_TRIES
        assert not door.guard._turns
        assert not door.guard._in_line

    run(story)


def test_few_are_checked_at_once_and_the_hall_is_bounded() -> None:
    async def story(door: Door) -> None:
        many = [door.attempt(f"n{n}", Visit(f"10.0.{n // 200}.{n % 200}")) for n in range(1000)]
        said = await asyncio.gather(*many)
        assert door.most <= 3
        assert said.count("wrong") == WAITING
        assert said.count("refused") == 1000 - WAITING

    run(story, slots=3)


def test_who_comes_from_where_the_name_is_known_passes_a_full_hall() -> None:
    async def story(door: Door) -> None:
        assert await door.attempt("emmy", HOME, right=True) == "in"
        many = [door.attempt(f"n{n}", AWAY) for n in range(WAITING)]
        *_, late, emmy = await asyncio.gather(
            *many, door.attempt("late", AWAY, right=True), door.attempt("emmy", HOME, right=True)
        )
        assert (late, emmy) == ("refused", "in")

    run(story)


@pytest.mark.parametrize("usual", [HOME, Visit(AWAY.address, "her-browser")])
def test_guessing_elsewhere_does_not_lock_out_the_owner(usual: Visit) -> None:
    async def story(door: Door) -> None:
        assert await door.attempt("emmy", usual, right=True) == "in"
        stranger = Visit("203.0.113.9")
        said = [await door.attempt("emmy", stranger) for _ in range(7)]
        assert said[FREE_TRIES:] == ["refused"] * 2
        for _ in range(20):
            door.time.now += LONGEST_WAIT
            await door.attempt("emmy", stranger)
            assert await door.attempt("emmy", usual, right=True) == "in"
        assert await door.attempt("emmy", stranger, right=True) == "refused"

    run(story)


def test_a_usual_place_may_not_guess_on_either() -> None:
    async def story(door: Door) -> None:
        assert await door.attempt("emmy", HOME, right=True) == "in"
        for visit in (HOME, Visit(HOME.address, "her-browser")):
            said = [await door.attempt("emmy", visit) for _ in range(20)]
            assert said.count("wrong") == FREE_TRIES

    run(story)


def test_a_class_behind_one_address_may_mistype() -> None:
    async def story(door: Door) -> None:
        names = [f"s{n}" for n in range(30)]
        for _ in range(3):
            assert set(await asyncio.gather(*(door.attempt(n, HOME) for n in names))) == {"wrong"}
        said = await asyncio.gather(*(door.attempt(n, HOME, right=True) for n in names))
        assert set(said) == {"in"}

    run(story)


def test_an_address_that_guesses_has_one_try_a_name_and_none_for_names_that_are_not() -> None:
    async def story(door: Door) -> None:
        for number in range(int(ADDRESS_TRIES)):
            assert await door.attempt(f"guess{number}", HOME) == "wrong"
        assert await door.attempt("nobody", HOME, exists=False) == "in vain"
        assert await door.attempt("nobody", HOME, exists=False) == "refused"
        assert await door.attempt("emmy", HOME) == "wrong"
        assert await door.attempt("emmy", HOME, right=True) == "refused"
        # A class behind that address is let in, and so is everybody else.
        assert await door.attempt("carl", HOME, right=True) == "in"
        assert await door.attempt("emmy", AWAY, right=True) == "in"
        assert await door.attempt("emmy", Visit(HOME.address, "hers"), right=True) == "in"
        door.time.now += 2 * ADDRESS_SECONDS
        assert await door.attempt("emmy", HOME, right=True) == "in"

    run(story)


def test_names_that_are_not_fill_no_hall() -> None:
    async def story(door: Door) -> None:
        for number in range(int(ADDRESS_TRIES)):
            await door.attempt(f"guess{number}", HOME)
        many = [door.attempt(f"x{n}", HOME, exists=False) for n in range(5 * WAITING)]
        *_, carl = await asyncio.gather(*many, door.attempt("carl", HOME, right=True))
        assert carl == "in"

    run(story)


def test_the_line_of_one_name_is_short() -> None:
    async def story(door: Door) -> None:
        said = await asyncio.gather(*(door.attempt("emmy", HOME, right=True) for _ in range(20)))
        assert said.count("in") == IN_LINE + 1
        assert said.count("refused") == 20 - IN_LINE - 1

    run(story)


def test_what_could_not_be_checked_does_not_count() -> None:
    async def story(door: Door) -> None:
        await door.attempt("emmy", HOME)
        for _ in range(30):
            with pytest.raises(OSError, match="down"):
                async with door.guard.turn("emmy", HOME) as turn:
                    turn.unknown = True
                    raise OSError("down")
        said = [await door.attempt("emmy", HOME) for _ in range(FREE_TRIES)]
        assert said.count("wrong") == FREE_TRIES - 1

    run(story)


def test_accounts_made_from_one_address_are_bounded() -> None:
    async def story(door: Door) -> None:
        made = 0
        for number in range(2 * int(ADDRESS_TRIES)):
            async with door.guard.turn(f"new{number}", HOME, lambda: False) as turn:
                turn.right = turn.made = not turn.in_vain
                made += turn.made
        assert made == ADDRESS_TRIES

    run(story)
