"""Pages about accounts: a class is added, by typing or by a file; a student's own password."""

import asyncio
import contextlib
import secrets
from pathlib import Path
from typing import Any

from jupyterhub import orm
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import needs_scope
from tornado import web

from provision.guest.hub import guard
from provision.guest.hub.admission import put_out
from provision.guest.hub.audit import note
from provision.guest.pool.account import read_settings
from provision.guest.pool.accounts import Accounts, Intake
from provision.guest.pool.authenticator import PoolAuthenticator
from provision.guest.pool.classlist import (
    LONGEST_NAME,
    SHORTEST_PASSWORD,
    ClassList,
    ListError,
    decode,
    read_list,
)
from provision.guest.pool.earlier import earlier

LONGEST_LIST = 1 << 20
ENCODINGS = {"": "as it says itself, or UTF-8", "windows-1252": "Windows", "mac-roman": "old Mac"}


def handlers(state: Path) -> list[tuple[str, type, dict[str, Any]]]:
    """The pages, for JupyterHub's ``extra_handlers``.

    Args:
        state: directory of the hub's own files.
    """
    return [
        (r"/classroom/add", AddHandler, {"state": state}),
        (r"/auth/change-password", ChangePasswordHandler, {"state": state}),
    ]


class _AccountPage(BaseHandler):  # type: ignore[misc]  # JupyterHub has no types
    def initialize(self, state: Path) -> None:
        self.state = state
        self.accounts = Accounts(state / "accounts.json")

    async def _show(self, name: str, status: int = 200, **told: Any) -> None:
        self.set_status(status)
        self.set_header("Cache-Control", "no-store")
        told |= {"shortest": SHORTEST_PASSWORD, "longest_name": LONGEST_NAME}
        self.finish(await self.render_template(name, **told))

    def _own(self) -> None:
        if not isinstance(self.authenticator, PoolAuthenticator):
            raise web.HTTPError(404, "Passwords and names are those of the school's sign-in.")


class AddHandler(_AccountPage):
    """``/hub/classroom/add``: all of a list, or nothing and the reason for each line."""

    @web.authenticated
    @needs_scope("admin-ui")  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Show the form."""
        self._own()
        await self._form()

    @web.authenticated
    @needs_scope("admin-ui")  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        """Add the list."""
        self._own()
        files = self.request.files.get("file", [])
        data = files[0]["body"] if files else self.get_body_argument("list", "").encode()
        encoding = self.get_body_argument("encoding", "") if files else "utf-8"
        if len(data) > LONGEST_LIST:
            await self._form(400, wrong=["The list has more than a megabyte."])
            return
        try:
            if encoding not in (*ENCODINGS, "utf-8"):
                raise ListError([(0, f"there is no encoding {encoding!r}")])
            found = read_list(data, encoding=encoding, make_names=self._is_set("make_names"))
        except ListError as error:
            text = ""
            with contextlib.suppress(ValueError):
                text = decode(data, encoding)
            wrong = str(error).replace("--make-names", "make the names").splitlines()
            await self._form(400, wrong=wrong, text=text)
            return
        if self._is_set("make_names") and found.made_names():
            await self._form(made=found.made_names(), text=found.as_csv())
        elif not await self._confirm():
            again = {"again": True, "refused": bool(self.get_body_argument("password", ""))}
            await self._form(403, text=found.as_csv(), **again)
        else:
            await self._add(found)

    async def _add(self, found: ClassList) -> None:
        wanted = {n: word or secrets.token_urlsafe(9) for n, word in found.passwords().items()}
        there = self.accounts.names()
        new = [name for name in wanted if name not in there and not self._is_set("same")]
        admins = {user.name for user in self.db.query(orm.User).filter(orm.User.admin)}
        taken: Intake = await asyncio.to_thread(
            self.accounts.take,
            wanted,
            waiting=await earlier(new, read_settings().directory, self.state) if new else (),
            untouchable=admins | self.authenticator.admin_users,
            reset=self._is_set("reset"),
        )
        for action, names in (("add", taken.added), ("password", taken.reset)):
            for name in names:
                note(self, self.state, action, name)
        await asyncio.gather(*(put_out(self.state, name) for name in taken.reset))
        given = found.passwords()
        made = {n: wanted[n] for n in [*taken.added, *taken.reset] if not given[n]}
        await self._show("classroom-added.html", taken=taken, made=made)

    async def _confirm(self) -> bool:
        password = self.get_body_argument("password", "")
        return guard.fresh(self) or bool(password and await guard.verify_password(self, password))

    def _is_set(self, name: str) -> bool:
        return bool(self.get_body_argument(name, ""))

    async def _form(self, status: int = 200, **told: Any) -> None:
        kept = {name: self._is_set(name) for name in ("reset", "same")}
        await self._show("classroom-add.html", status, encodings=ENCODINGS, kept=kept, **told)


class ChangePasswordHandler(_AccountPage):
    """``/hub/auth/change-password``: a new password for who knows the old one."""

    @web.authenticated
    async def get(self) -> None:
        """Show the form."""
        self._own()
        await self._show("change-password.html")

    @web.authenticated
    async def post(self) -> None:
        """Change it; every other browser and the session end with the old one."""
        self._own()
        name = self.current_user.name
        old, new, again = (
            self.get_body_argument(field, "", strip=False) for field in ("old", "new", "again")
        )
        if wrong := self._refusal(old, new, again):
            await self._show("change-password.html", 400, wrong=wrong)
            return
        data = {"username": name, "password": old}
        found = await self.authenticator.get_authenticated_user(self, data)
        if not found or found["name"] != name:
            wrong = "The old password is not right. Nothing was changed."
            await self._show("change-password.html", 403, wrong=wrong)
            return
        try:
            await asyncio.to_thread(self.accounts.set_password, name, new)
        except ValueError as error:
            await self._show("change-password.html", 400, wrong=f"Nothing was changed: {error}.")
            return
        await put_out(self.state, name)
        self.db.refresh(self.current_user.orm_user)
        self.set_login_cookie(self.current_user)
        await self._show("change-password.html", done=True)

    def _refusal(self, old: str, new: str, again: str) -> str:
        if new != again:
            return "The new password is not the same in both fields. Nothing was changed."
        if len(new) < SHORTEST_PASSWORD:
            return f"A password has at least {SHORTEST_PASSWORD} characters. Nothing was changed."
        return "This is the old password. Nothing was changed." if new == old else ""
