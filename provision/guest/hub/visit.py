"""How a browser that is signed in gets to a session, whose origin is not the hub's.

The hub's port leads every address of a session here. Who may see that session gets a ticket: good
once, for a minute, for that student's server and in that browser alone, known by a cookie of its
own. The proxy takes it at the sessions' port, and gives that origin's cookie (``pool/proxy.js``).
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
from typing import Any
from urllib.parse import unquote, urlsplit

from jupyterhub.handlers.base import BaseHandler
from tornado import web

TICKET_SECONDS = 60
_SERVER = re.compile(r"/user/([!-~]+?)([/?][!-~]*)?")
_BROWSER = re.compile(r"[0-9a-f]{32}")


def ticket(token: str, student: str, path: str, browser: str, *, now: float) -> str:
    """A signed ticket.

    Args:
        token: of the proxy's API, from which the key is made.
        student: whose server it opens.
        path: where the browser goes on to.
        browser: the value of its own cookie.
        now: seconds since 1970.
    """
    told = {
        "kind": "ticket",
        "student": student,
        "next": path,
        "browser": hashlib.sha256(browser.encode()).hexdigest(),
        "until": now + TICKET_SECONDS,
        "id": secrets.token_hex(16),
    }
    text = _base64(json.dumps(told).encode())
    key = hmac.digest(token.encode(), b"visits", "sha256")
    return f"{text}.{_base64(hmac.digest(key, text.encode(), 'sha256'))}"


def student_of(path: str) -> str | None:
    """The student whose server an address names; None: it is no server's."""
    match = _SERVER.fullmatch(path)
    name = unquote(match[1]) if match else ""
    return name if name and "/" not in name else None


def there(host: str, above: int, *, secure: bool) -> str:
    """The sessions' host and port as a browser sees them.

    Args:
        host: and port that the browser asked the hub by.
        above: how far the sessions' port is above the hub's.
        secure: whether that was HTTPS.
    """
    parts = urlsplit(f"//{host}")
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{name}:{(parts.port or (443 if secure else 80)) + above}"


class VisitHandler(BaseHandler):  # type: ignore[misc]  # JupyterHub has no types
    """``/hub/visit?next=/user/NAME/…``."""

    def initialize(self, above: int, token: str, secure: bool) -> None:
        """Take what all requests share."""
        self.above, self.proxy_token, self.secure = above, token, secure

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
        signed = ticket(self.proxy_token, name, path, self._browser(), now=time.time())
        self.set_header("Cache-Control", "no-store")
        place = there(self.request.host, self.above, secure=self.secure)
        self.redirect(f"//{place}/visit?ticket={signed}")

    def _browser(self) -> str:
        """The cookie by which this browser is known; the same for all of its windows."""
        cookie = f"{'__Host-' if self.secure else ''}appliance-browser"
        known = self.get_cookie(cookie, "")
        if _BROWSER.fullmatch(known):
            return str(known)
        fresh = secrets.token_hex(16)
        told: dict[str, Any] = {"httponly": True, "samesite": "Lax", "secure": self.secure}
        self.set_cookie(cookie, fresh, path="/", **told)
        return fresh


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
