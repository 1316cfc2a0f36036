from types import SimpleNamespace
from typing import Any

import pytest

from provision.guest.pool.visits import address_of, listeners, owner, peer

# Of /proc/net/tcp: the hub listens, the proxy (1000) and a session (2001) are connected to it.
LINES = """
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 11 1 0
   1: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12 1 0
   2: 0100007F:B001 0100007F:1F91 01 00000000:00000000 00:00000000 00000000  1000        0 13 1 0
   3: 0100007F:1F91 0100007F:B001 01 00000000:00000000 00:00000000 00000000   998        0 14 1 0
   4: 0100007F:B002 0100007F:1F91 01 00000000:00000000 00:00000000 00000000  2001        0 15 1 0
   5: 0100007F:B003 0100007F:1F92 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0
   6: 0100007F:B003 0100007F:1F91 01 00000000:00000000 00:00000000 00000000  2001        0 16 1 0
   7: 0100007F:B004 0100007F:1F91 04 00000000:00000000 00:00000000 00000000     0        0 0 1 0
   8: {6}:B005 {6}:1F91 01 0 0 0 2002 0 17
   9: 0100007F:B005 0100007F:7001 01 00000000:00000000 00:00000000 00000000  1000        0 18 1 0
""".replace("{6}", "0000000000000000FFFF00000100007F").splitlines()


def request(headers: dict[str, str], address: Any = ("127.0.0.1", 0xB001)) -> Any:
    connection = SimpleNamespace(context=SimpleNamespace(address=address))
    return SimpleNamespace(headers=headers, connection=connection)


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({"X-Forwarded-For": "192.0.2.1"}, "192.0.2.1"),
        ({"X-Forwarded-For": "10.9.9.9, 1.1.1.1,192.0.2.1"}, "192.0.2.1"),
        ({"X-Forwarded-For": "192.0.2.1", "X-Real-Ip": "10.9.9.9"}, "192.0.2.1"),
        ({"X-Forwarded-For": "10.9.9.9,"}, "127.0.0.1"),
        ({}, "127.0.0.1"),
    ],
)
def test_only_what_our_proxy_adds_is_believed(headers: dict[str, str], address: str) -> None:
    assert address_of(request(headers)) == address


def test_a_connection_that_has_no_address_has_none() -> None:
    assert peer(request({}, address="/run/socket")) == ("", 0)


@pytest.mark.parametrize(
    ("port", "user"),
    [
        pytest.param(0xB001, 1000, id="the proxy"),
        pytest.param(0xB002, 2001, id="a session"),
        pytest.param(0xB003, 2001, id="a session, from a port that it closed just before"),
        pytest.param(0xB004, None, id="closed before it was asked"),
        pytest.param(0xB005, 2002, id="in IPv6, from a port that the proxy has elsewhere"),
        pytest.param(0xB006, None, id="no such connection"),
    ],
)
def test_the_owner_of_a_connection_is_found(port: int, user: int | None) -> None:
    assert owner(LINES, ("127.0.0.1", port), ("127.0.0.1", 8081)) == user


def test_who_listens_is_found() -> None:
    assert listeners(LINES, 8001) == {1000}
