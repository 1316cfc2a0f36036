"""Thirty seats on a network of their own: ours, plain downloads, zsync and casync, in one run.

All seats share this host's cores, where each has its own in a school; so the server's card is held
to a like share of 1 Gbit/s: 60 Mbit/s for fifteen seats a core.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bench import web
from tests.bench.updates import LOCAL, SHARE, Pair, Row, disk, renew, show, tree
from tests.integration.distribution.network import SEAT, SERVER, Network

pytestmark = pytest.mark.timeout(1800)
SEATS = 30
RATE = "60mbit"
CONTENT = 60_000_000  # bytes of files
SIZE = "128M"  # zsync writes all of it, thirty times
COPIES = 1.5  # that leave the server for thirty first installs


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    content = tree(tmp_path / "tree", CONTENT)
    old = disk(content, tmp_path / "old.raw", SIZE)
    renew(content)
    yield Pair(tmp_path, old, disk(content, tmp_path / "new.raw", SIZE))
    shutil.rmtree(tmp_path)


def test_thirty_seats(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    rows: dict[str, Row] = {}
    one, key = pair.publish(1).size, pair.base / "minisign.pub"
    with Network(SEATS, rate=RATE) as network:

        def measured(name: str, work: Callable[[], float]) -> Row:
            before = network.sent()
            seconds = work()
            rows[name] = Row(name, seconds, network.sent() - before)
            with capsys.disabled():  # a run that is cut short has told something
                print(rows[name])
            return rows[name]

        def ours() -> float:
            return network.pull_all(url, key, pair.base / "room", "share")[0]

        def alone(name: str, command: Callable[[str, Path], list[str | Path]]) -> None:
            """Each seat for itself, in a directory that is gone afterwards."""
            place = pair.base / "alone"
            place.mkdir()
            argvs = {number: command(url, place / str(number)) for number in network.seats}
            measured(name, lambda: network.run_all(argvs, env=LOCAL))
            shutil.rmtree(place)

        with network.serving(pair.web) as url:
            install = measured("ours, first install", ours)
            new = pair.publish(2).new_size
            update = measured("ours, update", ours)
        whole = pair.offer_whole(pair.new)
        pair.offer_zsync(f"http://{network.address(SERVER)}")
        pair.offer_casync()
        with network.serving(pair.web, program=Path(web.__file__)) as url:
            program = (sys.executable, SEAT)
            alone("one whole .zst", lambda url, at: [*program, url, key, at, "whole", whole])
            alone("zsync", pair.zsync)
            alone("casync", pair.casync)
    with capsys.disabled():
        print(f"\n{SEATS} seats; one copy is {one / 1e6:.1f} MB in chunks")
        show(rows, one)
        print(f"an update is {new / one:.1%} of the full size a seat")
    assert install.sent <= COPIES * one
    assert install.seconds < rows["one whole .zst"].seconds
    assert new <= SHARE * one
    assert update.sent <= SHARE * one * SEATS
    assert update.seconds < install.seconds
    for other in ("zsync", "casync"):
        assert update.sent < rows[other].sent
