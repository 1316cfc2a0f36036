"""An update to a seat after a real security upgrade: the same appliance built without and with it.

The old one is built from the suite as it was released, the new one from the suite with its updates
and security fixes, a new kernel among them; zsync and casync get the same two root disks.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.build import build as builder
from provision.build import places
from provision.config import read
from provision.distribution.publication import Image, Publication
from provision.jeos import archive
from provision.ova import minisign
from tests.bench.test_distribution import SHARE, Pair, _casync, _ours, _plain, _zsync, served

pytestmark = pytest.mark.timeout(7200)
SETTINGS = ("name=bench", "sage.source=none", "pool.count=2", "disks.root.size=3G")


def _builds(
    place: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
) -> tuple[Path, Path]:
    """The root disks of both builds."""
    config = read(assignments=settings).config
    kept = places.cache() / "tests"
    kept.mkdir(parents=True, exist_ok=True)
    real = archive.sources
    disks = []
    for version in ("old", "new"):
        with monkeypatch.context() as patched:
            if version == "old":  # neither updates nor security
                patched.setattr(archive, "sources", lambda *a, **k: real(*a, **k)[:1])
            wanted = builder.request(config)
            built = builder.build(wanted, kept / f"bench-{version}.ova", with_vm=False)
        disks.append(place / f"{version}.raw")
        subprocess.run(["cp", "--sparse=always", built.disks[0], disks[-1]], check=True)
    return disks[0], disks[1]


@pytest.fixture
def upgraded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    old, new = _builds(tmp_path, monkeypatch, SETTINGS)
    with served(tmp_path) as url:
        yield Pair(tmp_path, old, new, url)


def test_update_after_a_security_upgrade(
    upgraded: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without Sage the kernel, which comes compressed, is a third of all: no share is promised."""
    (first_seconds, first), (seconds, sent) = _ours(upgraded)
    rows = {
        "ours, first install": (first_seconds, first),
        "ours, update": (seconds, sent),
        "plain HTTP, zstd": _plain(upgraded),
        "zsync": _zsync(upgraded),
        "casync": _casync(upgraded),
    }
    with capsys.disabled():
        print(f"\n{'':20} {'seconds':>8} {'MB sent':>9}")
        for name, (took, size) in rows.items():
            print(f"{name:20} {took:8.1f} {size / 1e6:9.1f}")
        print(f"the update is {sent / first:.1%} of a first install")
    assert sent < rows["plain HTTP, zstd"][1]
    assert sent < rows["zsync"][1]
    assert seconds < rows["casync"][0]


def test_share_of_the_default_appliance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With Sage, as it is shipped: two whole builds."""
    secret = tmp_path / "secret.key"
    minisign.generate(secret)
    publication = Publication(tmp_path / "published")
    out = [
        publication.publish(
            [Image("root", raw, keep=False)],
            definition={"name": "bench", "version": str(number)},
            sbom='{"components": []}',
            secret=secret,
        )
        for number, raw in enumerate(_builds(tmp_path, monkeypatch, ("name=bench",)))
    ][-1]
    with capsys.disabled():
        print(
            f"\n{out.new_size / 1e6:.1f} of {out.size / 1e6:.1f} MB: {out.new_size / out.size:.1%}"
        )
    assert out.new_size <= SHARE * out.size
