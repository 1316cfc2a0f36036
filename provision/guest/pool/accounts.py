"""The students' accounts: names and password hashes in one file of the hub's own.

A teacher makes accounts by name, or from a CSV file of names and passwords. An account without
a password takes the first one that is offered, so hand such names out in the room.
"""

import argparse
import contextlib
import csv
import fcntl
import getpass
import hashlib
import hmac
import json
import os
import pwd
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from provision.guest.pool.certificate import checked

# scrypt with 32 MiB and about 0.1 s a try, as RFC 7914 and OWASP advise.
COST, BLOCK, PARALLEL, MEMORY = 2**15, 8, 1, 64 << 20
SHORTEST_PASSWORD = 8
LOCKED = "!"  # before what an account was that may not open
WAITING = "?"  # before the hash of an account that a visitor made and nobody has approved


class WaitingError(Exception):
    """The account is not approved yet."""


class Accounts:
    """The accounts in a file.

    Args:
        path: the file; made with the first account, readable by its owner only.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._read())

    def add(self, name: str, password: str | None = None, *, waiting: bool = False) -> None:
        """Make an account, or give one a new password.

        Args:
            name: the student's name.
            password: None: the first one that is offered at sign-in becomes the password.
            waiting: it opens only once it is approved.

        Raises:
            ValueError: the name cannot be used or the password is too short.
        """
        checked(name)
        entry = None if password is None else WAITING * waiting + hashed(password)
        with self._changing() as accounts:
            accounts[name] = entry

    def approve(self, name: str) -> None:
        """Let a visitor's account open.

        Raises:
            ValueError: no account of that name waits for it.
        """
        with self._changing() as accounts:
            entry = accounts.get(name)
            if entry is None or not entry.startswith(WAITING):
                raise ValueError(f"{name} does not wait for approval")
            accounts[name] = entry.removeprefix(WAITING)

    def waiting(self) -> list[str]:
        """The names that wait for approval, sorted."""
        return sorted(n for n, entry in self._read().items() if (entry or "").startswith(WAITING))

    def lock(self, name: str) -> None:
        """Keep a name from signing in, whatever the password; the student's files stay."""
        with self._changing() as accounts:
            accounts[name] = LOCKED + (accounts.get(name) or "").removeprefix(LOCKED)

    def unlock(self, name: str) -> None:
        """Let a locked name sign in as before."""
        with self._changing() as accounts:
            accounts[name] = (accounts[name] or "").removeprefix(LOCKED) or None

    def remove(self, name: str) -> None:
        """Forget a name; the student's files stay."""
        with self._changing() as accounts:
            accounts.pop(name, None)

    def load(self, lines: Iterator[str]) -> list[str]:
        """Make accounts from CSV lines ``name[,password]``.

        Returns:
            The names, in their order.

        Raises:
            ValueError: a line cannot be used; then no account is made.
        """
        wanted: dict[str, str | None] = {}
        for number, row in enumerate(csv.reader(lines), start=1):
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            try:
                name = checked(cells[0])
                wanted[name] = hashed(cells[1]) if len(cells) > 1 and cells[1] else None
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
        with self._changing() as accounts:
            accounts.update(wanted)
        return list(wanted)

    def check(self, name: str, password: str, *, may_make: bool, approval: bool = False) -> bool:
        """Tell whether a sign-in is right; take the first password of an account without one.

        Args:
            name: as offered.
            password: as offered.
            may_make: make an account of a name that has none.
            approval: an account made so opens only once it is approved.

        Raises:
            WaitingError: the password is right, but the account waits for approval.
        """
        accounts = self._read()
        stored = accounts.get(name)
        if stored is not None and not stored.startswith(LOCKED):
            right = matches(password, stored.removeprefix(WAITING))
            if right and stored.startswith(WAITING):
                raise WaitingError
            return right
        if stored is None and (name in accounts or may_make) and len(password) >= SHORTEST_PASSWORD:
            with contextlib.suppress(ValueError):
                self.add(name, password, waiting=approval and name not in accounts)
                if approval and name not in accounts:
                    raise WaitingError
                return True
        matches(password, _DECOY)  # an unknown name must not be told by its speed
        return False

    def _read(self) -> dict[str, str | None]:
        try:
            accounts: dict[str, str | None] = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        return accounts

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, str | None]]:
        """Change the accounts as one: other writers wait, a crash leaves the old file."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._path.parent, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            accounts = self._read()
            yield accounts
            fresh = self._path.with_suffix(".new")
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
                json.dump(accounts, f, indent=1, sort_keys=True)
                f.flush()
                os.fsync(f.fileno())
            fresh.replace(self._path)
        finally:
            os.close(lock)


def main(owner: str, path: Path = Path("/var/lib/notebook/accounts.json")) -> None:
    """The command ``notebook-accounts``.

    Args:
        owner: the hub's user, whom root becomes.
        path: the file of accounts.

    Raises:
        SystemExit: the command cannot be carried out.
    """
    if os.geteuid() == 0:
        user = pwd.getpwnam(owner)
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    parser = argparse.ArgumentParser(prog="notebook-accounts", description="Students' accounts.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="show all names")
    load = verbs.add_parser("import", help="make accounts from CSV lines: name[,password]")
    load.add_argument("file", type=argparse.FileType(encoding="utf-8"))
    for verb, text in {
        "add": "make an account; the first password at sign-in counts",
        "password": "set a password, read from the terminal or from standard input",
        "approve": "let an account open that a visitor made",
        "lock": "let a name no longer sign in; its files stay",
    }.items():
        verbs.add_parser(verb, help=text).add_argument("name")
    arguments = parser.parse_args()
    accounts = Accounts(path)
    try:
        match arguments.verb:
            case "list":
                waiting = accounts.waiting()
                for name in accounts.names():
                    print(name + " (waits for approval)" * (name in waiting))  # noqa: T201 - a program
            case "import":
                accounts.load(arguments.file)
            case "add":
                accounts.add(arguments.name)
            case "password":
                asked = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline()
                accounts.add(arguments.name, asked.rstrip("\n"))
            case "approve":
                accounts.approve(arguments.name)
            case "lock":
                accounts.lock(arguments.name)
    except ValueError as error:
        sys.exit(f"notebook-accounts: {error}")


def hashed(password: str) -> str:
    """Hash a password for keeping.

    Raises:
        ValueError: it is shorter than 8 characters.
    """
    if len(password) < SHORTEST_PASSWORD:
        raise ValueError(f"a password has at least {SHORTEST_PASSWORD} characters")
    salt = secrets.token_bytes(16)
    return f"scrypt:{salt.hex()}:{_scrypt(password, salt).hex()}"


def matches(password: str, stored: str) -> bool:
    """Compare a password with its hash."""
    _, salt, digest = stored.split(":")
    return hmac.compare_digest(_scrypt(password, bytes.fromhex(salt)), bytes.fromhex(digest))


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(
        password.encode(), salt=salt, n=COST, r=BLOCK, p=PARALLEL, maxmem=MEMORY, dklen=32
    )


_DECOY = f"scrypt:{'00' * 16}:{'00' * 32}"
