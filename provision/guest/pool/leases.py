"""Exclusive leases on pool accounts, kept by the kernel.

One file per account. Its lock is held by the session's own ssh process, which inherits the
locked file as its standard error: the lease lasts exactly as long as that process, whatever
becomes of the hub, and no number of a dead process can be mistaken for it. The file's first
line says who has the account; the second is the process's number; the rest is what the session
said.
"""

import contextlib
import fcntl
import json
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

# Writes its number where the lease is, then becomes ssh: there is no moment without a number.
ANNOUNCE = ("/bin/sh", "-c", 'echo "$$" >&2; exec "$@"', "session")


@dataclass(frozen=True)
class Lease:
    """An account that someone has.

    Args:
        account: the pool's entry, ``user@host``.
        student: who has it.
        pid: the session's ssh process; None for the moment before it runs.
        said: what the session has said since.
        profile: what the student chose when it began; empty: nothing.
    """

    account: str
    student: str
    pid: int | None
    said: tuple[str, ...]
    profile: str = ""

    def end(self) -> None:
        """Ask the session to end; its account is free as soon as it has."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)


class Leases:
    """The leases on all accounts of a pool.

    Args:
        directory: where the files are; only the hub's user may read it.
        accounts: the pool's entries, as ``user@host``, best first.
    """

    def __init__(self, directory: Path, accounts: Sequence[str]) -> None:
        self.accounts = tuple(accounts)
        self._directory = directory

    def take(
        self, student: str, among: Sequence[str] | None = None, *, profile: str = ""
    ) -> tuple[str, IO[bytes]] | None:
        """Lease a free account.

        Args:
            student: who gets it.
            among: only these of the accounts; None: any.
            profile: what the student chose.

        Returns:
            The account and its locked file. Give the file to the session as standard error,
            then close it; closing it without a session gives the account back. None when all
            accounts are taken.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for account in self.accounts if among is None else among:
            file = self._path(account).open("a+b")
            if _try_lock(file):
                file.truncate(0)
                file.write(json.dumps({"student": student, "profile": profile}).encode() + b"\n")
                file.flush()
                return account, file
            file.close()
        return None

    def find(self, account: str) -> Lease | None:
        """The lease on an account, or None when it is free."""
        # Root reads them, too, in the hub's directory: no link is followed, no pipe waited for.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        with (
            contextlib.suppress(FileNotFoundError),
            os.fdopen(os.open(self._path(account), flags), "rb") as file,
        ):
            if _try_lock(file):
                return None
            first, *rest = file.read().decode(errors="replace").splitlines() or ["{}"]
            number = rest[0] if rest else ""
            who = json.loads(first)
            return Lease(
                account=account,
                student=who.get("student", ""),
                profile=who.get("profile", ""),
                pid=int(number) if number.isdigit() else None,
                said=tuple(rest[1:]),
            )
        return None

    def __iter__(self) -> Iterator[Lease]:
        """All leases, in the accounts' order."""
        return (lease for account in self.accounts if (lease := self.find(account)))

    def _path(self, account: str) -> Path:
        return self._directory / account


def _try_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
