"""The address of a published folder as a user writes it, and the way there.

User and password of a URL are sent, and shown to nobody; proxies are those of the environment.
"""

import base64
import contextlib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from provision.errors import UsageError

PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Address:
    """An http or https URL, apart from who asks there.

    Args:
        url: without user and password, fit to be shown; without a slash at its end.
        login: the header that says who asks; empty: nobody.
    """

    url: str
    login: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: who may be told the password."""
        parts = urlsplit(self.url)
        return parts.scheme, parts.hostname or "", parts.port or PORTS[parts.scheme]

    def redirect(self, asked: str, location: str) -> "Address":
        """Where a redirect leads to; another server is told no password.

        Args:
            asked: the URL that was asked for.
            location: what the answer says.

        Raises:
            UsageError: it is no http or https URL.
        """
        try:
            there = parse(urljoin(asked, location))
        except ValueError:
            raise UsageError(f"{printable(location)} is no http or https URL") from None
        return Address(there.url, self.login if there.origin == self.origin else {})


def parse(text: str) -> Address:
    """Read a URL.

    Raises:
        UsageError: it is no http or https URL; what may be a password is not in the message.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise UsageError(f"{printable(text)} is no http or https URL") from None
    if parts.scheme not in PORTS or not parts.hostname or not text.isprintable() or " " in text:
        raise UsageError(f"{printable(text)} is no http or https URL")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = host if port is None else f"{host}:{port}"
    query = f"?{parts.query}" if parts.query else ""
    url = f"{parts.scheme}://{place}{parts.path}".rstrip("/") + query
    return Address(url, login("Authorization", parts.username, parts.password))


def printable(text: str) -> str:
    """A URL for people: without what may be user and password, however it is written."""
    known = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text)
    scheme = known[0] if known else ""
    return scheme + text.removeprefix(scheme).rpartition("@")[2]


def login(header: str, user: str | None, password: str | None) -> dict[str, str]:
    """The header of the basic scheme (RFC 7617), in UTF-8; none without a user."""
    if user is None:
        return {}
    pair = f"{unquote(user)}:{unquote(password or '')}".encode()
    return {header: f"Basic {base64.b64encode(pair).decode()}"}


def proxy_of(url: str) -> Address | None:
    """The proxy by which the environment wants a URL to be reached; None: directly.

    ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy``, in which networks such as
    10.0.0.0/8 count too.

    Raises:
        UsageError: it is no http or https proxy.
    """
    parts, known = urlsplit(url), getproxies()
    wanted = known.get(parts.scheme) or known.get("all")
    host = parts.hostname or ""
    if not wanted or proxy_bypass(parts.netloc) or _in_network(host, known.get("no", "")):
        return None
    proxy = parse(wanted if "://" in wanted else f"http://{wanted}")
    said = proxy.login.get("Authorization")
    return Address(proxy.url, {"Proxy-Authorization": said} if said else {})


def _in_network(host: str, entries: str) -> bool:
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        for entry in entries.split(","):
            with contextlib.suppress(ValueError):
                if "/" in entry and address in ipaddress.ip_network(entry.strip(), strict=False):
                    return True
    return False
