"""A session that reaches the web reaches no more of the host than anybody in the room does."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import Guest, notebook_guest
from student import Student

# A host behind a NAT, as VirtualBox makes it: its own loopback is at the gateway's address.
HOST = """
ip netns add host
ip link add tonat type veth peer name toguest netns host
ip addr add 10.0.2.15/24 dev tonat && ip link set tonat up
ip netns exec host sh -c 'ip link set toguest up && ip link set lo up &&
    ip addr add 10.0.2.2/24 dev toguest && ip addr add 10.0.2.7/24 dev toguest'
systemd-run --quiet --collect --property=NetworkNamespacePath=/run/netns/host \\
    python3 -m http.server 8765 --bind 0.0.0.0 --directory /var/empty
"""
ASK = """
import socket
for place in ("10.0.2.7", "10.0.2.2"):
    try:
        with socket.create_connection((place, 8765), 10) as there:
            there.sendall(b"HEAD / HTTP/1.0\\r\\n\\r\\n")
            print(place, bool(there.recv(1)))
    except OSError as error:
        print(place, type(error).__name__)
"""


@pytest.fixture
def open_guest(layers: list[Path], tmp_path: Path) -> Iterator[Guest]:
    variables = {
        "pool_accounts": ["nb1"],
        "notebook_accounts": True,
        "notebook_network": "open",
    }
    with notebook_guest(layers, tmp_path, variables) as guest:
        yield guest


def test_the_hosts_own_loopback_is_out_of_reach(open_guest: Guest) -> None:
    open_guest.run("mkdir -p /var/empty; " + HOST)
    student = Student(open_guest.url, "surfer").sign_in().start()
    assert student.kernel().run(ASK) == "10.0.2.7 True\n10.0.2.2 ConnectionRefusedError\n"
