"""Thirty seats on a network of their own: ours against thirty plain downloads, in one run.

All seats share this host's cores, where each has its own in a school; so the server's card is held
to a like share of 1 Gbit/s: 60 Mbit/s for fifteen seats a core.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.distribution.publication import Image, Publication
from provision.ova import minisign
from provision.process import require
from tests.bench.test_distribution import _disk, _renew, _tree
from tests.integration.distribution.network import Network

pytestmark = pytest.mark.timeout(1800)
SEATS = 30
RATE = "60mbit"
CONTENT = 100_000_000  # bytes of files
COPIES = 1.5  # that leave the server for thirty first installs
SHARE = 0.15  # of the full size, that a seat fetches for an update


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    tree = _tree(tmp_path / "tree", CONTENT)
    old = _disk(tree, tmp_path / "old.raw")
    _renew(tree)
    yield old, _disk(tree, tmp_path / "new.raw")
    shutil.rmtree(tmp_path)


def test_thirty_seats(
    disks: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret, key = tmp_path / "secret.key", tmp_path / "minisign.pub"
    key.write_text(minisign.generate(secret).text())
    publication = Publication(tmp_path / "web")

    def publish(number: int) -> tuple[int, int]:
        out = publication.publish(
            [Image("root", disks[number - 1], keep=False)],
            definition={"name": "bench", "version": str(number)},
            sbom='{"components": []}',
            secret=secret,
        )
        return out.size, out.new_size

    one, _ = publish(1)
    packed = tmp_path / "web/old.raw.zst"
    subprocess.run([require("zstd", "zstd"), "-q", "-9", "-T2", disks[0], "-o", packed], check=True)
    rows = []
    with Network(SEATS, rate=RATE) as network, network.serving(publication.root) as url:

        def measured(name: str, place: str, *options: str) -> tuple[float, int]:
            before = network.sent()
            seconds, _ = network.pull_all(url, key, tmp_path / place, *options)
            rows.append((name, seconds, sent := network.sent() - before))
            return seconds, sent

        plain, _ = measured("30 plain downloads of one .zst", "plain", "whole", packed.name)
        shutil.rmtree(tmp_path / "plain")
        install, sent = measured("30 first installs", "room", "share")
        _, new = publish(2)
        update, renewed = measured("30 updates", "room", "share")
    with capsys.disabled():
        print(
            f"\none copy: {one / 1e6:.1f} MB in chunks, {packed.stat().st_size / 1e6:.1f} MB whole"
        )
        for name, seconds, out in rows:
            print(f"{name:32} {seconds:6.1f} s {out / 1e6:8.1f} MB out = {out / one:5.2f} copies")
        print(f"an update is {new / one:.1%} of the full size a seat")
    assert sent <= COPIES * one
    assert install < plain
    assert new <= SHARE * one
    assert renewed <= SHARE * one * SEATS
    assert update < install
