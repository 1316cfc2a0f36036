"""From where a request to sign in comes, and what a browser is told to remember of it.

Only our own proxy may say for whom it asks, by the last address in X-Forwarded-For: what stands
before it, and X-Real-IP, is whatever somebody chose to write.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tornado import web

from provision.guest.pool.lockout import Guard, RefusedError, Turn, Visit, network

COOKIE = "notebook-device"
DAYS = 400  # the longest that browsers keep a cookie (RFC 6265bis)
NAMES = 8  # of a browser that several use
PROXY_API_PORT = 8001
LISTENS = "0A"  # TCP_LISTEN, proc_net_tcp.txt
TCP = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


class TooManyError(web.HTTPError):
    """Status 429; JupyterHub sends the headers, too."""

    def __init__(self, refused: RefusedError) -> None:
        super().__init__(429, str(refused))
        self.headers = {"Retry-After": str(refused.seconds)}


@asynccontextmanager
async def trying(
    guard: Guard, handler: Any, name: str, exists: Callable[[], bool] = lambda: True
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
    except RefusedError as error:
        raise TooManyError(error) from None
    if turn.right:
        mark(handler, device or secrets.token_hex(8), [name, *(n for n in names if n != name)])


def address_of(request: Any) -> str:
    """The address from which somebody asks our proxy; its own where nobody says."""
    told = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    return str(told or peer(request)[0])


def peer(request: Any) -> tuple[str, int]:
    """Address and port of the connection itself, whatever its headers say."""
    address = getattr(request.connection.context, "address", None)
    return (str(address[0]), int(address[1])) if isinstance(address, tuple) else ("", 0)


def refuse_sessions(request: Any) -> None:
    """Keep the sessions' accounts, which reach the hub without the proxy, from guessing.

    Raises:
        HTTPError: 403, the connection is of neither the proxy's user, nor ours, nor root's.
    """
    lines = [line for path in TCP if path.exists() for line in path.read_text().splitlines()]
    users = owners(lines, peer(request)[1])
    if users and not users & {0, os.getuid(), *listeners(lines, PROXY_API_PORT)}:
        raise web.HTTPError(403, "Sign in with a browser, not from a session.")


def owners(lines: Iterable[str], port: int) -> set[int]:
    """The users with a connection from a local port, by the lines of /proc/net/tcp."""
    return {user for local, state, user in _sockets(lines) if local == port and state != LISTENS}


def listeners(lines: Iterable[str], port: int) -> set[int]:
    """The users who listen on a port."""
    return {user for local, state, user in _sockets(lines) if local == port and state == LISTENS}


def _sockets(lines: Iterable[str]) -> Iterable[tuple[int, str, int]]:
    for line in lines:
        words = line.split()
        if len(words) > 9 and words[0].endswith(":"):
            yield int(words[1].rpartition(":")[2], 16), words[3], int(words[7])


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
