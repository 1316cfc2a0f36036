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
from provision.jeos import archive
from tests.bench.test_distribution import Pair, _casync, _ours, _plain, _zsync, served

pytestmark = pytest.mark.timeout(3600)
SETTINGS = ("name=bench", "sage.source=none", "pool.count=2", "disks.root.size=3G")


@pytest.fixture
def upgraded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    config = read(assignments=SETTINGS).config
    place = places.cache() / "tests"
    place.mkdir(parents=True, exist_ok=True)
    real = archive.sources
    disks = {}
    for version in ("old", "new"):
        with monkeypatch.context() as patched:
            if version == "old":  # neither updates nor security
                patched.setattr(archive, "sources", lambda *a, **k: real(*a, **k)[:1])
            wanted = builder.request(config)
            built = builder.build(wanted, place / f"bench-{version}.ova", with_vm=False)
        disks[version] = tmp_path / f"{version}.raw"
        subprocess.run(["cp", "--sparse=always", built.disks[0], disks[version]], check=True)
    with served(tmp_path) as url:
        yield Pair(tmp_path, disks["old"], disks["new"], url)


def test_update_after_a_security_upgrade(
    upgraded: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
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
