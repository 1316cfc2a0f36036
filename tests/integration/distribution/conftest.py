"""Fixtures: published folders, a web server, and a real VirtualBox of each test's own."""

import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from publishing import Publisher, Room, Server, disk, tree

from provision.distribution.publication import DiskImage, Publication
from provision.ova import minisign
from vbox import VBoxManage

_spec = importlib.util.spec_from_file_location(
    "virtualbox_fixtures", Path(__file__).parents[1] / "vbox/conftest.py"
)
assert _spec and _spec.loader
_virtualbox = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_virtualbox)
fetched, vbox_home, manage = _virtualbox.fetched, _virtualbox.vbox_home, _virtualbox.manage
driverless_program, running_manage = _virtualbox.driverless_program, _virtualbox.running_manage


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[DiskImage]]:
    """Root and home of the versions 1, 2 and 3."""
    base = tmp_path_factory.mktemp("disks")
    made = {}
    for version in (1, 2, 3):
        root = disk(tree(base / f"root{version}", version=version), base / f"root{version}.raw")
        content = base / f"home{version}"
        content.mkdir()
        (content / "skeleton").write_text(f"of version {version}\n")
        home = disk(content, base / f"home{version}.raw", size="64M")
        made[version] = [DiskImage("root", root, keep=False), DiskImage("home", home, keep=True)]
    return made


@pytest.fixture
def publisher(tmp_path: Path, images: dict[int, list[DiskImage]]) -> Publisher:
    secret = tmp_path / "secret.key"
    public = tmp_path / "minisign.pub"
    public.write_text(minisign.generate(secret).text())
    return Publisher(Publication(tmp_path / "published"), secret, public, images)


@pytest.fixture
def serve() -> Iterator[Callable[[Path], Server]]:
    servers: list[Server] = []

    def start(root: Path) -> Server:
        server = Server(root)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def room(publisher: Publisher, manage: VBoxManage, tmp_path: Path) -> Room:
    """A seat with a VirtualBox, and somebody who publishes for it."""
    return Room(publisher, manage, tmp_path / "seat")


@pytest.fixture
def seat(room: Room) -> Room:
    """The same, where ``room`` is the module."""
    return room
