"""Tell a task's target its result: bounded retries, and no reach into our own network."""

import asyncio
import ipaddress
import logging
import socket
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from provision.guest.grader.store import Task

log = logging.getLogger(__name__)

_ATTEMPT_SECONDS = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0


class RefusedError(Exception):
    """A target that we never contact."""


class Guard(AbstractResolver):
    """Resolves names to the addresses that may be contacted, and to no others.

    The connection is made to what was checked, so a name cannot change its answer in between.

    Args:
        allowed: host names and networks that are fine although not public.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        self._names, self._networks = set(), []
        for entry in allowed:
            try:
                self._networks.append(ipaddress.ip_network(entry))
            except ValueError:
                self._names.add(entry.lower())

    def check_url(self, url: str) -> None:
        """Refuse what is no plain HTTP URL, and literal addresses that are not allowed.

        Raises:
            RefusedError: with the reason.
        """
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise RefusedError("not a URL") from None
        if parts.scheme not in ("http", "https") or not host:
            raise RefusedError("not an http or https URL")
        if parts.username is not None:
            raise RefusedError("a URL with a user name")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return
        if not self._permits(host, str(address)):
            raise RefusedError(f"{address} is not a public address")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Resolve for aiohttp; raises OSError when no permitted address is left."""
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        permitted: list[ResolveResult] = [
            {
                "hostname": host,
                "host": str(address[0]),
                "port": port,
                "family": found,
                "proto": protocol,
                "flags": socket.AI_NUMERICHOST,
            }
            for found, _, protocol, _, address in infos
            if self._permits(host, str(address[0]))
        ]
        if not permitted:
            raise OSError(f"{host} has no public address")
        return permitted

    async def close(self) -> None:
        """Nothing to close."""

    def _permits(self, host: str, text: str) -> bool:
        address = ipaddress.ip_address(text.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        address = mapped or address
        if host.lower() in self._names or any(address in network for network in self._networks):
            return True
        return address.is_global and not address.is_multicast


class Notifier:
    """Posts results.

    Args:
        allowed: see `Guard`.
        seconds: how long an unreachable target is tried again.
    """

    def __init__(self, allowed: Sequence[str], seconds: float) -> None:
        self.guard = Guard(allowed)
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Open the connection pool; call from the event loop."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=self.guard, limit=64, limit_per_host=8),
            timeout=aiohttp.ClientTimeout(total=_ATTEMPT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the connection pool."""
        if self._session:
            await self._session.close()

    async def tell(self, task: Task) -> str:
        """Post a result until it is taken or time is up.

        Returns:
            ``delivered``, or ``abandoned: `` and the last reason.
        """
        assert self._session and task.notify  # noqa: S101 (opened; only such tasks come here)
        try:
            self.guard.check_url(task.notify)
        except RefusedError as error:
            return f"abandoned: {error}"
        content: dict[str, Any] = (
            {"data": form(task)} if task.format == "form" else {"json": payload(task)}
        )
        deadline, pause = time.monotonic() + self._seconds, _FIRST_PAUSE
        while True:
            try:
                async with self._session.post(
                    task.notify, allow_redirects=False, **content
                ) as answer:
                    if answer.status < 300:
                        return "delivered"
                    why = f"HTTP {answer.status}"
                    if answer.status < 500 and answer.status not in (408, 425, 429):
                        return f"abandoned: {why}"
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                why = str(error) or type(error).__name__
            log.info("task %s: %s does not answer: %s", task.id, task.notify, why)
            if time.monotonic() + pause > deadline:
                return f"abandoned: {why}"
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


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
