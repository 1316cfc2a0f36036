"""What JupyterHub leaves open of names: only an administrator adds them, and they stay."""

import asyncio
import contextlib
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from jupyterhub.apihandlers.users import UserAPIHandler, UserListAPIHandler
from tornado import web

from provision.guest.pool.evictions import Evictions

POLL_SECONDS = 0.2
STOP_SECONDS = 60.0
# Set while an administrator adds names by JupyterHub's own page or API.
adding: ContextVar[bool] = ContextVar("adding", default=False)


def keep_name(_user: Any, value: str, old: Any, _initiator: Any) -> None:
    """Refuse another name: account, files and all else would stay with the old one.

    Raises:
        HTTPError: 400, always, but for a user who has no name yet.
    """
    if isinstance(old, str) and old != value:
        raise web.HTTPError(
            400,
            f"{old} stays {old}: a name cannot be changed, for files and accounts go by it."
            " Add the new name and bring the files over.",
        )


class _Adds:
    """Marks that an administrator asked for the names."""

    async def post(self, *words: str) -> None:
        """Add users."""
        token = adding.set(True)
        try:
            await super().post(*words)  # type: ignore[misc]  # of JupyterHub's handler beside it
        finally:
            adding.reset(token)


class AddUsers(_Adds, UserListAPIHandler):  # type: ignore[misc]  # it has no types
    """``POST /hub/api/users``."""


class AddUser(_Adds, UserAPIHandler):  # type: ignore[misc]  # it has no types
    """``POST /hub/api/users/NAME``."""


async def put_out(state: Path, name: str) -> None:
    """Wait until an order about a student is carried out."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            while name in Evictions(state).orders().values():
                await asyncio.sleep(POLL_SECONDS / 2)
