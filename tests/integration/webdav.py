"""A real WebDAV server with a password, on loopback."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from provision.machine.ports import free_port
from provision.process import require

HOSTED_PORT = free_port()  # the one that the hosted sessions' proxy lets through
USER, PASSWORD = "emmy", "password-of-emmy"


@contextmanager
def webdav(root: Path, port: int) -> Iterator[None]:
    """Serve a directory by rclone's own server."""
    argv = [require("rclone", "rclone"), "serve", "webdav", str(root), "--dir-cache-time", "0s"]
    argv += ["--addr", f"127.0.0.1:{port}", "--user", USER, "--pass", PASSWORD]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 120
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 5).close()
                    break
                except OSError:
                    assert server.poll() is None and time.monotonic() < deadline
                    time.sleep(0.1)
            yield
        finally:
            server.kill()
