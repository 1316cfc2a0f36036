"""Places in line, which outlive the hub.

The hub's database keeps them: a server that was asked for, and has no account yet, waits since it
was asked for. So whoever starts the hub anew, or kills it, takes nobody's place.
"""

import asyncio
from datetime import timedelta
from typing import Any

from jupyterhub import orm
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.utils import utcnow
from tornado.httputil import HTTPConnection, HTTPServerRequest

from provision.guest.hub.guard import GuardedHub
from provision.guest.pool.spawner import PoolSpawner

POLL_SECONDS = 0.01


class LineHub(GuardedHub):
    """JupyterHub, in whose line everybody stands again, in the same order, before it answers."""

    async def init_spawners(self) -> int:
        """Look after sessions; note before who has none yet, as those are taken for ended.

        Returns:
            How many sessions there are, which JupyterHub notes in its log.
        """
        oldest = utcnow(with_tz=False) - timedelta(seconds=self.config.PoolSpawner.start_timeout)
        asked = self.db.query(orm.Spawner).filter(
            orm.Spawner.server != None,  # noqa: E711 - SQL's
            orm.Spawner.started > oldest,
        )
        self._waited = [each.user for each in asked.order_by(orm.Spawner.started) if not each.state]
        return int(await super().init_spawners())

    async def initialize(self, *words: Any, **options: Any) -> None:
        """Make everything ready."""
        await super().initialize(*words, **options)
        self._starts = [await self._stand(self.users[each]) for each in self._waited]

    async def cleanup(self) -> None:
        """End; nobody who waits is told that the start of a session failed, as it goes on."""
        if self.http_server is not None:
            self.http_server.stop()
            await self.http_server.close_all_connections()
        await super().cleanup()

    async def _stand(self, user: Any) -> "asyncio.Task[None]":
        """Have somebody stand at the end of the line, with what was chosen before."""
        self.log.info("%s is in line again", user.name)
        asks = HTTPServerRequest("POST", self.hub.base_url, connection=_Nobody())
        handler = BaseHandler(self.tornado_application, asks)
        start = asyncio.create_task(self._start(handler, user))
        while not start.done() and user.name not in [each.user.name for each in PoolSpawner.line]:
            await asyncio.sleep(POLL_SECONDS)
        return start

    async def _start(self, handler: BaseHandler, user: Any) -> None:
        try:
            await handler.spawn_single_user(user)
        except Exception as error:  # the page in which the student waits shows it
            self.log.warning("The session of %s did not start: %s", user.name, error)


class _Nobody(HTTPConnection):
    """The connection of a request that came with no browser."""

    def set_close_callback(self, callback: object) -> None:
        """It is not closed."""
