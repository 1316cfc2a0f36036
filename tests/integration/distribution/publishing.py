"""Small real ext4 disks in several versions, a publisher, a folder behind HTTP."""

import contextlib
import filecmp
import functools
import http.server
import json
import os
import random
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.config import Config
from provision.config.architectures import Name
from provision.distribution.installed import Installed
from provision.distribution.manifest import definition
from provision.distribution.packs import divide
from provision.distribution.publication import DiskImage, Publication, Published
from provision.distribution.pull import Pulled, pull
from provision.distribution.pull import open_installed as find_installed
from provision.distribution.source import open_source
from provision.machine.virtualbox import VirtualBox
from provision.process import require
from vbox import VBoxManage


def tree(place: Path, *, version: int, files: int = 60) -> Path:
    """Files of half compressible content; each further version renews one in thirty."""
    for number in range(files):
        renewed = version if number % 30 == 0 else 1
        source = random.Random(f"{number}-{renewed}")  # noqa: S311 (content for a test)
        half = source.randbytes(source.randint(20_000, 200_000))
        path = place / f"usr/lib/{number % 7}" / f"file{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(half + b"text " * (len(half) // 5))
    (place / "version").write_text(f"{version}\n")
    return place


def disk(place: Path, image: Path, *, size: str = "96M") -> Path:
    """An ext4 image of a tree; the same tree gives the same bytes."""
    command = [
        require("mke2fs", "e2fsprogs"), "-q", "-t", "ext4", "-b", "4096", "-d", str(place),
        "-U", "6d3b1c8a-0d4e-4b5a-9d0b-3a0f9a1d2b11",
        "-E", "hash_seed=6d3b1c8a-0d4e-4b5a-9d0b-3a0f9a1d2b11,root_owner=0:0",
        str(image), size,
    ]  # fmt: skip
    for path in (place, *place.rglob("*")):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    subprocess.run(command, check=True, env={"E2FSPROGS_FAKE_TIME": "1700000000"})
    return image


def sbom(**versions: str) -> str:
    """A bill of materials with these Debian packages."""
    parts = [
        {"name": name, "version": version, "purl": f"pkg:deb/debian/{name}@{version}"}
        for name, version in versions.items()
    ]
    return json.dumps({"components": parts})


@dataclass(frozen=True)
class Publisher:
    """A published folder with the key that signs it."""

    publication: Publication
    secret: Path
    public: Path
    images: dict[int, list[DiskImage]]

    @property
    def root(self) -> Path:
        return self.publication.root

    def publish(self, version: int, channel: str = "stable", arch: Name | None = None) -> Published:
        config = Config(name="sage", version=f"1.{version}", arch=arch)
        return self.publication.publish(
            self.images[version],
            definition=definition(config),
            sbom=sbom(bash=f"5.{version}", **({"nano": "8"} if version > 1 else {})),
            secret=self.secret,
            channel_name=channel,
        )

    def packs_size(self, *names: str) -> int:
        """Bytes of the packs of these disks, or of all: what who has nothing needs of a server."""
        version, described = self.publication.versions()[-1]
        packs = {
            pack.path
            for disk in described.disks
            if disk.name in names or not names
            for pack in divide(self.publication.pieces(version, disk))
        }
        return sum((self.root / path).stat().st_size for path in packs)


@dataclass(frozen=True)
class Room:
    """One seat: its folder and its VirtualBox."""

    publisher: Publisher
    manage: VBoxManage
    folders: Path

    def pull(self, place: str | None = None, **options: Any) -> Pulled:
        self.folders.mkdir(exist_ok=True)
        options.setdefault("key", self.publisher.public)
        return pull(
            open_source(place or str(self.publisher.root)), self.folders, self.hypervisor, **options
        )

    @property
    def hypervisor(self) -> VirtualBox:
        return VirtualBox(self.manage)

    @property
    def here(self) -> Installed:
        return find_installed(self.folders, self.hypervisor, "sage")

    def root(self) -> Path:
        """The untouched image below the VM's root disk."""
        return self.here.bases()[0]

    def assert_version(self, version: int) -> None:
        """The VM's root disk is exactly the published one, and VirtualBox can read it."""
        raw = self.folders / "check.raw"
        raw.unlink(missing_ok=True)
        live = self.here.machine.get().attachments[0].medium
        self.manage.run("clonemedium", "disk", str(live), str(raw), "--format", "RAW")
        self.manage.run("closemedium", "disk", str(raw))
        same = filecmp.cmp(raw, self.publisher.images[version][0].raw, shallow=False)
        raw.unlink()
        assert same, f"the VM's root disk is not version {version}"


class Server(http.server.ThreadingHTTPServer):
    """A web server that counts, and that a test may break."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, root: Path, address: str = "127.0.0.1") -> None:
        super().__init__((address, 0), functools.partial(_Handler, directory=str(root)))
        self.bytes = self.promised = 0
        self.requests: list[str] = []
        self.die_after: int | None = None
        self.pause = 0.0  # seconds before each answer
        self.busy = self.most_busy = 0  # answers at once
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}"


class _Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.requests.append(self.path)
            limit = self.server.die_after
            if limit is not None:  # by what it has begun to answer: some are answered at once
                if self.server.promised > limit:
                    self.close_connection = True
                    return
                with contextlib.suppress(OSError):
                    self.server.promised += Path(self.translate_path(self.path)).stat().st_size
            self.server.busy += 1
            self.server.most_busy = max(self.server.most_busy, self.server.busy)
        time.sleep(self.server.pause)
        super().do_GET()
        with self.server.lock:
            self.server.busy -= 1

    def copyfile(self, source: object, outputfile: object) -> None:
        data = source.read()  # type: ignore[attr-defined]
        with self.server.lock:
            self.server.bytes += len(data)
        outputfile.write(data)  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: object) -> None:
        pass
