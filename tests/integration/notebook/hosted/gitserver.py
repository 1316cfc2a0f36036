"""A git server on this host's loopback: git's own http-backend, with a password for pushing."""

import base64
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from guest import Guest

from provision.machine.ports import free_port

GIT_PORT = free_port()
PASSWORD = "emmy:token-of-emmy"  # noqa: S105 - a test's
TEACHER = ("-c", "user.name=Teacher", "-c", "user.email=teacher@school.test")


@contextmanager
def git_server(root: Path, port: int) -> Iterator[Path]:
    """Serve a new repository, ``course.git``, that has a notebook on its branch main.

    Args:
        root: an empty directory for it.
        port: on loopback.
    """
    bare, work = root / "course.git", root / "work"
    _git("init", "-q", "--bare", "-b", "main", str(bare))
    _git("-C", str(bare), "config", "http.receivepack", "true")
    _git("clone", "-q", str(bare), str(work))
    (work / "lesson.ipynb").write_text(
        '{"cells": [{"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Rings"}],'
        ' "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    )
    _git("-C", str(work), "add", ".")
    _git("-C", str(work), *TEACHER, "commit", "-qm", "First lesson")
    _git("-C", str(work), "push", "-q", "origin", "HEAD:main")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            pushes = "receive-pack" in self.path
            given = self.headers.get("Authorization", "").removeprefix("Basic ")
            if pushes and base64.b64decode(given or b"").decode() != PASSWORD:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.end_headers()
                return
            length = int(self.headers.get("Content-Length") or 0)
            env = {
                **{"GIT_PROJECT_ROOT": str(root), "GIT_HTTP_EXPORT_ALL": "1"},
                **{"PATH_INFO": url.path, "QUERY_STRING": url.query, "REMOTE_USER": "emmy"},
                **{"REQUEST_METHOD": self.command, "CONTENT_LENGTH": str(length)},
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "PATH": os.environ["PATH"],
            }
            body = self.rfile.read(length)
            done = subprocess.run(
                ["git", "http-backend"], input=body, env=env, capture_output=True, check=False
            )
            head, _, rest = done.stdout.partition(b"\r\n\r\n")
            fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n") if line)
            self.send_response(int(fields.pop(b"Status", b"200").split()[0]))
            for name, value in fields.items():
                self.send_header(name.decode(), value.decode())
            self.end_headers()
            self.wfile.write(rest)

        do_POST = do_GET

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield bare
    finally:
        server.shutdown()
        server.server_close()


def name_it(hosted: Guest) -> None:
    """Give a guest names that lead to this host's loopback: one that sessions reach, one not."""
    hosted.run(
        "grep -q git.school.test /etc/hosts ||"
        f" (echo {hosted.gateway()} git.school.test other.school.test >> /etc/hosts;"
        " systemctl restart notebook-egress)"
    )


def further_lesson(
    bare: Path,
    files: Mapping[str, str] | None = None,
    *,
    moved: Mapping[str, str] | None = None,
    removed: Sequence[str] = (),
) -> None:
    """Let the teacher change the repository.

    Args:
        bare: from ``git_server``.
        files: are added, by name; not given: one.
        moved: are called otherwise.
        removed: are not there any more.
    """
    folder = bare.parent / "work"
    work = str(folder)
    _git("-C", work, "pull", "-q", "origin", "main")
    for name in removed:
        _git("-C", work, "rm", "-qr", name)
    for name, other in (moved or {}).items():
        _git("-C", work, "mv", name, other)
    for name, content in ({"further.txt": "Fields\n"} if files is None else files).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    _git("-C", work, "add", ".")
    _git("-C", work, *TEACHER, "commit", "-qm", "Further lesson")
    _git("-C", work, "push", "-q", "origin", "HEAD:main")


def _git(*words: str) -> None:
    subprocess.run(["git", *words], check=True, capture_output=True)
