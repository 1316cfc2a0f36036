"""What the hub asks of every request that a browser's cookie opens.

Two things, before any page or call of JupyterHub's own or of ours:

- it comes from the hub's own pages. A page of another origin, a student's notebook among them, may
  lead a browser here (a link), and nothing else;
- an administrator's password was typed again within the last minutes, where passwords, tokens,
  names and rights are changed: a browser left alone, or a script that found a way into the hub's
  origin, has the cookie and not the password.

A program with a token of its own is not asked: nobody sends a token without meaning to.
"""

import functools
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.handlers.login import LogoutHandler
from tornado import web

from provision.guest.hub.bounds import MAKE_TOKENS, BoundedHub, FewTokens, refuse_long
from provision.guest.hub.visit import Leaving
from provision.guest.pool.authenticator import PoolAuthenticator

FRESH_SECONDS = 300
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
AGAIN = "This needs your password again: give it at {place}, then try once more."
_PAGES = re.compile(r"(token|admin)")
_API = re.compile(r"api/.*")
_EVERYDAY = re.compile(  # a session's start and end, and that somebody is there
    r"api/(users/[^/]+/(servers?(/.*)?|activity)|oauth2/.*|security/csp-report)"
)
_typed: dict[tuple[str, str], float] = {}


def foreign(method: str, headers: Mapping[str, str], host: str) -> bool:
    """Whether a browser says that another origin's page sends this, and not as a link.

    Browsers send ``Sec-Fetch-*`` where the page came encrypted or from this machine
    (https://www.w3.org/TR/fetch-metadata/), and ``Origin`` with everything that changes something.

    Args:
        method: of the request.
        headers: of the request.
        host: name and port that it was sent to.
    """
    site = headers.get("Sec-Fetch-Site", "")
    if site in ("same-site", "cross-site"):
        mode, place = headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest")
        return not (method in SAFE and mode == "navigate" and place == "document")
    origin = headers.get("Origin")
    return method not in SAFE and origin is not None and urlsplit(origin).netloc != host


def needs_password(method: str, path: str) -> bool:
    """Whether an administrator is to type the password again.

    Args:
        method: of the request.
        path: below the hub's address, without a slash before it.
    """
    if method in SAFE:
        return _PAGES.fullmatch(path) is not None
    return bool(_API.fullmatch(path)) and not _EVERYDAY.fullmatch(path)


def fresh(handler: Any) -> bool:
    """Whether this browser's administrator has typed the password within the last minutes."""
    now = time.monotonic()
    for key, when in list(_typed.items()):
        if now > when + FRESH_SECONDS:
            del _typed[key]
    return _key(handler) in _typed


async def verify_password(handler: Any, password: str) -> bool:
    """Whether this is the administrator's password; if so it is not asked for a while.

    Where the school's provider signs people in, it is the password of the appliance's own
    administrator: the hub never sees another.

    Raises:
        HTTPError: 429, too many were wrong.
    """
    name, authenticator = handler.current_user.name, handler.authenticator
    if authenticator.login_service:  # it has a button, and no password
        authenticator = _own_accounts(authenticator.parent)
        name = min(authenticator.admin_users)
    data = {"username": name, "password": password}
    found = await authenticator.get_authenticated_user(handler, data)
    if not found or found["name"] != name:
        return False
    _typed[_key(handler)] = time.monotonic()
    return True


@functools.cache
def _own_accounts(hub: Any) -> PoolAuthenticator:
    """The appliance's own accounts; one for all, as it counts wrong passwords."""
    return PoolAuthenticator(parent=hub)


def _key(handler: Any) -> tuple[str, str]:
    return handler.current_user.name, handler.get_session_cookie() or ""


class _Guarded:
    """Put before each of the hub's handlers."""

    async def prepare(self: Any) -> None:
        await super().prepare()  # type: ignore[misc]  # the handler's, which knows by now who asks
        refuse_long(self)
        request = self.request
        if self._finished or getattr(self, "_token_authenticated", False):
            return
        known = getattr(self, "from_elsewhere", False)  # it has a cookie of its own for that
        if not known and foreign(request.method, request.headers, request.host):
            raise web.HTTPError(403, "This was sent by a page of another address.")
        path = request.path.removeprefix(self.hub.base_url)
        admin = getattr(self.current_user, "admin", False)
        if not admin or not needs_password(request.method, path) or fresh(self):
            return
        place = f"{self.hub.base_url}confirm"
        if request.method in SAFE:
            self.redirect(f"{place}?next={request.path}")
        else:
            raise web.HTTPError(403, AGAIN.format(place=place))


class GuardedHub(BoundedHub):
    """JupyterHub, each of whose handlers is guarded."""

    handlers: list[Any]
    template_vars: dict[str, Any]

    def init_tornado_settings(self) -> None:
        """Let each page call people as a learning platform does, where there is one."""
        person = getattr(self.authenticator, "person", str)
        self.template_vars = {**self.template_vars, "person": lambda _: person}
        super().init_tornado_settings()

    def init_handlers(self) -> None:
        """Put the guard before each, and the way out of the sessions before signing out."""
        super().init_handlers()
        self.handlers = [(where, _guard(kind), *rest) for where, kind, *rest in self.handlers]


def _guard(kind: type) -> type:
    if not issubclass(kind, BaseHandler):
        return kind
    before: tuple[type, ...] = (_Guarded,)
    if issubclass(kind, LogoutHandler):
        before = (_Guarded, Leaving)
    if issubclass(kind, MAKE_TOKENS):
        before = (_Guarded, FewTokens)
    return type(kind.__name__, (*before, kind), {})


class ConfirmHandler(BaseHandler):  # type: ignore[misc]  # JupyterHub has no types
    """``/hub/confirm?next=…``: the administrator types the password again."""

    @web.authenticated
    async def get(self) -> None:
        """Ask."""
        self.finish(await ask(self, {"next": self.get_argument("next", "")}))

    @web.authenticated
    async def post(self) -> None:
        """Look at what was typed, and go on."""
        if await verify_password(self, self.get_body_argument("password", "")):
            self.redirect(self.get_next_url(self.current_user, default=self.hub.base_url))
            return
        self.set_status(403)
        told = {"next": self.get_body_argument("next", "")}
        self.finish(await ask(self, told, wrong=True))


async def ask(handler: Any, fields: Mapping[str, str], *, wrong: bool = False) -> str:
    """The page that asks for the password and then sends the fields to where they were sent.

    Args:
        handler: of the request that needs it.
        fields: what the request said, but for the password.
        wrong: what was typed before is not the password.
    """
    handler.set_header("Cache-Control", "no-store")
    own = not handler.authenticator.login_service
    page: str = await handler.render_template(
        "confirm.html", fields=fields, wrong=wrong, place=handler.request.path, own=own
    )
    return page
