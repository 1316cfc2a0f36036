"""A real VirtualBox, fetched once per user, with a private home for each test."""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "virtualbox"))

import driverless

from vbox import VBoxManage, portable


@pytest.fixture(scope="session")
def fetched() -> VBoxManage:
    """The real VirtualBox without a driver, from the user's cache."""
    return portable.fetch()


@pytest.fixture(scope="session")
def driverless_program(
    fetched: VBoxManage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A copy of it that starts VMs."""
    with _beside(fetched.path.parent) as directory:
        yield driverless.make(fetched.path.parent, directory / "driverless")


@contextlib.contextmanager
def _beside(original: Path) -> Iterator[Path]:
    """A directory on the same file system, for hard links."""
    directory = Path(tempfile.mkdtemp(prefix="test-", dir=original.parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class Home:
    """One private VirtualBox: its own registry, its own service."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = f"test-{uuid.uuid4().hex[:12]}"
        self.env = {
            "VBOX_USER_HOME": str(path / "home"),
            "VBOX_IPC_SOCKETID": self.socket,
            "HOME": str(path),
        }

    def manage(self, program: Path) -> VBoxManage:
        return VBoxManage(program, env=self.env)

    def processes(self) -> list[int]:
        """Every process of this VirtualBox, told by its environment."""
        mark = f"VBOX_IPC_SOCKETID={self.socket}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return [pid for pid in found if pid != os.getpid()]

    def close(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + 3
            while (left := self.processes()) and time.monotonic() < deadline:
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
                time.sleep(0.1)
        for directory in Path("/tmp").glob(f".vbox-{self.socket}-ipc"):
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def vbox_home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    home.close()


@pytest.fixture
def manage(vbox_home: Home, fetched: VBoxManage) -> VBoxManage:
    """A real VBoxManage with an empty registry; it cannot start VMs."""
    return vbox_home.manage(fetched.path)


@pytest.fixture
def running_manage(vbox_home: Home, driverless_program: Path) -> VBoxManage:
    """The same, able to start VMs."""
    return vbox_home.manage(driverless_program)


@pytest.fixture(scope="session")
def tiny_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return driverless.tiny_guest(tmp_path_factory.mktemp("guest") / "tiny.img")


@pytest.fixture
def tiny_disk(tiny_image: Path, tmp_path: Path, fetched: VBoxManage, vbox_home: Home) -> Path:
    """The tiny guest's disk as VDI."""
    target = tmp_path / "tiny.vdi"
    vbox_home.manage(fetched.path).run("convertfromraw", str(tiny_image), str(target))
    return target


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], object]:
    """Wait for something to become true."""

    def wait(what: Callable[[], object], seconds: float = 15) -> object:
        deadline = time.monotonic() + seconds
        while not (result := what()):
            assert time.monotonic() < deadline, "did not happen in time"
            time.sleep(0.05)
        return result

    return wait
