from types import SimpleNamespace
from typing import Any

import pytest

from provision.guest.pool.visits import address_of, listeners, owners, peer

# Of /proc/net/tcp: the hub listens, the proxy (1000) and a session (2001) are connected to it.
LINES = """
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 11 1 0
   1: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12 1 0
   2: 0100007F:B001 0100007F:1F91 01 00000000:00000000 00:00000000 00000000  1000        0 13 1 0
   3: 0100007F:1F91 0100007F:B001 01 00000000:00000000 00:00000000 00000000   998        0 14 1 0
   4: 0100007F:B002 0100007F:1F91 01 00000000:00000000 00:00000000 00000000  2001        0 15 1 0
""".splitlines()


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


def test_the_owner_of_a_connection_is_found() -> None:
    assert owners(LINES, 0xB001) == {1000}
    assert owners(LINES, 0xB002) == {2001}
    assert owners(LINES, 0xB003) == set()
    assert listeners(LINES, 8001) == {1000}
