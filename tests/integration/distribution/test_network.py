"""A room of seats on a network of its own: real packets, counted at the server's card."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from network import SERVER, Network, finished
from publishing import Publisher

from provision.distribution import vdi
from vbox import VBoxManage

COPIES = 1.5
SEATS = 6


@pytest.fixture
def network() -> Iterator[Network]:
    with Network(SEATS) as made:
        yield made


def _published(publisher: Publisher, version: int) -> int:
    """Publish, and the bytes that a new seat needs."""
    publisher.publish(version)
    return publisher.packs_size()


def _same_everywhere(publisher: Publisher, place: Path, count: int) -> None:
    name, described = publisher.publication.versions()[-1]
    images = sorted(place.glob(f"*/sage/versions/{name}/root.vdi"))
    assert len(images) == count
    assert {vdi.read(image).size for image in images} == {described.disks[0].size}


@pytest.mark.parametrize("plain", [False, True], ids=["classroom-serve", "any-web-server"])
def test_the_server_sends_about_one_copy(
    publisher: Publisher, network: Network, tmp_path: Path, plain: bool
) -> None:
    """By the server's list of seats, and with any web server by multicast DNS."""
    one = _published(publisher, 1)
    with network.serving(publisher.root, plain=plain) as url:
        before = network.sent()
        _, said = network.pull_all(url, publisher.public, tmp_path / "room", "share")
        sent = network.sent() - before
    assert one <= sent <= COPIES * one
    assert sum(each["from_peers"] for each in said) > 0
    _same_everywhere(publisher, tmp_path / "room", SEATS)


def test_a_seat_with_virtualbox_among_the_others(
    publisher: Publisher, network: Network, manage: VBoxManage, tmp_path: Path
) -> None:
    one = _published(publisher, 1)
    env = {**manage.env, "XDG_DATA_HOME": str(tmp_path / "data")}
    env["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    env["PATH"] = f"{manage.path.parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    with network.serving(publisher.root) as url:
        before, begun = network.sent(), time.monotonic()
        real = network.start(
            1, sys.executable, "-m", "provision.cli", "pull", url, "--public-key", publisher.public,
            "--seat", "1", "--name", "{name}-{seat:02d}", "--share", "60", "--json", env=env,
        )  # fmt: skip
        others = [
            network.start(
                number, sys.executable, Path(__file__).with_name("seat.py"), url,
                publisher.public, tmp_path / f"room/seat-{number}", "share",
            )
            for number in network.seats[1:]
        ]  # fmt: skip
        finished(others, begun)
        out, err = real.communicate()
        assert real.returncode == 0, err.decode()
        assert json.loads(out)["name"] == "sage-01"
        assert network.sent() - before <= COPIES * one
        rows = json.loads(
            network.run(
                2, sys.executable, "-m", "provision.cli", "classroom", "status", url, "--json"
            )
        )
    assert {row["state"] for row in rows} == {"ready"}
    assert "sage-01" in manage.run("list", "vms")


def test_one_stream_for_all(publisher: Publisher, network: Network, tmp_path: Path) -> None:
    """Multicast: one copy leaves the server, and each seat then pulls without a server."""
    one = publisher.publish(1).size
    seats = network.seats[:3]
    cli = (sys.executable, "-m", "provision.cli", "classroom")
    before = network.sent()
    waiting = [
        network.start(n, *cli, "receive", tmp_path / f"got{n}", "--interface", "eth0")
        for n in seats
    ]
    sender = network.start(
        SERVER, *cli, "send", publisher.root, "--receivers", str(len(seats)),
        "--interface", "eth0", "--rate", "300m",
    )  # fmt: skip
    for process in (sender, *waiting):
        _, err = process.communicate()
        assert process.returncode == 0, err.decode()
    assert network.sent() - before < 2 * one  # what was lost on the way goes again
    listed = {path.relative_to(tmp_path / "got1") for path in (tmp_path / "got1").rglob("*.zst")}
    assert len(listed) > 100
    for number in seats:
        assert {
            path.relative_to(tmp_path / f"got{number}")
            for path in (tmp_path / f"got{number}").rglob("*.zst")
        } == listed
