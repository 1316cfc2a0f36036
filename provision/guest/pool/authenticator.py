"""Sign-in by the appliance's own accounts, with a lockout after wrong passwords.

The administrator may also sign in with the system's password, if there is one (``pam``).
"""

import asyncio
from pathlib import Path
from typing import Any

from jupyterhub.auth import Authenticator
from tornado import web
from traitlets import Bool, Unicode

from provision.guest.pool import pam
from provision.guest.pool.accounts import Accounts, WaitingError
from provision.guest.pool.certificate import NAME
from provision.guest.pool.lockout import CROWDED, Guard
from provision.guest.pool.visits import trying

LONGEST = 1024  # characters of a password


class PoolAuthenticator(Authenticator):  # type: ignore[misc]  # JupyterHub has no types
    """Names and passwords of the appliance's own accounts."""

    accounts_file = Unicode(config=True, help="The file of accounts.")
    open_accounts = Bool(False, config=True, help="A visitor may make an account by signing in.")
    approval = Bool(False, config=True, help="Such an account must be approved by the admin.")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.allow_all = True  # who has no account does not get past authenticate()
        self.username_pattern = NAME.pattern
        self._accounts = Accounts(Path(self.accounts_file))
        self._guard = Guard()

    async def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        """Return the name if the password is right, otherwise None.

        Raises:
            HTTPError: 429 while a name or an address is locked out or too many sign in at once,
                403 while the account waits for approval.
        """
        name, password = data["username"].strip().lower(), data.get("password", "")
        if not NAME.fullmatch(name) or len(password) > LONGEST:
            return None
        # The admin's account must exist already: nobody becomes admin by being first.
        may_make = self.open_accounts and name not in self.admin_users
        async with trying(self._guard, handler, name, lambda: self._exists(name)) as turn:
            if turn.in_vain and may_make:
                raise web.HTTPError(429, CROWDED)
            if turn.in_vain:
                return None
            turn.made = may_make and not self._exists(name)
            try:
                turn.right = await asyncio.to_thread(
                    self._accounts.check, name, password, may_make=may_make, approval=self.approval
                )
            except WaitingError:
                turn.right = True
                raise web.HTTPError(
                    403, "Your account waits for your teacher's approval."
                ) from None
            if not turn.right and name in self.admin_users:
                turn.right = await pam.opens(password)
        return name if turn.right else None

    def _exists(self, name: str) -> bool:
        return name in self.admin_users or name in self._accounts.names()

    def add_user(self, user: Any) -> None:
        """A name that the admin adds on the hub's page may sign in: it is made, or approved."""
        super().add_user(user)
        if user.name in self._accounts.waiting():
            self._accounts.approve(user.name)
        elif user.name not in self._accounts.names() and user.name not in self.admin_users:
            self._accounts.add(user.name)

    def delete_user(self, user: Any) -> None:
        """A name that the admin removes can no longer sign in."""
        self._accounts.remove(user.name)
        super().delete_user(user)
