"""Tell a task's target its result: bounded retries, and no reach into our own network."""

import asyncio
import ipaddress
import logging
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from provision.guest.grader import networks
from provision.guest.grader.networks import Address
from provision.guest.grader.store import Task

log = logging.getLogger(__name__)

_ATTEMPT_SECONDS = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0
_PORTS = {"http": 80, "https": 443}


class TargetRefusedError(Exception):
    """A target that we never contact."""


@dataclass(frozen=True)
class Target:
    """A URL whose host was looked up and judged.

    Args:
        parts: the URL.
        host: its host as it goes into a header or a certificate's check.
        port: its port.
        addresses: where it may be contacted; the best first.
    """

    parts: SplitResult
    host: str
    port: int
    addresses: tuple[Address, ...]

    def at(self, address: Address) -> str:
        """The URL with an address in the host's place, so that nobody looks anything up again."""
        return self.parts._replace(netloc=f"{_bracket(str(address))}:{self.port}").geturl()

    @property
    def header(self) -> str:
        """What the target's server is to be told of its own name."""
        port = "" if self.port == _PORTS[self.parts.scheme] else f":{self.port}"
        return _bracket(self.host) + port

    @property
    def certified(self) -> str | None:
        """The name that a certificate must be for; None: the address."""
        if self.parts.scheme == "http" or networks.address(self.host):
            return None
        return self.host


class Guard:
    """Looks hosts up, and lets through the addresses that may be contacted.

    A URL is read here and nowhere else, and what was judged is what is connected: the client is
    given an address, never a name, so neither another reading of ``0x7f.1`` nor a second answer
    of a name server counts.

    Args:
        allowed: host names and networks that are fine although not public.
        refused: networks that are not, although they are public.
    """

    def __init__(self, allowed: Sequence[str], refused: Sequence[str] = ()) -> None:
        self._names: set[str] = set()
        self._networks: list[networks.Network] = []
        for entry in allowed:
            try:
                self._networks.append(ipaddress.ip_network(entry))
            except ValueError:
                self._names.add(entry.lower().rstrip("."))
        self._refused = [ipaddress.ip_network(entry) for entry in refused]

    async def look_up(self, url: str) -> Target:
        """Read a URL and find out where it leads.

        Raises:
            TargetRefusedError: it is no plain HTTP URL, or leads to no permitted address.
            OSError: its host is not known at present.
        """
        parts, host, port = _read(url)
        loop = asyncio.get_running_loop()
        try:
            infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise TargetRefusedError("not a URL") from None
        own = networks.own()
        addresses = []
        for _, _, _, _, found in infos:
            address = networks.address(str(found[0]))
            if address and self._permits(host, address, own):
                addresses.append(address)
        if not addresses:
            raise TargetRefusedError(f"{host} has no public address")
        return Target(parts, host, port, tuple(dict.fromkeys(addresses)))

    def _permits(self, host: str, address: Address, own: Sequence[networks.Network]) -> bool:
        meant = networks.embedded_address(address)
        if host.rstrip(".") in self._names or _within((address, meant), self._networks):
            return True
        if _within((address, meant), [*self._refused, *own]):
            return False
        return networks.is_public(address)


def _within(addresses: Sequence[Address], among: Sequence[networks.Network]) -> bool:
    return any(address in network for address in addresses for network in among)


def _read(url: str) -> tuple[SplitResult, str, int]:
    """The parts of a URL, its host in ASCII, and its port."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        if host and not host.isascii():
            host = host.encode("idna").decode().lower()
    except ValueError:
        raise TargetRefusedError("not a URL") from None
    if parts.scheme not in _PORTS or not host:
        raise TargetRefusedError("not an http or https URL")
    if parts.username is not None:
        raise TargetRefusedError("a URL with a user name")
    if port == 0 or any(letter.isspace() or not letter.isprintable() for letter in host):
        raise TargetRefusedError("not a URL")
    return parts, host, port or _PORTS[parts.scheme]


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class _NoNames(AbstractResolver):
    """The client's resolver: it has nothing to look up."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Refuse."""
        raise OSError(f"{host} was not looked up by the guard")

    async def close(self) -> None:
        """Nothing to close."""


class Notifier:
    """Posts results.

    Args:
        allowed, refused: see `Guard`.
        seconds: how long an unreachable target is tried again.
    """

    def __init__(self, allowed: Sequence[str], seconds: float, refused: Sequence[str] = ()) -> None:
        self.guard = Guard(allowed, refused)
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Open the client; call from the event loop."""
        self._session = aiohttp.ClientSession(
            # No connection is used twice: it was made for one name, which its address may share.
            connector=aiohttp.TCPConnector(
                resolver=_NoNames(), limit=64, limit_per_host=8, force_close=True
            ),
            timeout=aiohttp.ClientTimeout(total=_ATTEMPT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the client."""
        if self._session:
            await self._session.close()

    async def tell(self, task: Task) -> str:
        """Post a result until it is taken or time is up.

        Returns:
            ``delivered``, or ``abandoned: `` and the last reason.
        """
        assert task.notify  # noqa: S101 (only such tasks come here)
        content: dict[str, Any] = (
            {"data": form(task)} if task.format == "form" else {"json": payload(task)}
        )
        deadline, pause = time.monotonic() + self._seconds, _FIRST_PAUSE
        while True:
            try:
                status = await self._post(task.notify, content)
                if status < 300:
                    return "delivered"
                why = f"HTTP {status}"
                if status < 500 and status not in (408, 425, 429):
                    return f"abandoned: {why}"
            except TargetRefusedError as error:
                return f"abandoned: {error}"
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                why = str(error) or type(error).__name__
            log.info("task %s: %s does not answer: %s", task.id, task.notify, why)
            if time.monotonic() + pause > deadline:
                return f"abandoned: {why}"
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _post(self, url: str, content: dict[str, Any]) -> int:
        """One attempt, at each address until one is connected; returns the answer's status."""
        assert self._session  # noqa: S101 (opened)
        async with asyncio.timeout(_ATTEMPT_SECONDS):
            target = await self.guard.look_up(url)
        *others, last = target.addresses
        for address in (*others, last):
            try:
                # A redirect leads elsewhere, where nobody has looked: it is an answer like others.
                async with self._session.post(
                    target.at(address),
                    allow_redirects=False,
                    headers={"Host": target.header},
                    server_hostname=target.certified,
                    **content,
                ) as answer:
                    return answer.status
            except aiohttp.ClientConnectorError:
                if address is last:
                    raise
        raise AssertionError("the last address returns or raises")


def payload(task: Task) -> dict[str, Any]:
    """The notification as the TMC protocol has it, and what we add: id, reason, seconds."""
    assert task.result  # noqa: S101 (only finished tasks are told)
    result = task.result
    return {
        "status": result.status,
        "exit_code": result.exit_code,
        "token": task.token,
        "output": result.output,
        "test_output": result.test_output,
        "stdout": result.stdout,
        "stderr": result.stderr,
        "id": task.id,
        "reason": result.reason,
        "seconds": result.seconds,
    }


def form(task: Task) -> dict[str, str]:
    """The same for older exercise servers, which read a form: no exit_code where there is none."""
    return {key: str(value) for key, value in payload(task).items() if value is not None}
