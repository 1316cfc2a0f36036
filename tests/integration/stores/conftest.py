"""A student's home and real servers on loopback, without a guest: seconds."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.machine.ports import free_port
from provision.process import require

sys.path.insert(0, str(Path(__file__).parent))

from storehome import PASSWORD, USER, Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    require("rclone", "rclone")
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home")


@pytest.fixture
def dav(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """rclone's own WebDAV server, with a password: its address and its directory."""
    root, port = tmp_path / "dav", free_port()
    root.mkdir()
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
            yield f"http://127.0.0.1:{port}", root
        finally:
            server.kill()
