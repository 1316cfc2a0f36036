"""Small real ext4 disks in two versions, a publisher's key, a folder behind HTTP."""

import functools
import http.server
import json
import os
import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from provision.config import Config
from provision.distribution.manifest import definition
from provision.distribution.publication import Image, Publication, Published
from provision.ova import minisign
from provision.process import require

MIB = 1 << 20


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


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[Image]]:
    """Root and home of the versions 1, 2 and 3."""
    base = tmp_path_factory.mktemp("disks")
    made = {}
    for version in (1, 2, 3):
        root = disk(tree(base / f"root{version}", version=version), base / f"root{version}.raw")
        content = base / f"home{version}"
        content.mkdir()
        (content / "skeleton").write_text(f"of version {version}\n")
        home = disk(content, base / f"home{version}.raw", size="64M")
        made[version] = [Image("root", root, keep=False), Image("home", home, keep=True)]
    return made


@dataclass(frozen=True)
class Publisher:
    """A published folder with the key that signs it."""

    publication: Publication
    secret: Path
    public: Path
    images: dict[int, list[Image]]

    @property
    def root(self) -> Path:
        return self.publication.root

    def publish(self, version: int, channel: str = "stable") -> Published:
        config = Config(name="sage", version=f"1.{version}")
        return self.publication.publish(
            self.images[version],
            definition=definition(config),
            sbom=sbom(bash=f"5.{version}", **({"nano": "8"} if version > 1 else {})),
            secret=self.secret,
            channel_name=channel,
        )


@pytest.fixture
def publisher(tmp_path: Path, images: dict[int, list[Image]]) -> Publisher:
    secret = tmp_path / "secret.key"
    public = tmp_path / "minisign.pub"
    public.write_text(minisign.generate(secret).text())
    return Publisher(Publication(tmp_path / "published"), secret, public, images)


class Server(http.server.ThreadingHTTPServer):
    """A web server that counts, and that a test may break."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, root: Path, address: str = "127.0.0.1") -> None:
        super().__init__((address, 0), functools.partial(_Handler, directory=str(root)))
        self.bytes = 0
        self.requests: list[str] = []
        self.die_after: int | None = None
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
            if limit is not None and self.server.bytes > limit:
                self.close_connection = True
                return
        super().do_GET()

    def copyfile(self, source: object, outputfile: object) -> None:
        data = source.read()  # type: ignore[attr-defined]
        with self.server.lock:
            self.server.bytes += len(data)
        outputfile.write(data)  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: object) -> None:
        pass


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
