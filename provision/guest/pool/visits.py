"""From where a request to sign in comes, and what a browser is told to remember of it.

Only our own proxy may say for whom it asks, by the last address in X-Forwarded-For: what stands
before it, and X-Real-IP, is whatever somebody chose to write.
"""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

from tornado import web

from provision.guest.pool.lockout import PasswordGuard, TryRefusedError, Turn, Visit, network

COOKIE = "notebook-device"
DAYS = 400  # the longest that browsers keep a cookie (RFC 6265bis)
NAMES = 8  # of a browser that several use
PROXY_API_PORT = 8001
LISTENS = "0A"  # TCP_LISTEN, proc_net_tcp.txt
LOOKS = 3  # a line may be missed while others come and go
TCP = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))

End = tuple[str, int]  # of a connection: address and port


class TooManyError(web.HTTPError):
    """Status 429; JupyterHub sends the headers, too."""

    def __init__(self, refused: TryRefusedError) -> None:
        super().__init__(429, str(refused))
        self.headers = {"Retry-After": str(refused.seconds)}


@asynccontextmanager
async def trying(
    guard: PasswordGuard, handler: Any, name: str, exists: Callable[[], bool] = lambda: True
) -> AsyncIterator[Turn]:
    """Try a password for a request; who signs in leaves a mark in the browser.

    Args:
        guard: decides whether it may be tried now.
        handler: JupyterHub's of the request.
        name: of whom.
        exists: whether there is such a name.

    Raises:
        HTTPError: 429, too many are or were tried; 403, it comes from a session.
    """
    await asyncio.to_thread(refuse_sessions, handler.request)
    device, names = marks(handler)
    visit = Visit(network(address_of(handler.request)), device if name in names else "")
    try:
        async with guard.turn(name, visit, exists) as turn:
            yield turn
    except TryRefusedError as error:
        raise TooManyError(error) from None
    if turn.right:
        mark(handler, device or secrets.token_hex(8), [name, *(n for n in names if n != name)])


def address_of(request: Any) -> str:
    """The address from which somebody asks our proxy; its own where nobody says."""
    told = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    return str(told or peer(request)[0])


def peer(request: Any) -> End:
    """Address and port of the connection itself, whatever its headers say."""
    return _end(getattr(request.connection.context, "address", None))


def refuse_sessions(request: Any) -> None:
    """Keep the sessions' accounts, which reach the hub without the proxy, from guessing.

    Raises:
        HTTPError: 403, the connection is of neither the proxy's user, nor ours, nor root's, or has
            no owner any more.
    """
    stream = request.connection.stream
    if stream is None or stream.socket is None:
        raise web.HTTPError(403, "Whoever asked has gone.")
    ends = peer(request), _end(stream.socket.getsockname())
    for _ in range(LOOKS):
        lines = [line for path in TCP if path.exists() for line in path.read_text().splitlines()]
        user = owner(lines, *ends)
        if user is not None:
            break
    if user not in {0, os.getuid(), *listeners(lines, PROXY_API_PORT)}:
        raise web.HTTPError(403, "Sign in with a browser, not from a session.")


def owner(lines: Iterable[str], end: End, other: End) -> int | None:
    """Who holds one end of a connection within this machine, by the lines of /proc/net/tcp.

    A socket that nobody holds any more (closed, or in TIME_WAIT) is shown as root's, and says
    nothing. Neither does another connection from the same port.
    """
    for socket in _sockets(lines):
        if socket.held and (socket.end, socket.other) == (end, other):
            return socket.user
    return None


def listeners(lines: Iterable[str], port: int) -> set[int]:
    """The users who listen on a port."""
    return {s.user for s in _sockets(lines) if s.end[1] == port and s.state == LISTENS}


@dataclass(frozen=True)
class _Socket:
    end: End
    other: End
    state: str
    user: int
    held: bool  # by a process


def _sockets(lines: Iterable[str]) -> Iterable[_Socket]:
    for line in lines:
        words = line.split()
        if len(words) > 9 and words[0].endswith(":"):
            ends = _in_hex(words[1]), _in_hex(words[2])
            yield _Socket(*ends, words[3], int(words[7]), words[9] != "0")


def _in_hex(end: str) -> End:
    """An end as the kernel writes it: the address in 32-bit words of this machine's order."""
    digits, _, port = end.partition(":")
    words = (int(digits[at : at + 8], 16) for at in range(0, len(digits), 8))
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    return _plain(ip_address(packed)), int(port, 16)


def _end(told: Any) -> End:
    """An end as Python tells it; nothing of a socket that is a file."""
    if not isinstance(told, tuple):
        return "", 0
    return _plain(ip_address(told[0].partition("%")[0])), int(told[1])


def _plain(address: IPv4Address | IPv6Address) -> str:
    return str(getattr(address, "ipv4_mapped", None) or address)


def marks(handler: Any) -> tuple[str, list[str]]:
    """The mark of a browser and the names that have signed in with it; nothing without one."""
    told = handler.get_secure_cookie(COOKIE, max_age_days=DAYS)
    device, *names = (told or b"").decode(errors="replace").split() or [""]
    return device, names


def mark(handler: Any, device: str, names: list[str]) -> None:
    """Let a browser remember with which names it has signed in; only we can write that."""
    handler.set_secure_cookie(
        COOKIE,
        " ".join([device, *names[:NAMES]]),
        expires_days=DAYS,
        path=handler.hub.base_url,
        httponly=True,
        samesite="Strict",
        secure=handler.request.protocol == "https",
    )
