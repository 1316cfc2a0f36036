"""The students' accounts: names and password hashes in one file of the hub's own.

An account without a password takes the first one that is offered, so hand such names out in the
room. Whatever closes an account, or gives it another password, also orders who is in it out
(``evictions``).
"""

import contextlib
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from provision.guest import typed
from provision.guest.pool.certificate import checked
from provision.guest.pool.classlist import LONGEST_PASSWORD, SHORTEST_PASSWORD, read_list
from provision.guest.pool.evictions import Evictions

# scrypt with 32 MiB and about 0.1 s a try, as RFC 7914 and OWASP advise.
COST, BLOCK, PARALLEL, MEMORY = 2**15, 8, 1, 64 << 20
LOCKED = "!"  # before what an account was that may not open
MEND = "bring it back with `appliance restore`, or remove it and make the accounts anew"
WAITING = "?"  # before the hash of an account that opens only when the administrator says so


class WaitingError(Exception):
    """The account is not approved yet."""


@dataclass(frozen=True)
class Intake:
    """What became of a list of names.

    Args:
        added: the new accounts.
        waiting: those of them that wait for the administrator.
        reset: accounts that got a new password.
        skipped: names that stayed as they were, and why.
    """

    added: list[str]
    waiting: list[str]
    reset: list[str]
    skipped: dict[str, str]


class Accounts:
    """The accounts in a file.

    Args:
        path: the file; made with the first account, readable by its owner only.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._evictions = Evictions(path.parent)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._read())

    def waiting(self) -> list[str]:
        """The names that wait for the administrator, sorted."""
        return self._names_with(WAITING)

    def locked(self) -> list[str]:
        """The names that are locked, sorted."""
        return self._names_with(LOCKED)

    def open_to_first(self, name: str) -> bool:
        """Whether the account takes the first password that is offered."""
        return self._read().get(name, "") is None

    def add(self, name: str, password: str | None = None, *, waiting: bool = False) -> bool:
        """Make an account; one that is there stays as it is.

        Args:
            name: the student's name.
            password: None: the first one that is offered at sign-in becomes the password.
            waiting: it opens only once it is approved.

        Returns:
            Whether it was made.

        Raises:
            ValueError: the name cannot be used or the password is too short.
        """
        entry = _entry(password, waiting=waiting)
        with self._changing() as accounts:
            made = checked(name) not in accounts
            if made:
                accounts[name] = entry
        return made

    def take(
        self,
        wanted: Mapping[str, str | None],
        *,
        waiting: Iterable[str] = (),
        untouchable: Iterable[str] = (),
        reset: bool = False,
    ) -> Intake:
        """Make the accounts of a list; who is there stays as is, but for passwords with ``reset``.

        Args:
            wanted: passwords by name; None: the first one that is offered.
            waiting: names that open only once they are approved.
            untouchable: names that no list touches: the administrators'.
            reset: give those who are there the list's passwords; a lock or a wait stays.

        Raises:
            ValueError: a name or a password cannot be used; then nothing is changed.
        """
        held, kept = set(waiting), set(untouchable)
        there = self._read().keys() | kept
        needed = {n: p for n, p in wanted.items() if n not in there or (reset and n not in kept)}
        entries = {checked(name): _entry(password) for name, password in needed.items()}
        done = Intake([], [], [], {})
        with self._changing() as accounts:
            for name in wanted:
                if name in kept:
                    done.skipped[name] = "administers this notebook"
                elif name not in accounts and name in entries:
                    accounts[name] = _mark(entries[name], waiting=name in held)
                    done.added.append(name)
                    done.waiting.extend([name] * (name in held))
                elif reset and (entry := entries.get(name)):
                    accounts[name] = _marks(accounts[name]) + entry
                    self._evictions.order(name)
                    done.reset.append(name)
                else:
                    why = ", and the list has no password" if reset else ""
                    done.skipped[name] = f"is there already{why}"
        return done

    def set_password(self, name: str, password: str) -> None:
        """Give an account a new password; a lock stays, a wait is over.

        Raises:
            ValueError: there is no account of that name, or the password is too short.
        """
        entry = hash_of(password)
        with self._changing(name) as accounts:
            accounts[name] = LOCKED * (accounts[name] or "").startswith(LOCKED) + entry
            self._evictions.order(name)

    def approve(self, name: str) -> None:
        """Let an account open that waits.

        Raises:
            ValueError: no account of that name waits, or it has no password.
        """
        with self._changing() as accounts:
            entry = accounts.get(name)
            if entry is None or not entry.startswith(WAITING):
                raise ValueError(f"{name} does not wait for approval")
            if entry == WAITING:
                raise ValueError(f"{name} has no password yet: a new one lets the student in")
            accounts[name] = entry.removeprefix(WAITING)

    def reserve(self, name: str) -> None:
        """Have a name without a password wait until the administrator gives it one."""
        with self._changing() as accounts:
            accounts.setdefault(checked(name), WAITING)

    def lock(self, name: str) -> None:
        """Keep a name from signing in, whatever the password; the student's files stay.

        Raises:
            ValueError: there is no account of that name.
        """
        with self._changing(name) as accounts:
            accounts[name] = LOCKED + (accounts[name] or "").removeprefix(LOCKED)
            self._evictions.order(name)

    def unlock(self, name: str) -> None:
        """Let a locked name sign in as before.

        Raises:
            ValueError: no account of that name is locked.
        """
        with self._changing(name) as accounts:
            entry = accounts[name] or ""
            if not entry.startswith(LOCKED):
                raise ValueError(f"{name} is not locked")
            accounts[name] = entry.removeprefix(LOCKED) or None

    def remove(self, name: str) -> None:
        """Forget a name; the student's files stay."""
        with self._changing() as accounts:
            accounts.pop(name, None)
            self._evictions.order(name)

    def load(self, lines: Iterable[str]) -> list[str]:
        """Make accounts from the lines of a class list; who is there stays as is.

        Returns:
            The names that were added, in their order.

        Raises:
            ValueError: a line cannot be used; then no account is made.
        """
        text = "".join(line if line.endswith(("\n", "\r")) else f"{line}\n" for line in lines)
        return self.take(read_list(text.encode()).passwords()).added

    def check(
        self,
        name: str,
        password: str,
        *,
        may_make: bool,
        approval: bool = False,
        earlier: bool = False,
    ) -> bool:
        """Tell whether a sign-in is right; take the first password of an account without one.

        Args:
            name: as offered.
            password: as offered.
            may_make: make an account of a name that has none.
            approval: an account made so opens only once it is approved.
            earlier: there are files of that name: whoever comes first waits for approval.

        Raises:
            WaitingError: the password is right, but the account waits for approval.
        """
        accounts = self._read()
        stored = accounts.get(name)
        if stored is None and (name in accounts or may_make) and len(password) >= SHORTEST_PASSWORD:
            with contextlib.suppress(ValueError):
                waits = earlier or (approval and name not in accounts)
                if self._first(name, _entry(password, waiting=waits), may_make=may_make):
                    if waits:
                        raise WaitingError
                    return True
            stored = self._read().get(name)  # somebody else was first
        kept = (stored or "").removeprefix(WAITING)
        if not kept or kept.startswith(LOCKED):
            matches(password, _DECOY)  # an unknown or closed name must not be told by its speed
            return False
        right = matches(password, kept)
        if right and kept != stored:
            raise WaitingError
        return right

    def _first(self, name: str, entry: str | None, *, may_make: bool) -> bool:
        """Keep the first password of a name; False: there is one, or no account to have it."""
        with self._changing() as accounts:
            if accounts.get(checked(name)) is not None or not (may_make or name in accounts):
                return False
            accounts[name] = entry
        return True

    def _names_with(self, mark: str) -> list[str]:
        entries = self._read().items()
        return sorted(name for name, entry in entries if mark in _marks(entry))

    def _read(self) -> dict[str, str | None]:
        try:
            accounts: dict[str, str | None] = typed.load(dict[str, str | None], self._path, MEND)
        except FileNotFoundError:
            return {}
        return accounts

    @contextlib.contextmanager
    def _changing(self, there: str | None = None) -> Iterator[dict[str, str | None]]:
        """Change the accounts as one: other writers wait, a crash leaves the old file.

        Args:
            there: a name that must be there.
        """
        with self._evictions.settling():
            accounts = self._read()
            if there is not None and there not in accounts:
                raise ValueError(f"there is no account {there!r}")
            before = json.dumps(accounts)
            yield accounts
            if json.dumps(accounts) == before:
                return
            fresh = self._path.with_suffix(".new")
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
                json.dump(accounts, f, indent=1, sort_keys=True)
                f.flush()
                os.fsync(f.fileno())
            fresh.replace(self._path)


def hash_of(password: str) -> str:
    """Hash a password for keeping.

    Raises:
        ValueError: it is shorter than 8 characters, or longer than sign-in takes.
    """
    if len(password) < SHORTEST_PASSWORD:
        raise ValueError(f"a password has at least {SHORTEST_PASSWORD} characters")
    if len(password) > LONGEST_PASSWORD:
        raise ValueError(f"a password has at most {LONGEST_PASSWORD} characters")
    salt = secrets.token_bytes(16)
    return f"scrypt:{salt.hex()}:{_scrypt(password, salt).hex()}"


def matches(password: str, stored: str) -> bool:
    """Compare a password with its hash."""
    _, salt, digest = stored.split(":")
    return hmac.compare_digest(_scrypt(password, bytes.fromhex(salt)), bytes.fromhex(digest))


def _entry(password: str | None, *, waiting: bool = False) -> str | None:
    return _mark(None if password is None else hash_of(password), waiting=waiting)


def _mark(entry: str | None, *, waiting: bool) -> str | None:
    return WAITING + (entry or "") if waiting else entry


def _marks(entry: str | None) -> str:
    """The marks before a hash."""
    return (entry or "").partition("scrypt:")[0]


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(
        password.encode(errors="surrogatepass"),
        salt=salt,
        n=COST,
        r=BLOCK,
        p=PARALLEL,
        maxmem=MEMORY,
        dklen=32,
    )


_DECOY = f"scrypt:{'00' * 16}:{'00' * 32}"
