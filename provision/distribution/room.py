"""The room: a web server for a published folder that also knows how each seat is.

Any web server can serve the folder; this one adds ``seats/``: a seat PUTs its report there, and
everybody GETs the list. The reports are files in the folder, so they outlive the server.
"""

import functools
import http.client
import http.server
import json
import time
from pathlib import Path
from typing import Any

from provision.distribution import manifest
from provision.distribution.chunks import write_whole
from provision.distribution.source import Directory, Source, SourceError, Web
from provision.errors import VerificationError

SEATS = "seats"
STALE_SECONDS = 30.0  # a seat that shares reports every second
MAX_REPORT = 4096
_HIDDEN = ("/.", "/%2e")


def reports(root: Path) -> list[dict[str, Any]]:
    """What each seat said last, by name; a seat that went silent shares no more."""
    found = []
    for path in sorted((root / SEATS).glob("[!.]*.json")):
        row = json.loads(path.read_text())
        row["age"] = max(0.0, round(time.time() - path.stat().st_mtime, 1))
        if row["age"] > STALE_SECONDS:
            row["port"] = None
            row["state"] = "lost" if row.get("state") == "pulling" else row.get("state")
        found.append(row)
    return found


def status(source: Source) -> list[dict[str, Any]]:
    """What each seat said last, from a folder or from the room's server.

    Raises:
        SourceError: it has no reports.
    """
    if isinstance(source, Directory):
        return reports(source.root)
    rows: list[dict[str, Any]] = json.loads(source.get(f"{SEATS}/"))
    return rows


def report(source: Source, name: str, **values: Any) -> None:
    """Tell the room how this seat is; where nobody takes reports, that is no failure."""
    if isinstance(source, Web):
        body = json.dumps(values).encode()
        try:
            source.once("PUT", f"{SEATS}/{name}.json", body=body)
        except (OSError, http.client.HTTPException, SourceError):
            return
    elif isinstance(source, Directory):
        try:
            _keep(source.root, name, values)
        except OSError:  # a share that only the teacher may write to
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
        super().__init__((address, port), functools.partial(_Handler, directory=str(root)))


class _Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    server: Server

    def do_GET(self) -> None:
        """Serve a file of the folder, or the list of seats; never what is hidden or a listing."""
        if self.path == f"/{SEATS}/":
            self._answer(http.client.OK, json.dumps(reports(self.server.root)).encode())
        elif self.path.endswith("/") or any(part in self.path.lower() for part in _HIDDEN):
            self._answer(http.client.NOT_FOUND)
        else:
            super().do_GET()

    def do_PUT(self) -> None:
        """Take the report of a seat; its address is the one that it came from."""
        length = int(self.headers.get("Content-Length") or 0)
        try:
            _, folder, file = self.path.split("/")
            name = manifest.checked_name(file.removesuffix(".json"))
            if folder != SEATS or not 0 < length <= MAX_REPORT:
                raise ValueError(self.path)
            values = json.loads(self.rfile.read(length))
            values["address"] = str(self.client_address[0])
            _keep(self.server.root, name, values)
        except (ValueError, TypeError, VerificationError):
            self.close_connection = True
            self._answer(http.client.BAD_REQUEST)
        else:
            self._answer(http.client.NO_CONTENT)

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
        self.end_headers()
        self.wfile.write(body)


def _keep(root: Path, name: str, values: dict[str, Any]) -> None:
    text = json.dumps({**values, "name": name}, sort_keys=True)
    write_whole(root / SEATS / f"{manifest.checked_name(name)}.json", text.encode())
