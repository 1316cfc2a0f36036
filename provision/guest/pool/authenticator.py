"""Sign-in by the appliance's own accounts, with a lockout after wrong passwords.

The administrator may also sign in with the system's password, if there is one (``pam``).
"""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyterhub.auth import Authenticator
from tornado import web
from traitlets import Bool, Unicode

from provision.guest.pool import pam
from provision.guest.pool.accounts import Accounts, WaitingError
from provision.guest.pool.certificate import NAME

FREE_TRIES = 5
LONGEST_WAIT = 900.0


@dataclass
class Lockout:
    """Makes guessing slow: after 5 wrong tries each further one doubles the wait.

    Args:
        failures: key (a name or an address) -> number of wrong tries and the last one's time.
    """

    failures: dict[str, tuple[int, float]] = field(default_factory=dict)

    def wait(self, key: str, now: float) -> float:
        """Seconds until the next try is allowed; 0 when it is now."""
        count, last = self.failures.get(key, (0, 0.0))
        if count < FREE_TRIES:
            return 0.0
        return max(0.0, last + min(2.0 ** (count - FREE_TRIES), LONGEST_WAIT) - now)

    def failed(self, key: str, now: float) -> None:
        """Count a wrong try."""
        if len(self.failures) > 10000:
            self.failures = {
                k: (n, last) for k, (n, last) in self.failures.items() if now - last < LONGEST_WAIT
            }
        count, _ = self.failures.get(key, (0, 0.0))
        self.failures[key] = (count + 1, now)

    def succeeded(self, key: str) -> None:
        """Forget the wrong tries."""
        self.failures.pop(key, None)


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
        self._lockout = Lockout()

    async def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        """Return the name if the password is right, otherwise None.

        Raises:
            HTTPError: 429 while a name is locked out, 403 while it waits for approval.
        """
        name, password = data["username"].strip().lower(), data["password"]
        if not NAME.fullmatch(name):
            return None
        now = time.monotonic()
        if (seconds := self._lockout.wait(name, now)) > 0:
            raise web.HTTPError(429, f"Too many wrong passwords. Wait {seconds:.0f} seconds.")
        # The admin's account must exist already: nobody becomes admin by being first.
        may_make = self.open_accounts and name not in self.admin_users
        try:
            right = await asyncio.to_thread(
                self._accounts.check, name, password, may_make=may_make, approval=self.approval
            )
        except WaitingError:
            raise web.HTTPError(403, "Your account waits for your teacher's approval.") from None
        if right or (name in self.admin_users and await pam.opens(password)):
            self._lockout.succeeded(name)
            return name
        self._lockout.failed(name, now)
        return None

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
