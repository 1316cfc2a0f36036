"""An update to a seat after a real security upgrade: the same appliance built without and with it.

The old one is built from the suite as it was released, the new one from the suite with its updates
and security fixes, a new kernel among them; zsync and casync get the same two root disks.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provision.build import build as builder
from provision.config import read
from provision.jeos import archive
from tests.bench.updates import SHARE, Pair, compared, show

pytestmark = pytest.mark.timeout(7200)
SMALL = ("sage.source=none", "pool.count=2", "disks.root.size=3G")
Builds = Callable[..., Pair]


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Builds]:
    """Build both; the stages stay in the cache for the next run."""
    real = archive.sources

    def pair(*settings: str) -> Pair:
        config = read(assignments=("name=bench", *settings)).config
        disks = []
        for version in ("old", "new"):
            with monkeypatch.context() as patched:
                if version == "old":  # neither updates nor security
                    patched.setattr(archive, "sources", lambda *a, **k: real(*a, **k)[:1])
                disks.append(builder.build_disks(builder.request(config))[0])
        return Pair(tmp_path, *disks)

    yield pair
    shutil.rmtree(tmp_path)


def test_share_of_the_default_appliance(builds: Builds, capsys: pytest.CaptureFixture[str]) -> None:
    """With Sage, as it is shipped."""
    pair = builds()
    whole, update = pair.publish(1), pair.publish(2)
    with capsys.disabled():
        print(
            f"\nthe default appliance: {whole.size / 1e6:.0f} MB whole,"
            f" {update.new_size / 1e6:.0f} MB update: {update.new_size / update.size:.1%}"
        )
    assert update.new_size <= SHARE * update.size


def test_update_after_a_security_upgrade(
    builds: Builds, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without Sage the kernel is a third of all, and its modules are compressed: no share is
    promised."""
    rows = compared(builds(*SMALL))
    with capsys.disabled():
        show(rows, rows["ours, first install"].sent)
    update = rows["ours, update"]
    assert update.sent < rows["one whole .zst"].sent
    assert update.sent < rows["zsync"].sent
    assert update.seconds < rows["casync"].seconds
