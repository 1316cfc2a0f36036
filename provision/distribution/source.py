"""Where published files come from: a web server, or a directory such as a share or a stick."""

import threading
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, unquote

from provision.distribution import address
from provision.distribution.address import Address
from provision.errors import HostNotReadyError, UsageError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

TIMEOUT_SECONDS = 20.0
TRIES = 5
PAUSE_SECONDS = 0.4  # before the second try; twice as long before each further one
WAIT_SECONDS = 120.0  # the longest pause that a server may ask for
SLOW_SECONDS = 300.0  # for one file: it came by drops otherwise
LIMIT = 64 << 20  # bytes of one file: far above any chunk, manifest or list
MOVES = 5  # redirects in a row
CONNECTIONS = 16  # that are kept open
_BLOCK = 256 << 10
BUSY = (
    *(HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS),
    *(HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.BAD_GATEWAY),
    *(HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT),
)
_KEPT = "what is here already is not fetched again"
_PROXY = "the proxy wants another user or password: http_proxy=http://USER:PASSWORD@HOST:PORT"
HINTS = {
    HTTPStatus.UNAUTHORIZED: "another user or password is wanted: http://USER:PASSWORD@HOST/...",
    HTTPStatus.FORBIDDEN: "the server, or a filter on the way, lets this host not have it",
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: _PROXY,
    HTTPStatus.TOO_MANY_REQUESTS: f"too many ask at once: pull later, or --share; {_KEPT}",
    HTTPStatus.SERVICE_UNAVAILABLE: f"the server is busy or out of service: pull later; {_KEPT}",
    HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS: "a filter on the way blocks it",
}
_FOLDER = "does the URL name the published folder, the one that has 'channels' in it?"
_OUT_OF_ORDER = f"the server is out of order: pull later; {_KEPT}"


class SourceError(HostNotReadyError):
    """A published file cannot be had from here."""


class MissingError(SourceError):
    """The source works but has no such file."""


class SilentError(SourceError):
    """The source does not answer, or not to the end; it may when it is asked again."""


class Origin(Protocol):
    """What gives published files. Called by many threads at once."""

    received: int  # bytes that it gave

    def get(self, path: str, *, limit: int = LIMIT) -> bytes:
        """The content of a file, named by its path with ``/`` below the published folder.

        Args:
            path: the file.
            limit: bytes that it has at most.

        Raises:
            SourceError: it cannot be had, or is larger.
        """


class Directory:
    """A folder on this host.

    Args:
        root: the published folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.received = 0
        self._lock = threading.Lock()
        if not (root / "channels").is_dir():
            raise UsageError(f"{root} is no published folder: there is no 'channels' in it")

    def get(self, path: str, *, limit: int = LIMIT) -> bytes:
        """Read a file."""
        data = read_file(self.root / path, limit)
        with self._lock:
            self.received += len(data)
        return data


def read_file(path: Path, limit: int) -> bytes:
    """A file of a folder that somebody else may have filled.

    Raises:
        SourceError: it cannot be read, or is larger.
    """
    try:
        if not path.is_file():  # of a device or a pipe there may be no end
            raise MissingError(f"{path} is missing")
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error
    return _read_bounded(data, limit, str(path))


class Web:
    """A folder behind HTTP; connections are kept open, redirects and proxies are followed.

    What comes is believed for its signature and digests alone, so it matters to nobody's safety
    by which way it came.

    Args:
        url: of the folder; user and password in it are sent.
        timeout: seconds without a byte until a try is given up.
        tries: how often each file is asked for.
        patience: seconds that one file may take.
        direct: whether the environment's proxies are left out: another seat is near.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = TIMEOUT_SECONDS,
        tries: int = TRIES,
        patience: float = SLOW_SECONDS,
        direct: bool = False,
    ) -> None:
        self._address = address.parse(url)
        self.url = self._address.url
        self.received = 0
        self._timeout, self._tries, self._patience = timeout, tries, patience
        self._direct, self._lock = direct, threading.Lock()
        self._managers: dict[str, PoolManager] = {}

    def get(self, path: str, *, limit: int = LIMIT) -> bytes:
        """Download a file."""
        for attempt in range(1, self._tries + 1):
            pause = PAUSE_SECONDS * 2 ** (attempt - 1)
            try:
                status, data, later = self._ask("GET", path, limit=limit)
            except SilentError:
                if attempt == self._tries:
                    raise
            else:
                if status == HTTPStatus.OK:
                    return data
                if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
                    raise MissingError(f"{self.url}/{path} is missing", hint=_FOLDER)
                pause = pause if later is None else later
                if status not in BUSY or attempt == self._tries or pause > WAIT_SECONDS:
                    raise _refusal(f"{self.url}/{path}", status, later)
            time.sleep(pause)
        raise AssertionError("unreachable")

    def once(
        self, method: str, path: str, *, body: bytes | None = None, timeout: float | None = None
    ) -> tuple[int, bytes]:
        """Ask once and return status and body.

        Raises:
            SourceError: it does not answer.
        """
        status, data, _ = self._ask(method, path, body=body, timeout=timeout)
        return status, data

    def _ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        timeout: float | None = None,
        limit: int = LIMIT,
    ) -> tuple[int, bytes, float | None]:
        """Status, body, and after how many seconds the server wants to be asked again."""
        from urllib3.exceptions import HTTPError, ProtocolError  # noqa: PLC0415 (as below)

        base = unquote(self.url)
        there = Address(quote(f"{base}/{path}", safe="/:[]@!$&'()*+,;=~"), self._address.login)
        seconds = timeout or self._timeout
        try:
            try:
                return self._follow(method, there, body, seconds, limit)
            except ProtocolError:  # the server had closed an idle connection
                return self._follow(method, there, body, seconds, limit)
        except (HTTPError, OSError) as error:
            why = str(error) or type(error).__name__
            hint = _PROXY if " 407 " in why else f"try again later: {_KEPT}"
            raise SilentError(f"{self.url} does not answer: {why}", hint=hint) from error

    def _follow(
        self, method: str, there: Address, body: bytes | None, timeout: float, limit: int
    ) -> tuple[int, bytes, float | None]:
        for _ in range(MOVES + 1):
            answer = self._manager(there).request(
                *(method, there.url),
                body=body,
                headers=there.login,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=timeout,
            )
            location = answer.get_redirect_location()
            if not location or method != "GET":
                return answer.status, self._read(answer, limit, there.url), _later(answer)
            answer.close()  # how much of a body there is, is the server's word
            try:
                there = there.redirect(there.url, location)
            except UsageError as error:
                raise SourceError(f"{there.url} leads elsewhere: {error}") from error
        raise SourceError(f"{self.url} leads from one address to the next, {MOVES} times")

    def _read(self, answer: "BaseHTTPResponse", limit: int, url: str) -> bytes:
        parts, size, deadline = list[bytes](), 0, time.monotonic() + self._patience
        try:
            while size <= limit and (part := answer.read1(_BLOCK)):
                parts.append(part)
                size += len(part)
                if time.monotonic() > deadline:
                    raise SilentError(
                        f"{url} comes too slowly: {size} bytes in {self._patience:.0f} s",
                        hint=f"try again later: {_KEPT}",
                    )
            data = _read_bounded(b"".join(parts), limit, url)
        except BaseException:
            answer.close()
            raise
        answer.release_conn()
        with self._lock:
            self.received += len(data)
        return data

    def _manager(self, there: Address) -> "PoolManager":
        """What keeps the connections on the way to an address."""
        # Nothing of it is needed where the folder is on a share.
        from urllib3 import PoolManager, ProxyManager  # noqa: PLC0415

        proxy = None if self._direct else address.proxy_of(there.url)
        with self._lock:
            key = proxy.url if proxy else ""
            if key not in self._managers:
                self._managers[key] = (
                    ProxyManager(proxy.url, proxy_headers=proxy.login, maxsize=CONNECTIONS)
                    if proxy
                    else PoolManager(maxsize=CONNECTIONS)
                )
            return self._managers[key]


def _later(answer: "BaseHTTPResponse") -> float | None:
    """The seconds of a Retry-After, however it is written; None: there is none that makes sense."""
    from urllib3 import Retry  # noqa: PLC0415 (as above)
    from urllib3.exceptions import InvalidHeader  # noqa: PLC0415

    try:
        return Retry().parse_retry_after(answer.headers["Retry-After"])
    except (KeyError, ValueError, OverflowError, InvalidHeader):
        return None


def _refusal(url: str, status: int, later: float | None) -> SourceError:
    hint = HINTS.get(HTTPStatus(status)) if status in list(HTTPStatus) else None
    if later and status in BUSY:
        hint = f"the server asks to come back in {later:.0f} s; {_KEPT}"
    general = _OUT_OF_ORDER if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _FOLDER
    return SourceError(f"{url}: status {status}", hint=hint or general)


def _read_bounded(data: bytes, limit: int, place: str) -> bytes:
    if len(data) > limit:
        raise SourceError(f"{place} is larger than such a published file: more than {limit} bytes")
    return data


def open_source(place: str) -> Origin:
    """The source that a user named: a URL or a directory."""
    return Web(place) if "://" in place else Directory(Path(place))
