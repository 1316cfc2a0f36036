"""Where a result may be posted: how a URL is read, and which addresses are strangers'."""

import asyncio
import ipaddress
import socket
from pathlib import Path
from typing import Any

import pytest

from provision.guest.grader import networks, notify

PUBLIC = ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
PRIVATE = [
    *("127.0.0.1", "127.255.0.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1"),  # noqa: S104
    *("169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1"),
    *("::1", "::", "fe80::1", "fec0::1", "fc00::1", "fd12::1", "ff02::1", "::ffff:127.0.0.1"),
    *("::ffff:10.0.0.1", "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1"),
    *("64:ff9b::a00:1", "64:ff9b:1::5db8:d822", "2002:7f00:1::", "2002:5db8:d822::1"),
    *("2001:0:5db8:d822::1", "2001:db8::1", "3fff::1", "100::1", "4000::1", "5f00::1"),
    *("2606:2800:220:1:0:5efe:127.0.0.1", "2606:2800:220:1:200:5efe:10.0.0.1"),
]


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses(text: str) -> None:
    assert networks.is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PRIVATE)
def test_addresses_that_are_not_or_stand_for_one_that_is_not(text: str) -> None:
    assert not networks.is_public(ipaddress.ip_address(text))


ROUTES = """\
Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0
eth0 0032A8C0 00000000 0001 0 0 0 00FFFFFF 0 0 0
"""
ROUTES6 = """\
2a001450400108010000000000000000 40 0 00 00000000000000000000000000000000 0 1 0 00000001 eth0
fe800000000000000000000000000000 40 0 00 00000000000000000000000000000000 0 1 0 00000001 eth0
00000000000000000000000000000000 00 0 00 fe800000000000000000000000000001 0 1 0 00000003 eth0
00000000000000000000000000000000 00 0 00 00000000000000000000000000000000 0 1 0 00200200 lo
"""


def test_the_networks_that_this_machine_is_in(tmp_path: Path) -> None:
    (tmp_path / "route").write_text(ROUTES)
    assert list(map(str, networks.own(tmp_path))) == ["192.168.50.0/24"]
    (tmp_path / "ipv6_route").write_text(ROUTES6)
    assert list(map(str, networks.own(tmp_path)))[1:] == ["2a00:1450:4001::/48", "fe80::/64"]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the name server says; a numeric host is for the system's own reading."""
    known: dict[str, list[str]] = {}

    class Loop:
        async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
            if host in known:
                return [(0, 0, 0, "", (found, port)) for found in known[host]]
            return socket.getaddrinfo(host, port, flags=socket.AI_NUMERICHOST)

    monkeypatch.setattr(notify.asyncio, "get_running_loop", Loop)
    monkeypatch.setattr(networks, "own", lambda: [ipaddress.ip_network("2a00:1450:4001::/48")])
    return known


def look_up(url: str, *allowed: str, refused: tuple[str, ...] = ()) -> notify.Target:
    return asyncio.run(notify.Guard(allowed, refused).look_up(url))


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.1",
            "0177.0.0.1",
            "0x7f.1",
            "0x7f000001",
            "2130706433",
            "017700000001",
            "127.0.0.01",
        ),
        *("0", "①②⑦.0.0.1", "１２７.0.0.1", "127。0。0。1", "[::ffff:7f00:1]", "10.1"),
        *("[0:0:0:0:0:ffff:127.0.0.1]", "[::1]", "[2a00:1450:4001:99::5]"),
    ],
)
def test_every_spelling_of_an_address_is_read(answers: Any, host: str) -> None:
    with pytest.raises(notify.TargetRefusedError, match="no public address"):
        look_up(f"http://{host}:8000/")


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://u@a.example/",
            "http://@a.example/",
            "http://a.example\\@127.0.0.1/",
            "file:///x",
        ),
        *("http://", "nonsense", "http://[/", "http://x:99999999/", "http://x:0/", "http://a b/"),
        *("gopher://a.example/", "http://" + "a" * 64 + "ü.example/", "//a.example/", ""),
    ],
)
def test_what_is_no_plain_url_is_refused(answers: Any, url: str) -> None:
    answers["a.example"] = ["93.184.216.34"]
    with pytest.raises(notify.TargetRefusedError):
        look_up(url)


def test_the_client_is_given_what_was_judged(answers: Any) -> None:
    answers["a.example"] = ["10.0.0.1", "2606:2800:220:1::1", "93.184.216.34"]
    found = look_up("https://A.example/x%20y/?q=1#f")
    assert [found.at(each) for each in found.addresses] == [
        "https://[2606:2800:220:1::1]:443/x%20y/?q=1#f",
        "https://93.184.216.34:443/x%20y/?q=1#f",
    ]
    assert (found.header, found.certified) == ("a.example", "a.example")
    plain = look_up("http://[2606:2800:220:1::1]:8000/")
    assert (plain.header, plain.certified) == ("[2606:2800:220:1::1]:8000", None)
    answers["xn--mller-kva.example"] = ["93.184.216.34"]
    assert look_up("http://müller.example/").header == "xn--mller-kva.example"


def test_what_is_allowed_and_what_is_refused_beside_it(answers: Any) -> None:
    answers["friend.example."] = answers["friend.example"] = ["10.0.0.1"]
    answers["stranger.example"] = ["10.0.0.1", "10.9.0.1"]
    answers["school.example"] = ["93.184.216.34"]
    assert look_up("http://friend.example./", "Friend.example").addresses
    (address,) = look_up("http://stranger.example/", "10.9.0.0/16").addresses
    assert str(address) == "10.9.0.1"
    with pytest.raises(notify.TargetRefusedError):
        look_up("http://school.example/", refused=("93.184.0.0/16",))
    assert look_up("http://[2a00:1450:4001:99::5]/", "2a00:1450:4001:99::/64").addresses
