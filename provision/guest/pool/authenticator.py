"""Sign-in by the appliance's own accounts, with a lockout after wrong passwords.

The administrator may also sign in with the system's password, if there is one (``pam``).
"""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

from jupyterhub.auth import Authenticator
from jupyterhub.handlers.login import LoginHandler
from tornado import web
from traitlets import Bool, Unicode

from provision.guest.hub.admission import AddUser, AddUsers, adding
from provision.guest.pool import pam
from provision.guest.pool.account import read_settings
from provision.guest.pool.accounts import Accounts, WaitingError
from provision.guest.pool.certificate import NAME, WHOLE
from provision.guest.pool.classlist import ALLOWED, LONGEST_PASSWORD, SHORTEST_PASSWORD
from provision.guest.pool.earlier import earlier
from provision.guest.pool.lockout import CROWDED, PasswordGuard
from provision.guest.pool.visits import trying


class PoolAuthenticator(Authenticator):  # type: ignore[misc]  # JupyterHub has no types
    """Names and passwords of the appliance's own accounts."""

    accounts_file = Unicode(config=True, help="The file of accounts.")
    open_accounts = Bool(False, config=True, help="A visitor may make an account by signing in.")
    shortest = SHORTEST_PASSWORD  # for the form
    approval = Bool(False, config=True, help="Such an account must be approved by the admin.")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.allow_all = True  # who has no account does not get past authenticate()
        self.username_pattern = WHOLE
        self._accounts = Accounts(Path(self.accounts_file))
        self._guard = PasswordGuard()

    async def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        """Return the name if the password is right, otherwise None.

        Raises:
            HTTPError: 429 while a name or an address is locked out or too many sign in at once,
                403 while the account waits for approval.
        """
        name, password = data["username"].strip().lower(), data.get("password", "")
        if not NAME.fullmatch(name) or len(password) > LONGEST_PASSWORD:
            self._refuse(handler, name, password, taken=False)
            return None
        # The admin's account must exist already: nobody becomes admin by being first.
        known = handler.find_user(name)
        may_make = self.open_accounts and name not in self.admin_users
        may_make = may_make and not (known is not None and known.admin)
        async with trying(self._guard, handler, name, lambda: self._exists(name)) as turn:
            if turn.in_vain and may_make:
                raise web.HTTPError(429, CROWDED)
            if turn.in_vain:
                return None
            turn.made = may_make and not self._exists(name)
            first = turn.made or self._accounts.open_to_first(name)
            held = first and len(password) >= SHORTEST_PASSWORD and await self._earlier(name, known)
            told = {"may_make": may_make, "approval": self.approval, "earlier": held}
            try:
                turn.right = await asyncio.to_thread(self._accounts.check, name, password, **told)
            except WaitingError:
                turn.right = True
                raise web.HTTPError(
                    403, "Your account waits for your teacher's approval."
                ) from None
            if not turn.right and name in self.admin_users:
                turn.right = await pam.opens(password)
        taken = self.open_accounts and not turn.made
        if not turn.right:
            self._refuse(handler, name, password, taken=taken)
        return name if turn.right else None

    def _refuse(self, handler: Any, name: str, password: str, *, taken: bool) -> None:
        """Say in the form why nobody came in, as far as it tells nobody which names there are.

        Raises:
            HTTPError: 403, with words of ours; otherwise JupyterHub has its own.
        """
        if not NAME.fullmatch(name):
            why = f"{ALLOWED[0].upper()}{ALLOWED[1:]}."
        elif len(password) > LONGEST_PASSWORD:
            why = f"A password has at most {LONGEST_PASSWORD} characters."
        elif name in self.admin_users:
            return
        elif len(password) < SHORTEST_PASSWORD:
            why = f"A password has at least {SHORTEST_PASSWORD} characters."
        elif taken:
            why = "Invalid username or password. If you are new here: this name is taken, choose"
            why += " another."
        else:
            return
        if isinstance(handler, LoginHandler):
            self.log.warning("Failed login: %s", why)
            raise web.HTTPError(403, why)

    def _exists(self, name: str) -> bool:
        return name in self.admin_users or name in self._accounts.names()

    async def _earlier(self, name: str, known: Any) -> bool:
        """Whether a name has files, or the hub knows it without an account: it had an owner."""
        if known is not None and name not in self._accounts.names():
            return True
        state = Path(self.accounts_file).parent
        return bool(await earlier([name], read_settings().directory, state))

    def get_handlers(self, app: Any) -> list[tuple[str, Any]]:
        """JupyterHub's own, where what adds users is marked."""
        added = [(r"/api/users", AddUsers), (r"/api/users/([^/]+)", AddUser)]
        return [*super().get_handlers(app), *added]

    async def add_user(self, user: Any) -> None:
        """A name that the admin adds on the hub's page may sign in: it is made, or approved.

        The hub calls this also for all whom it knows when it starts: these get no account by it.
        """
        super().add_user(user)
        if not adding.get() or user.name in self.admin_users:
            return
        if user.name in self._accounts.waiting():
            with contextlib.suppress(ValueError):
                self._accounts.approve(user.name)
        elif user.name not in self._accounts.names():
            self._accounts.add(user.name, waiting=await self._earlier(user.name, None))

    def delete_user(self, user: Any) -> None:
        """A name that the admin removes can no longer sign in."""
        self._accounts.remove(user.name)
        super().delete_user(user)
