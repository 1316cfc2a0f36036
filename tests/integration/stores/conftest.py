"""A student's home and real servers on loopback, without a guest: seconds."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.machine.ports import free_port
from provision.process import require

sys.path.insert(0, str(Path(__file__).parent))

from storehome import Home

from tests.integration.webdav import webdav


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
    with webdav(root, port):
        yield f"http://127.0.0.1:{port}", root
