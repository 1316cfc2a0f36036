"""The room: a web server for a published folder that also knows how each seat is.

Any web server can serve the folder; this one adds ``seats/``: a seat PUTs its report there, and
everybody GETs the list. The reports are files in the folder, so they outlive the server.
"""

import contextlib
import functools
import http.client
import http.server
import json
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from provision.distribution import manifest, reports
from provision.distribution.reports import FOLDER, MAX_BYTES, FullError
from provision.distribution.source import Directory, Origin, SourceError, Web
from provision.errors import VerificationError

_LIST = (FOLDER, "")
_DIGITS = len(str(MAX_BYTES))


def status(source: Origin) -> list[dict[str, Any]]:
    """What each seat said last, from a folder or from the room's server.

    Raises:
        SourceError: it has no reports.
    """
    if isinstance(source, Directory):
        return reports.list_all(source.root)
    return read_rows(source.get(f"{FOLDER}/"))


def read_rows(answer: bytes) -> list[dict[str, Any]]:
    """The rows of a server's list of seats; what is no report is left out.

    Raises:
        SourceError: it is no list.
    """
    try:
        rows = reports.load(answer)
        if not isinstance(rows, list):
            raise ValueError("not a list")
    except ValueError as error:
        raise SourceError(f"the server's list of seats cannot be read: {error}") from error
    found = []
    for row in rows[: reports.MAX_SEATS]:
        with contextlib.suppress(ValueError):
            age = row.get("age") if isinstance(row, dict) else None
            known = {"age": age} if type(age) in (int, float) else {}
            found.append({**reports.check(row).values(), **known})
    return found


def report(source: Origin, name: str, **values: Any) -> None:
    """Tell the room how this seat is; where nobody takes reports, that is no failure."""
    if isinstance(source, Web):
        body = json.dumps(values).encode()
        try:
            source.once("PUT", f"{FOLDER}/{name}.json", body=body)
        except (OSError, http.client.HTTPException, SourceError):
            return
    elif isinstance(source, Directory):
        try:
            reports.keep(source.root, reports.check({**values, "name": name}))
        except (OSError, FullError):  # a share that only the teacher may write to
            return


def serve(root: Path, address: str = "", port: int = 8080) -> "Server":
    """Make the room's server; its ``serve_forever`` runs it.

    Args:
        root: the published folder.
        address: to listen on; every address of this host by default.
        port: TCP port; 0 for any.
    """
    return Server(root, address, port)


class Server(http.server.ThreadingHTTPServer):
    """The room's web server.

    Args:
        root: the published folder.
        address: to listen on.
        port: TCP port.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, root: Path, address: str, port: int) -> None:
        self.root = root
        self.sent = 0  # bytes of files; two threads may lose one of their additions
        self.keeping = threading.Lock()  # who counts the reports adds the next one, too
        super().__init__((address, port), functools.partial(_RoomHandler, directory=str(root)))


class _RoomHandler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    server: Server

    def do_GET(self) -> None:
        """Serve a file of the folder, or the list of seats."""
        if wanted_names(self.path) == _LIST:
            text = json.dumps(reports.list_all(self.server.root))
            self._answer(http.client.OK, text.encode())
        else:
            super().do_GET()

    def send_head(self) -> Any:
        """Open a published file, for GET and HEAD; never what is hidden, or a directory."""
        parts = wanted_names(self.path)
        if parts is None or not self.server.root.joinpath(*parts).is_file():
            self._answer(http.client.NOT_FOUND)
            return None
        return super().send_head()

    def translate_path(self, path: str) -> str:
        """Where a path of a request is; decoded once, by `wanted` alone."""
        return str(self.server.root.joinpath(*(wanted_names(path) or (".nothing",))))

    def do_PUT(self) -> None:
        """Take the report of a seat; its address is the one that it came from."""
        parts = wanted_names(self.path) or ()
        lengths = self.headers.get_all("Content-Length") or []
        length = lengths[0] if len(lengths) == 1 and "Transfer-Encoding" not in self.headers else ""
        if (
            len(parts) != 2
            or parts[0] != FOLDER
            or not parts[1].endswith(".json")
            or not (length.isascii() and length.isdecimal() and len(length) <= _DIGITS)
            or int(length) > MAX_BYTES
        ):
            code = http.HTTPStatus.BAD_REQUEST
        else:
            code = self._take(parts[1].removesuffix(".json"), int(length))
        self.close_connection |= code != http.HTTPStatus.NO_CONTENT  # its body may not be read
        self._answer(code)

    def _take(self, name: str, length: int) -> http.HTTPStatus:
        body = self.rfile.read(length)
        try:
            if len(body) < length:
                raise ValueError("the connection ended before")
            found = reports.parse(body, name, str(self.client_address[0]))
            with self.server.keeping:
                reports.keep(self.server.root, found)
        except ValueError:
            return http.HTTPStatus.BAD_REQUEST
        except (FullError, OSError):
            return http.HTTPStatus.INSUFFICIENT_STORAGE
        return http.HTTPStatus.NO_CONTENT

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send a file and count it."""
        while data := source.read(1 << 20):
            self.server.sent += len(data)
            outputfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: a chunk is no news."""

    def _answer(self, code: int, body: bytes = b"") -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def wanted_names(path: str) -> tuple[str, ...] | None:
    """The names on the way to what a request asks for; None: nothing that is published.

    Each name is decoded once, and must be one that a published file may have: so nothing hidden,
    no way up, no separator, encoded or of another system, and nothing that is encoded still.

    Args:
        path: as the request has it. ``seats/`` ends in an empty name.
    """
    plain = path.partition("?")[0].partition("#")[0]
    try:
        first, *names = (unquote_to_bytes(part).decode("ascii") for part in plain.split("/"))
        if first or not names:
            return None
        for name in names[:-1] if tuple(names) == _LIST else names:
            manifest.checked_name(name)
    except (UnicodeDecodeError, VerificationError):
        return None
    return tuple(names)
