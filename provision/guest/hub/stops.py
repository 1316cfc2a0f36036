"""A student whose session somebody else has stopped reads who it was."""

import functools
from pathlib import Path
from typing import Any

from jupyterhub.handlers.base import BaseHandler

from provision.guest.pool.activity import Notices


def register(state: Path) -> None:
    """Let the hub note it, from whichever of its pages or by which request a session is stopped.

    Args:
        state: directory of the hub's own files.
    """
    stop = BaseHandler.stop_single_user
    if hasattr(stop, "__wrapped__"):
        return

    @functools.wraps(stop)
    async def wrapper(handler: Any, user: Any, *words: Any, **more: Any) -> Any:
        who = getattr(handler.current_user, "name", None)
        if who and who != user.name and user.spawner.active:
            Notices(state / "notices").note_stop(user.name, who)
        return await stop(handler, user, *words, **more)

    BaseHandler.stop_single_user = wrapper
