"""How a browser that is signed in gets to a session, whose origin is not the hub's, and out again.

The hub's port leads every address of a session here. Who may see that session gets a ticket: good
once, for a minute, for that student's server and in that browser alone, known by a cookie of its
own. The proxy takes it at the sessions' port, and gives that origin's cookie (``pool/proxy.js``).
Who signs out is sent there as well, so that the proxy ends what this browser has open.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from jupyterhub.handlers.base import BaseHandler
from tornado import web

TICKET_SECONDS = 60
_SERVER = re.compile(r"/user/([!-~]+?)([/?][!-~]*)?")
_BROWSER = re.compile(r"[0-9a-f]{32}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")  # of DNS, in part


@dataclass(frozen=True)
class Sessions:
    """Where the sessions are, and how a browser is let in.

    Args:
        above: how far their port is above the hub's.
        token: of the proxy's API, from which the tickets' key is made.
        secure: whether browsers speak HTTPS.
        subdomain_host: the hub's name, below which each student's server has one; empty: all
            sessions have the hub's.
    """

    above: int
    token: str
    secure: bool
    subdomain_host: str = ""

    def host(self, asked: str, student: str) -> str:
        """The host of a student's server, without a port; of nobody's: the one that all share.

        Args:
            asked: the host, and perhaps port, by which a browser asked the hub.
            student: whose server.
        """
        if self.subdomain_host:
            return ".".join(filter(None, (student and label(student), self.subdomain_host)))
        name = urlsplit(f"//{asked}").hostname or ""
        return f"[{name}]" if ":" in name else name

    def place(self, asked: str, student: str) -> str:
        """The same with the port as this browser sees it."""
        port = urlsplit(f"//{asked}").port or (443 if self.secure else 80)
        return f"{self.host(asked, student)}:{port + self.above}"

    def ticket(
        self, kind: str, student: str, path: str, browser: str, asked: str, *, now: float
    ) -> str:
        """A signed ticket.

        Args:
            kind: ``visit`` to come in, ``leave`` to go: the address that takes it.
            student: whose server it opens.
            path: where the browser goes on to.
            browser: the value of its own cookie.
            asked: the host by which it asked the hub.
            now: seconds since 1970.
        """
        told = {
            "kind": f"to {kind}",
            "student": student,
            "host": self.host(asked, student),
            "next": path,
            "browser": hashlib.sha256(browser.encode()).hexdigest(),
            "until": now + TICKET_SECONDS,
            "id": secrets.token_hex(16),
        }
        text = _base64(json.dumps(told).encode())
        key = hmac.digest(self.token.encode(), b"visits", "sha256")
        return f"{text}.{_base64(hmac.digest(key, text.encode(), 'sha256'))}"

    @property
    def cookie(self) -> tuple[str, dict[str, Any]]:
        """The name of the cookie by which a browser is known, and what goes with it."""
        told: dict[str, Any] = {"path": "/", "httponly": True, "samesite": "Lax"}
        told["secure"] = self.secure
        if self.subdomain_host:
            return "appliance-browser", {**told, "domain": self.subdomain_host}
        return f"{'__Host-' if self.secure else ''}appliance-browser", told


def label(student: str) -> str:
    """A student's name as a label of DNS: itself where it can be one, else marked by its hash."""
    if _LABEL.fullmatch(student) and "--" not in student:
        return student
    readable = re.sub(r"[^a-z0-9]+", "-", student)[:30].strip("-")
    return f"{readable}--{hashlib.sha256(student.encode()).hexdigest()[:16]}"


def student_of(path: str) -> str | None:
    """The student whose server an address names; None: it is no server's."""
    match = _SERVER.fullmatch(path)
    name = unquote(match[1]) if match else ""
    return name if name and "/" not in name else None


class VisitHandler(BaseHandler):  # type: ignore[misc]  # JupyterHub has no types
    """``/hub/visit?next=/user/NAME/…``."""

    @web.authenticated
    async def get(self) -> None:
        """Send the browser on, with a ticket."""
        path = self.get_argument("next", "")
        name = student_of(path)
        if name is None or not self.has_scope(f"access:servers!server={name}/"):
            raise web.HTTPError(404, "No access to resources or resources not found")
        user = self.find_user(name)
        if user is None or not user.spawner.ready:  # it is told, and may start it
            self.redirect(f"{self.hub.base_url}{path.removeprefix('/')}")
            return
        if name != self.current_user.name:
            self.log.warning("%s visits the session of %s", self.current_user.name, name)
        _send(self, "visit", name, path, self._browser())

    def _browser(self) -> str:
        """The cookie by which this browser is known; the same for all of its windows."""
        cookie, told = self.settings["sessions"].cookie
        if known := _known_name(self):
            return known
        fresh = secrets.token_hex(16)
        self.set_cookie(cookie, fresh, **told)
        return fresh


class Leaving:
    """Put before the hub's handler of signing out: the sessions are left first."""

    async def handle_logout(self: Any) -> None:
        """Remember who goes."""
        await super().handle_logout()  # type: ignore[misc]  # the handler's
        self.goes = self.current_user.name if self.current_user else ""

    async def render_logout_page(self: Any) -> None:
        """Send a browser that was in a session there, from where it comes back to this page."""
        browser = _known_name(self)
        if not browser or self.get_arguments("left"):  # once, whatever cookies it keeps
            await super().render_logout_page()  # type: ignore[misc]  # the handler's
            return
        cookie, told = self.settings["sessions"].cookie
        self.clear_cookie(cookie, **told)
        _send(self, "leave", self.goes, f"{self.request.path}?left=yes", browser)


def _known_name(handler: Any) -> str:
    found = str(handler.get_cookie(handler.settings["sessions"].cookie[0], ""))
    return found if _BROWSER.fullmatch(found) else ""


def _send(handler: Any, kind: str, student: str, path: str, browser: str) -> None:
    """Lead a browser to the proxy, with a ticket."""
    sessions, asked = handler.settings["sessions"], handler.request.host
    signed = sessions.ticket(kind, student, path, browser, asked, now=time.time())
    handler.set_header("Cache-Control", "no-store")
    handler.redirect(f"//{sessions.place(asked, student)}/{kind}?ticket={signed}")


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
