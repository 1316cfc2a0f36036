"""An update to one seat: ours against plain HTTP, zsync and casync, on the same pair of disks.

The pair is a root file system made twice by mke2fs, as a build does, with two files in a hundred
renewed; every program gets the old disk and a web server with the new one.
"""

import contextlib
import functools
import http.server
import os
import random
import shutil
import subprocess
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from provision.distribution import chunks
from provision.distribution.assemble import Seed, assemble
from provision.distribution.manifest import read_pieces
from provision.distribution.publication import Image, Publication
from provision.distribution.source import Web
from provision.ova import minisign
from provision.process import require

CONTENT = 300_000_000  # bytes of files, all of them this host's own programs
SIZE = "2G"
SHARE = 0.15  # of the full download that an update may take
IDENTITY = "6d3b1c8a-0d4e-4b5a-9d0b-3a0f9a1d2b11"


def _tree(place: Path, content: int = CONTENT) -> Path:
    taken = 0
    for path in sorted(Path("/usr/lib").rglob("*")):
        if taken >= content:
            break
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 20_000_000:
            copy = place / path.relative_to("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            taken += path.stat().st_size
    assert taken >= content * 0.9, "this host's /usr/lib is too small for the benchmark"
    return place


def _renew(place: Path) -> None:
    """Change two files in a hundred as a new build of them does: length and bytes all over."""
    source = random.Random(7)  # noqa: S311 (content for a benchmark)
    files = sorted(path for path in place.rglob("*") if path.is_file())
    for path in source.sample(files, len(files) // 50):
        content = bytearray(path.read_bytes())
        content[len(content) // 2 : len(content) // 2] = source.randbytes(source.randint(1, 3000))
        for position in range(0, len(content), 500):
            content[position] = source.randrange(256)
        path.write_bytes(content)


def _disk(tree: Path, image: Path) -> Path:
    for path in (tree, *tree.rglob("*")):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    subprocess.run(
        [
            require("mke2fs", "e2fsprogs"), "-q", "-t", "ext4", "-b", "4096", "-d", tree,
            "-U", IDENTITY, "-E", f"hash_seed={IDENTITY},root_owner=0:0", image, SIZE,
        ],
        check=True, env={"E2FSPROGS_FAKE_TIME": "1700000000"}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return image


class _Counting(http.server.SimpleHTTPRequestHandler):
    """Serves files, with ranges (zsync asks for several at once), and counts what it sends."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    sent = 0

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        if not wanted.startswith("bytes="):
            return super().do_GET()
        path = Path(self.translate_path(self.path))
        whole = path.stat().st_size
        spans = [
            (int(first), min(int(last or whole - 1), whole - 1))
            for first, _, last in (part.partition("-") for part in wanted[6:].split(","))
        ]
        with path.open("rb") as file:
            parts = []
            for first, last in spans:
                file.seek(first)
                parts.append((f"bytes {first}-{last}/{whole}", file.read(last - first + 1)))
        kind, body = "application/octet-stream", parts[0][1]
        if len(parts) > 1:
            kind = "multipart/byteranges; boundary=BOUNDARY"
            body = (
                b"".join(
                    b"\r\n--BOUNDARY\r\nContent-Range: " + span.encode() + b"\r\n\r\n" + data
                    for span, data in parts
                )
                + b"\r\n--BOUNDARY--\r\n"
            )
        self.send_response(206)
        self.send_header("Content-Type", kind)
        if len(parts) == 1:
            self.send_header("Content-Range", parts[0][0])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        type(self).sent += len(body)
        self.wfile.write(body)
        return None

    def copyfile(self, source: object, outputfile: object) -> None:
        while data := source.read(1 << 20):  # type: ignore[attr-defined]
            type(self).sent += len(data)
            outputfile.write(data)  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: object) -> None:
        pass


@dataclass
class Pair:
    """Old and new disk, and a folder behind HTTP."""

    base: Path
    old: Path
    new: Path
    url: str


@contextlib.contextmanager
def served(base: Path) -> Iterator[str]:
    """A web server on ``web`` below a directory."""
    (base / "web").mkdir()
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Counting, directory=str(base / "web"))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    base = tmp_path_factory.mktemp("distribution")
    tree = _tree(base / "tree")
    old = _disk(tree, base / "old.raw")
    _renew(tree)
    new = _disk(tree, base / "new.raw")
    shutil.rmtree(tree)
    with served(base) as url:
        yield Pair(base, old, new, url)
    shutil.rmtree(base)


def _measured(work: Callable[[], object]) -> tuple[float, int]:
    """Seconds, and bytes out of the server."""
    _Counting.sent = 0
    begun = time.monotonic()
    work()
    return time.monotonic() - begun, _Counting.sent


def _ours(pair: Pair) -> tuple[tuple[float, int], tuple[float, int]]:
    """Our first install and our update."""
    secret = pair.base / "secret.key"
    minisign.generate(secret)
    publication = Publication(pair.base / "web")
    for number, raw in enumerate((pair.old, pair.new), 1):
        publication.publish(
            [Image("root", raw, keep=False)],
            definition={"name": "bench", "version": str(number)},
            sbom='{"components": []}',
            secret=secret,
        )
    source = Web(pair.url)
    seeds: list[Seed] = []

    def install(number: int) -> None:
        name, described = publication.versions()[number]
        disk = described.disks[0]
        pieces = read_pieces(source.get(f"versions/{name}/{disk.pieces_file}"))
        target = pair.base / f"{number}/root.vdi"
        assemble(
            disk, pieces, target, identity=uuid.uuid4(), seeds=seeds,
            fetch=lambda piece: chunks.decompress(
                source.get(f"chunks/{chunks.relative(piece.name)}"), piece.name
            ),
        )  # fmt: skip
        seeds.append(Seed(target, pieces))

    return _measured(lambda: install(0)), _measured(lambda: install(1))


def _plain(pair: Pair) -> tuple[float, int]:
    packed = pair.base / "web/new.raw.zst"
    subprocess.run([require("zstd", "zstd"), "-q", "-9", "-T2", pair.new, "-o", packed], check=True)

    def download() -> None:
        urllib.request.urlretrieve(f"{pair.url}/{packed.name}", pair.base / packed.name)
        unpack = ["zstd", "-q", "-d", "-f", "--sparse", pair.base / packed.name]
        subprocess.run([*unpack, "-o", pair.base / "plain.raw"], check=True)

    return _measured(download)


def _zsync(pair: Pair) -> tuple[float, int]:
    raw = pair.base / "web/new.raw"
    os.link(pair.new, raw)
    make, get = require("zsyncmake", "zsync"), require("zsync", "zsync")
    subprocess.run(
        [make, "-u", f"{pair.url}/new.raw", "-o", "new.zsync", "new.raw"],
        cwd=raw.parent, check=True, capture_output=True,
    )  # fmt: skip
    return _measured(
        lambda: subprocess.run(
            [get, "-q", "-i", pair.old, "-o", pair.base / "zsync.raw", f"{pair.url}/new.zsync"],
            check=True,
            capture_output=True,
            env={**os.environ, "no_proxy": "127.0.0.1"},
        )
    )


def _casync(pair: Pair) -> tuple[float, int]:
    casync = require("casync", "casync")
    web = pair.base / "web"
    subprocess.run(
        [casync, "make", "--store", web / "default.castr", web / "new.caibx", pair.new],
        check=True, capture_output=True,
    )  # fmt: skip
    return _measured(
        lambda: subprocess.run(
            [
                casync,
                "extract",
                f"--store={pair.url}/default.castr",
                f"--seed={pair.old}",
                f"{pair.url}/new.caibx",
                pair.base / "casync.raw",
            ],
            check=True,
            capture_output=True,
            env={**os.environ, "no_proxy": "127.0.0.1"},
        )
    )


def test_update_of_one_seat(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    (first_seconds, first), (seconds, sent) = _ours(pair)
    rows = {
        "ours, first install": (first_seconds, first),
        "ours, update": (seconds, sent),
        "plain HTTP, zstd": _plain(pair),
        "zsync": _zsync(pair),
        "casync": _casync(pair),
    }
    with capsys.disabled():
        print(f"\n{'':20} {'seconds':>8} {'MB sent':>9}")
        for name, (took, size) in rows.items():
            print(f"{name:20} {took:8.1f} {size / 1e6:9.1f}")
    assert sent <= SHARE * first
    assert sent < rows["plain HTTP, zstd"][1]
    assert sent < rows["zsync"][1]
