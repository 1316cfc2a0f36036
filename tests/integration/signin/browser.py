"""One browser's worth of state, by urllib."""

import http.cookiejar
import urllib.error
import urllib.parse
import urllib.request
from typing import Any


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Go nowhere."""


class Browser:
    """It keeps cookies, and says how each step ended."""

    def __init__(self) -> None:
        self.cookies = http.cookiejar.CookieJar()
        handlers: list[Any] = [
            urllib.request.HTTPCookieProcessor(self.cookies),
            urllib.request.ProxyHandler({}),
        ]
        self._opener = urllib.request.build_opener(*handlers)
        self._still = urllib.request.build_opener(*handlers, _Stay)

    def get(
        self, url: str, form: dict[str, str] | None = None, origin: str = ""
    ) -> tuple[int, str, str]:
        """Status, the address at which it ended, and the page.

        Args:
            url: where to.
            form: what is sent, if anything is.
            origin: of another site, whose page sends it.
        """
        data = urllib.parse.urlencode(form).encode() if form else None
        request = urllib.request.Request(url, data)
        if origin:
            request.add_unredirected_header("Origin", origin)
            request.add_unredirected_header("Sec-Fetch-Site", "cross-site")
            request.add_unredirected_header("Sec-Fetch-Mode", "navigate")
            request.add_unredirected_header("Sec-Fetch-Dest", "document")
        try:
            with self._opener.open(request, timeout=60) as answer:
                return answer.status, answer.url, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.url or "", error.read().decode()

    def follow(self, url: str) -> tuple[int, str, str]:
        """Status, the address to which it leads, and the page."""
        try:
            with self._still.open(url, timeout=60) as answer:
                return answer.status, "", answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers.get("Location", ""), error.read().decode()

    def put(self, name: str, value: str, url: str) -> None:
        """Have a cookie of another's."""
        host = urllib.parse.urlsplit(url).hostname or ""
        self.cookies.set_cookie(
            http.cookiejar.Cookie(
                **{"version": 0, "name": name, "value": value, "port": None},
                **{"port_specified": False, "domain": host, "domain_specified": False},
                **{"domain_initial_dot": False, "path": "/", "path_specified": True},
                **{"secure": False, "expires": None, "discard": True, "comment": None},
                **{"comment_url": None, "rest": {}},
            )
        )
