"""What the measurements of updates share: pairs of disks, and how each program updates one seat."""

import contextlib
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

from provision.distribution import chunks
from provision.distribution.assemble import assemble
from provision.distribution.manifest import read_pieces
from provision.distribution.publication import DiskImage, Publication, Published
from provision.distribution.source import Web
from provision.distribution.supply import Chain, Seed, of_images, of_server
from provision.ova import minisign
from provision.process import require
from tests.bench.web import Counting, Server

SHARE = 0.15  # of the full download that an update may take
IDENTITY = "6d3b1c8a-0d4e-4b5a-9d0b-3a0f9a1d2b11"
LOCAL = {"no_proxy": "127.0.0.1,10.77.0.1"}  # what we serve is not behind the host's proxy


def tree(place: Path, content: int) -> Path:
    """So many bytes of files, all of them this host's own programs."""
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


def renew(place: Path) -> None:
    """Change two files in a hundred as a new build of them does: length and bytes all over."""
    source = random.Random(7)  # noqa: S311 (content for a benchmark)
    files = sorted(path for path in place.rglob("*") if path.is_file())
    for path in source.sample(files, len(files) // 50):
        content = bytearray(path.read_bytes())
        content[len(content) // 2 : len(content) // 2] = source.randbytes(source.randint(1, 3000))
        for position in range(0, len(content), 500):
            content[position] = source.randrange(256)
        path.write_bytes(content)


def disk(place: Path, image: Path, size: str) -> Path:
    """An ext4 image of a tree, as a build makes it."""
    for path in (place, *place.rglob("*")):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    subprocess.run(
        [
            require("mke2fs", "e2fsprogs"), "-q", "-t", "ext4", "-b", "4096", "-d", place,
            "-U", IDENTITY, "-E", f"hash_seed={IDENTITY},root_owner=0:0", image, size,
        ],
        check=True, env={"E2FSPROGS_FAKE_TIME": "1700000000"}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return image


@dataclass(frozen=True)
class Pair:
    """An old and a new disk, with a folder ``web`` to serve.

    Args:
        base: where all that is made goes.
        old: what a seat has.
        new: what it is to have.
    """

    base: Path
    old: Path
    new: Path

    @property
    def web(self) -> Path:
        return self.base / "web"

    def publish(self, number: int) -> Published:
        """Publish the old disk as number 1 and the new one as number 2."""
        secret = self.base / "secret.key"
        if not secret.exists():
            (self.base / "minisign.pub").write_text(minisign.generate(secret).text())
        return Publication(self.web).publish(
            [DiskImage("root", (self.old, self.new)[number - 1], keep=False)],
            definition={"name": "bench", "version": str(number)},
            sbom='{"components": []}',
            secret=secret,
        )

    def offer_whole(self, raw: Path) -> str:
        """Serve a disk as one compressed file; its name."""
        packed = self.web / f"{raw.name}.zst"
        zstd = [require("zstd", "zstd"), "-q", "-9", "-T2", "-f"]
        subprocess.run([*zstd, raw, "-o", packed], check=True)
        return packed.name

    def offer_zsync(self, url: str) -> str:
        """Serve the new disk for zsync; the name of its description."""
        (self.web / "new.raw").symlink_to(self.new)
        make = [require("zsyncmake", "zsync"), "-u", f"{url}/new.raw", "-o", "new.zsync", "new.raw"]
        subprocess.run(make, cwd=self.web, check=True, capture_output=True)
        return "new.zsync"

    def offer_casync(self) -> str:
        """Serve the new disk for casync; the name of its index."""
        casync = [require("casync", "casync"), "make", "--store", self.web / "default.castr"]
        command = [*casync, self.web / "new.caibx", self.new]
        subprocess.run(command, check=True, capture_output=True)
        return "new.caibx"

    def zsync(self, url: str, target: Path) -> list[str | Path]:
        """The command of a seat that updates by zsync."""
        return [require("zsync", "zsync"), "-q", "-i", self.old, "-o", target, f"{url}/new.zsync"]

    def casync(self, url: str, target: Path) -> list[str | Path]:
        """The command of a seat that updates by casync."""
        return [
            require("casync", "casync"), "extract", f"--store={url}/default.castr",
            f"--seed={self.old}", f"{url}/new.caibx", target,
        ]  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One way to bring a disk to a seat: what it took.

    Args:
        name: the way.
        seconds: until the disk was there.
        sent: bytes out of the server.
    """

    name: str
    seconds: float
    sent: int


def compared(pair: Pair) -> dict[str, Row]:
    """Update one seat in each way, one after the other, from a web server; the rows by name."""
    pair.web.mkdir()
    with _served(pair.web) as url:
        first, update = _ours(pair, url)
        whole = pair.offer_whole(pair.new)
        pair.offer_zsync(url)
        pair.offer_casync()
        rows = (
            Row("ours, first install", *first),
            Row("ours, update", *update),
            Row("one whole .zst", *_measured(lambda: _plain(pair, url, whole))),
            Row("zsync", *_measured(lambda: _run(pair.zsync(url, pair.base / "zsync.raw")))),
            Row("casync", *_measured(lambda: _run(pair.casync(url, pair.base / "casync.raw")))),
        )
    return {row.name: row for row in rows}


def show(rows: dict[str, Row], whole: int) -> None:
    """Print the table of docs/benchmarks.md.

    Args:
        rows: what was measured.
        whole: bytes of one whole disk, in chunks.
    """
    print(f"\n{'':20} {'seconds':>8} {'MB sent':>9} {'copies':>7}")
    for row in rows.values():
        print(f"{row.name:20} {row.seconds:8.1f} {row.sent / 1e6:9.1f} {row.sent / whole:7.2f}")


@contextlib.contextmanager
def _served(root: Path) -> Iterator[str]:
    server = Server(root)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.url
    server.shutdown()
    server.server_close()


def _measured(work: Callable[[], object]) -> tuple[float, int]:
    """Seconds, and bytes out of the server."""
    Counting.sent = 0
    begun = time.monotonic()
    work()
    return time.monotonic() - begun, Counting.sent


def _run(command: list[str | Path]) -> None:
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **LOCAL})


def _ours(pair: Pair, url: str) -> tuple[tuple[float, int], tuple[float, int]]:
    """Our first install and our update."""
    publication, source, seeds = Publication(pair.web), Web(url), list[Seed]()

    def install(number: int) -> None:
        name, described = publication.versions()[number - 1]
        root = described.disks[0]
        pieces = read_pieces(source.get(f"versions/{name}/{root.pieces_file}"))
        target = pair.base / f"{number}/root.vdi"
        server = of_server(lambda piece: source.get(f"chunks/{chunks.relative(piece.name)}"))
        chain = Chain(disks=of_images(seeds), server=server)
        assemble(root, pieces, target, identity=uuid.uuid4(), fetch=chain.fetch)
        seeds.append(Seed(target, pieces))

    pair.publish(1)
    first = _measured(lambda: install(1))
    pair.publish(2)
    return first, _measured(lambda: install(2))


def _plain(pair: Pair, url: str, whole: str) -> None:
    urllib.request.urlretrieve(f"{url}/{whole}", pair.base / whole)
    unpack = ["zstd", "-q", "-d", "-f", "--sparse", pair.base / whole]
    subprocess.run([*unpack, "-o", pair.base / "plain.raw"], check=True)
