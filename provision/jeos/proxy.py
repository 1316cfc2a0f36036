"""The one proxy of all downloads of a build, and its password, which only environments have.

Whoever downloads takes it from here: mmdebstrap and apt, pip, Sage's wheels, an image, the mirror's
state. A command gets it in its environment, never in its arguments, where every user of the host
would see it; no file of a build, its log, its cache or its image, has it either.
"""

import ipaddress
import re
import subprocess
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from provision.errors import HostNotReadyError

SCHEMES = ("http", "https")
APPLIANCE, ENVIRONMENT, APT = "proxy: in appliance.yml", "the environment", "this host's apt"


@dataclass(frozen=True)
class Proxy:
    """Where downloads go through.

    Args:
        urls: by the scheme of what is downloaded; none: directly. They may have a password.
        bypass: hosts that are reached directly, as in ``no_proxy``.
        source: who says so, for people.
    """

    urls: Mapping[str, str] = field(default_factory=dict, repr=False)
    bypass: str = ""
    source: str = ""

    def environment(self) -> dict[str, str]:
        """What a command that downloads finds it by."""
        told = {f"{scheme}_proxy": url for scheme, url in self.urls.items()}
        return told | ({"no_proxy": self.bypass} if told and self.bypass else {})

    def opener(self) -> urllib.request.OpenerDirector:
        """What opens URLs through it."""
        return urllib.request.build_opener(urllib.request.ProxyHandler(dict(self.urls)))

    def within(self, gateway: str) -> "Proxy":
        """The same for a guest, which reaches this host's loopback at its ``gateway``."""
        return replace(
            self, urls={scheme: _rehost(url, gateway) for scheme, url in self.urls.items()}
        )

    def __str__(self) -> str:
        """For people: without user and password."""
        return " and ".join(dict.fromkeys(_redact(url) for url in self.urls.values()))


def of(configured: str | None) -> Proxy:
    """The configured proxy, or else this host's: its environment's, or else its apt's.

    A configuration may be published and so has no password; a proxy of the environment with the
    same host and port lends it its own.

    Args:
        configured: ``proxy:`` of appliance.yml.

    Raises:
        HostNotReadyError: the host's is no HTTP proxy.
    """
    known = urllib.request.getproxies_environment()
    bypass = known.get("no", "")
    ours = {scheme: _check(known[scheme]) for scheme in SCHEMES if known.get(scheme)}
    if configured:
        same = (url for url in ours.values() if _redact(url) == configured.rstrip("/"))
        return Proxy(dict.fromkeys(SCHEMES, next(same, configured)), bypass, APPLIANCE)
    if ours:
        return Proxy(ours, bypass, ENVIRONMENT)
    found = _apt()
    return Proxy(found, bypass, APT) if found else Proxy()


def _apt() -> dict[str, str]:
    try:
        argv = ["apt-config", "dump", "--format", "%f=%v%n"]
        told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return {}
    named = dict(re.findall(r"^acquire::(https?)::proxy=(.+)$", told, re.MULTILINE | re.IGNORECASE))
    found = {
        scheme.lower(): _check(url) for scheme, url in named.items() if url.upper() != "DIRECT"
    }
    if "http" in found and "https" not in named:
        found["https"] = found["http"]  # as apt itself does
    return found


def _check(url: str) -> str:
    whole = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(whole)
        good = parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not whole.isprintable() or re.search(r'[\s"]', whole):
        raise HostNotReadyError(
            f"{_redact(whole)} is no HTTP proxy",
            hint="http_proxy=http://USER:PASSWORD@HOST:PORT, with %40 for @ in the password",
        )
    return whole


def _rehost(url: str, host: str) -> str:
    parts = urlsplit(url)
    name = parts.hostname or ""
    try:
        here = ipaddress.ip_address(name).is_loopback
    except ValueError:
        here = name == "localhost"
    if not here:
        return url
    login, at, _ = parts.netloc.rpartition("@")
    port = f":{parts.port}" if parts.port else ""
    return parts._replace(netloc=f"{login}{at}{host}{port}").geturl()


def _redact(url: str) -> str:
    """A proxy's URL without what may be a user and a password, however it is written."""
    scheme, _, rest = url.rpartition("://") if "@" not in url else url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}".rstrip("/")
