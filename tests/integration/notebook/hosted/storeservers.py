"""A store on this host's loopback, at a port that the sessions' proxy lets through."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from provision.machine.ports import free_port
from provision.process import require

WEBDAV_PORT = free_port()
USER, PASSWORD = "emmy", "password-of-emmy"


@contextmanager
def webdav(root: Path) -> Iterator[None]:
    """Serve a directory by rclone's own WebDAV server, with a password."""
    argv = [require("rclone", "rclone"), "serve", "webdav", str(root)]
    argv += ["--addr", f"127.0.0.1:{WEBDAV_PORT}", "--dir-cache-time", "0s"]
    argv += ["--user", USER, "--pass", PASSWORD]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", WEBDAV_PORT), 5).close()
                    break
                except OSError:
                    assert server.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            yield
        finally:
            server.kill()
