"""The hub's leases: who has a session, and which account is free for a proof."""

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .program import pool_accounts

LEASES = Path("/var/lib/notebook/leases")


def sessions() -> list[str]:
    """The students who have a session now."""
    found = []
    for path in sorted(LEASES.glob("*")) if LEASES.is_dir() else ():
        with _lease(path.name) as file:
            if file is None:
                continue
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with contextlib.suppress(ValueError, IndexError):
                    student = json.loads(file.read().splitlines()[0])["student"]
                    found += [student] if student else []
    return found


@contextlib.contextmanager
def free_account() -> Iterator[str]:
    """A pool account, leased for us as the hub leases it; ``nobody`` when all are taken."""
    owner = LEASES.lstat() if LEASES.is_dir() else None
    for name in reversed(pool_accounts()):
        if owner is None:
            break
        with _lease(f"{name}@localhost", create=True) as file:
            if file is None:
                continue
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            file.truncate(0)
            file.write(b'{"student": ""}\n')
            file.flush()
            yield name
            return
    yield pool_accounts()[-1] if pool_accounts() and owner is None else "nobody"


@contextlib.contextmanager
def _lease(name: str, *, create: bool = False) -> Iterator[IO[bytes] | None]:
    """The file of a lease; None where the hub, whose directory it is, has put something else."""
    with contextlib.ExitStack() as opened:
        try:
            folder = os.open(LEASES, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            opened.callback(os.close, folder)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT if create else os.O_RDONLY
            safe = os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(name, flags | safe, 0o600, dir_fd=folder)
        except OSError:
            yield None
            return
        file = opened.enter_context(os.fdopen(descriptor, "a+b" if create else "rb"))
        status = os.fstat(descriptor)
        yield file if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else None
