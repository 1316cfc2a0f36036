"""A web server that knows ranges, also several at once as zsync asks for them, and counts.

web.py PORT --bind ADDRESS --directory ROOT: the same as a program.
"""

import argparse
import functools
import http.server
from pathlib import Path
from typing import BinaryIO


class Counting(http.server.SimpleHTTPRequestHandler):
    """Serves files; ``sent`` is how many bytes of them went out."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    sent = 0

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        if not wanted.startswith("bytes="):
            return super().do_GET()
        path = Path(self.translate_path(self.path))
        whole = path.stat().st_size
        spans = [
            (int(first), min(int(last or whole - 1), whole - 1))
            for first, _, last in (part.partition("-") for part in wanted[6:].split(","))
        ]
        with path.open("rb") as file:
            parts = []
            for first, last in spans:
                file.seek(first)
                parts.append((f"bytes {first}-{last}/{whole}", file.read(last - first + 1)))
        kind, body = "application/octet-stream", parts[0][1]
        if len(parts) > 1:
            kind = "multipart/byteranges; boundary=BOUNDARY"
            body = (
                b"".join(
                    b"\r\n--BOUNDARY\r\nContent-Range: " + span.encode() + b"\r\n\r\n" + data
                    for span, data in parts
                )
                + b"\r\n--BOUNDARY--\r\n"
            )
        self.send_response(206)
        self.send_header("Content-Type", kind)
        if len(parts) == 1:
            self.send_header("Content-Range", parts[0][0])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        Counting.sent += len(body)
        self.wfile.write(body)
        return None

    def copyfile(self, source: BinaryIO, outputfile: BinaryIO) -> None:  # type: ignore[override]
        while data := source.read(1 << 20):
            Counting.sent += len(data)
            outputfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    """A room that asks all at once."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, root: Path, address: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((address, port), functools.partial(Counting, directory=str(root)))

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--bind", required=True)
    parser.add_argument("--directory", type=Path, required=True)
    given = parser.parse_args()
    Server(given.directory, given.bind, given.port).serve_forever()
