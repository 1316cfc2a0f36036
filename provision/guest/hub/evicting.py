"""The hub that puts out who was ordered out (``pool.evictions``), whoever gave the order."""

import asyncio
import time
from pathlib import Path
from typing import Any

from jupyterhub import orm
from sqlalchemy import event

from provision.guest.hub.admission import POLL_SECONDS, STOP_SECONDS, keep_name
from provision.guest.hub.line import LineHub
from provision.guest.pool.evictions import Evictions, end_sessions
from provision.guest.pool.leases import Leases


class Hub(LineHub):
    """JupyterHub that carries out orders: before it answers anybody, and from then on."""

    state = Path("/var/lib/notebook")

    async def initialize(self, *words: Any, **options: Any) -> None:
        """Make everything ready."""
        event.listen(orm.User.name, "set", keep_name, active_history=True)
        await super().initialize(*words, **options)
        await self._carry_out()
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self._carry_out()
            except Exception:  # the next one is to be carried out all the same
                self.log.exception("Somebody could not be put out; trying again")
                self.db.rollback()

    async def _carry_out(self) -> None:
        """Carry out all orders at once."""
        orders = Evictions(self.state).orders()
        if not orders:
            return
        names = set(orders.values())
        for name in names:
            self._revoke(name)
        end_sessions(names, Leases(self.state / "leases", self.config.PoolSpawner.server_pool))
        await asyncio.gather(*map(self._stop, names))
        for path in orders:
            path.unlink(missing_ok=True)

    def _revoke(self, name: str) -> None:
        """End every cookie and token of a student."""
        user = orm.User.find(self.db, name)
        if user is None:
            return
        user.cookie_id = orm.new_token()
        for each in [*user.api_tokens, *user.oauth_codes]:
            self.db.delete(each)
        self.db.commit()
        self.log.warning("%s is out: session, cookies and tokens have ended", name)

    async def _stop(self, name: str) -> None:
        """End a student's session, also one that is beginning."""
        found = orm.User.find(self.db, name)
        if found is None:
            return
        user, deadline = self.users[found], time.monotonic() + STOP_SECONDS
        while user.spawner.active and time.monotonic() < deadline:
            user.spawner.turned_away = True
            if not user.spawner.pending:
                await user.stop()
                await self.proxy.delete_user(user)
            await asyncio.sleep(POLL_SECONDS)
