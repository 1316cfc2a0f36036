"""An update to one seat: ours against plain HTTP, zsync and casync, on the same pair of disks.

The pair is a root file system made twice by mke2fs, as a build does, with two files in a hundred
renewed; every program gets the old disk and a web server with the new one.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.updates import SHARE, Pair, compared, disk, renew, show, tree

CONTENT = 300_000_000  # bytes of files


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    content = tree(tmp_path / "tree", CONTENT)
    old = disk(content, tmp_path / "old.raw", "2G")
    renew(content)
    yield Pair(tmp_path, old, disk(content, tmp_path / "new.raw", "2G"))
    shutil.rmtree(tmp_path)


def test_update_of_one_seat(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    rows = compared(pair)
    with capsys.disabled():
        show(rows, rows["ours, first install"].sent)
    update = rows["ours, update"]
    assert update.sent <= SHARE * rows["ours, first install"].sent
    assert update.sent < rows["one whole .zst"].sent
    assert update.sent < rows["zsync"].sent
    assert update.seconds < rows["casync"].seconds
