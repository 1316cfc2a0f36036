"""A cloud image as the way in: fetched and checked, converted, and opened by its NoCloud seed."""

import contextlib
import hashlib
import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from provision.errors import HostNotReadyError, UsageError
from provision.jeos import cloud
from provision.machine import keys
from provision.machine.qemu import QemuMachine, disk_path
from provision.machine.ssh import connect, execute

CONTENT = os.urandom(3 << 20)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
BUS: Literal["virtio"] = "virtio"  # kernels for clouds know no other
HOME = "44444444-4444-4444-8444-444444444444"


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT, understands ranges, and breaks off after ``most`` bytes of each answer."""

    most = len(CONTENT)

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/image.qcow2"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.path != "/image.qcow2":
            self.send_error(404)
            return
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if begin >= len(CONTENT):
            self.send_error(416)
            return
        rest = CONTENT[begin:]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: self.server.most])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def test_a_download_is_kept_under_its_checksum(server: Server, tmp_path: Path) -> None:
    image = cloud.fetch(server.url, SHA256, tmp_path)
    assert image.read_bytes() == CONTENT
    assert cloud.fetch(server.url, SHA256, tmp_path) == image
    assert len(server.ranges) == 1


def test_a_download_that_breaks_off_goes_on_where_it_ended(server: Server, tmp_path: Path) -> None:
    server.most = 1 << 20
    assert cloud.fetch(server.url, SHA256, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={1 << 20}-", f"bytes={2 << 20}-"]


def test_a_download_that_was_given_up_is_resumed_by_the_next_build(
    server: Server, tmp_path: Path
) -> None:
    server.most = 100_000
    with pytest.raises(HostNotReadyError, match="broke off"):
        cloud.fetch(server.url, SHA256, tmp_path)
    server.most = len(CONTENT)
    server.ranges.clear()
    assert cloud.fetch(server.url, SHA256, tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=500000-"]


def test_a_wrong_checksum_leaves_nothing_behind(server: Server, tmp_path: Path) -> None:
    with pytest.raises(cloud.WrongImageError, match=SHA256):
        cloud.fetch(server.url, "0" * 64, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_image_and_a_silent_server_are_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(HostNotReadyError, match="404"):
        cloud.fetch(server.url.replace("image", "other"), SHA256, tmp_path)
    server.shutdown()
    server.server_close()
    with pytest.raises(HostNotReadyError, match="cannot be downloaded"):
        cloud.fetch(server.url, SHA256, tmp_path)


@pytest.mark.parametrize("form", ["qcow2", "vmdk", "vdi", "raw"])
def test_every_format_becomes_the_same_larger_disk(form: str, tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(CONTENT)
    image = tmp_path / f"image.{form}"
    subprocess.run(
        ["qemu-img", "convert", "-f", "raw", "-O", form, tmp_path / "disk", image], check=True
    )
    cloud.to_raw(image, tmp_path / "root.raw", 64 << 20)
    disk = (tmp_path / "root.raw").read_bytes()
    assert disk[: len(CONTENT)] == CONTENT
    assert len(disk) == 64 << 20
    assert not any(disk[len(CONTENT) :])


def test_an_image_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "i", "8M"], check=True)
    with pytest.raises(UsageError, match="GiB"):
        cloud.to_raw(tmp_path / "i", tmp_path / "root.raw", 4 << 20)
    assert not (tmp_path / "root.raw").exists()


def test_an_image_that_needs_another_is_refused(tmp_path: Path) -> None:
    for argv in (["-f", "qcow2", "base", "8M"], ["-f", "qcow2", "-F", "qcow2", "-b", "base", "i"]):
        subprocess.run(["qemu-img", "create", "-q", *argv], cwd=tmp_path, check=True)
    with pytest.raises(UsageError, match="needs another image"):
        cloud.to_raw(tmp_path / "i", tmp_path / "root.raw", 1 << 30)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_cloud_image_is_opened_by_its_seed(cloud_image: Path, tmp_path: Path) -> None:
    root, home, seed = (tmp_path / name for name in ("root.raw", "home.raw", "seed.iso"))
    public = keys.generate(tmp_path / "key", comment="build")
    cloud.to_raw(cloud_image, root, 5 << 30)
    with home.open("wb") as file:
        file.truncate(1 << 30)
    data = cloud.DataDisk(disk_path(1, BUS), HOME, "home", "/home", 1.0)
    cloud.write_seed(seed, name="from-a-cloud", keys=[public], disks=[data])
    machine = QemuMachine([root, home], key=tmp_path / "key", write=True, seed=seed, bus=BUS)
    with machine, contextlib.closing(connect(machine.start())) as client:

        def ask(command: str) -> str:
            return execute(client, command).stdout.strip()

        ask("while ! [ -e /etc/cloud/cloud-init.disabled ]; do sleep 1; done")
        assert ask("hostname") == "from-a-cloud"
        assert ask("findmnt -no UUID,FSTYPE /home").split() == [HOME, "ext4"]
        assert int(ask("df --output=size -B1M / | tail -1")) > 4500
        assert "nofail" in ask("grep /home /etc/fstab")
    before = root.stat().st_mtime_ns
    again = QemuMachine([root, home], key=tmp_path / "key", bus=BUS)
    with again, contextlib.closing(connect(again.start())) as client:
        assert "disabled" in execute(client, "cloud-init status").stdout
    assert root.stat().st_mtime_ns == before
