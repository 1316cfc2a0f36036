"""Where published files come from: a web server, or a directory such as a share or a stick."""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit

from provision.errors import HostNotReadyError, UsageError

TIMEOUT_SECONDS = 20.0
TRIES = 5
PAUSE_SECONDS = 0.4  # before the second try; twice as long before each further one
LIMIT = 64 << 20  # bytes of one file: far above any chunk, manifest or list


class SourceError(HostNotReadyError):
    """A published file cannot be had from here."""


class MissingError(SourceError):
    """The source works but has no such file."""


class Source(Protocol):
    """What gives published files. Called by many threads at once."""

    def get(self, path: str) -> bytes:
        """The content of a file, named by its path with ``/`` below the published folder.

        Raises:
            SourceError: it cannot be had.
        """


class Directory:
    """A folder on this host.

    Args:
        root: the published folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        if not (root / "channels").is_dir():
            raise UsageError(f"{root} is no published folder: there is no 'channels' in it")

    def get(self, path: str) -> bytes:
        """Read a file."""
        try:
            return (self.root / path).read_bytes()
        except FileNotFoundError as error:
            raise MissingError(f"{self.root / path} is missing") from error
        except OSError as error:
            raise SourceError(f"{self.root / path}: {error.strerror}") from error


class Web:
    """A folder behind HTTP; each thread keeps one connection open.

    Args:
        url: of the folder.
        timeout: seconds without a byte until a try is given up.
        tries: how often each file is asked for.
    """

    def __init__(self, url: str, *, timeout: float = TIMEOUT_SECONDS, tries: int = TRIES) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{url} is no http or https URL")
        self.url = url.rstrip("/")
        self.bytes = 0
        self._parts, self._timeout, self._tries = parts, timeout, tries
        self._base = unquote(parts.path).rstrip("/")
        self._local, self._lock = threading.local(), threading.Lock()

    def get(self, path: str) -> bytes:
        """Download a file."""
        for attempt in range(self._tries):
            try:
                status, data = self.once("GET", path)
            except (OSError, http.client.HTTPException, ssl.SSLError) as error:
                if attempt + 1 == self._tries:
                    raise SourceError(
                        f"{self.url} does not answer: {error or type(error).__name__}",
                        hint="try again later: what is here already is not fetched again",
                    ) from error
            else:
                if status == http.client.OK:
                    return data
                if status in (http.client.NOT_FOUND, http.client.GONE):
                    raise MissingError(f"{self.url}/{path} is missing")
                if status < 500 or attempt + 1 == self._tries:
                    raise SourceError(f"{self.url}/{path}: status {status}")
            time.sleep(PAUSE_SECONDS * 2**attempt)
        raise AssertionError("unreachable")

    def once(
        self, method: str, path: str, *, body: bytes | None = None, timeout: float | None = None
    ) -> tuple[int, bytes]:
        """Ask once and return status and body; any failure closes the connection."""
        fresh = getattr(self._local, "connection", None) is None
        try:
            return self._ask(method, path, body, timeout)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            if fresh:
                raise
        return self._ask(method, path, body, timeout)  # the server had closed an idle connection

    def _ask(
        self, method: str, path: str, body: bytes | None, timeout: float | None
    ) -> tuple[int, bytes]:
        connection = getattr(self._local, "connection", None) or self._connect()
        try:
            if connection.sock is not None:
                connection.sock.settimeout(timeout or self._timeout)
            connection.request(method, quote(f"{self._base}/{path}"), body=body)
            answer = connection.getresponse()
            data = answer.read(LIMIT + 1)
            if len(data) > LIMIT:
                raise SourceError(f"{self.url}/{path} is larger than any published file")
            if answer.will_close:
                self.close()
        except BaseException:
            self.close()
            raise
        with self._lock:
            self.bytes += len(data)
        return answer.status, data

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname, self._parts.port
        assert host  # noqa: S101 (checked when we were made)
        kind = (
            http.client.HTTPSConnection
            if self._parts.scheme == "https"
            else http.client.HTTPConnection
        )
        connection = kind(host, port, timeout=self._timeout)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._local.connection = connection
        return connection


def opened(place: str) -> Source:
    """The source that a user named: a URL or a directory."""
    return Web(place) if "://" in place else Directory(Path(place))
