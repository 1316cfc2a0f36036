"""A real WebDAV server with a password, on loopback."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from provision.machine.ports import free_port
from provision.process import require
from tests.integration.waiting import until_it_listens

HOSTED_PORT = free_port()  # the one that the hosted sessions' proxy lets through
USER, PASSWORD = "emmy", "password-of-emmy"


@contextmanager
def webdav(root: Path, port: int) -> Iterator[None]:
    """Serve a directory by rclone's own server."""
    argv = [require("rclone", "rclone"), "serve", "webdav", str(root), "--dir-cache-time", "0s"]
    argv += ["--addr", f"127.0.0.1:{port}", "--user", USER, "--pass", PASSWORD]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            until_it_listens(server, port)
            yield
        finally:
            server.kill()
