"""Forwards: rules, correction, VBox.log and the keys of 2008."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from vbox import nat, parse, ports
from vbox.errors import PortTakenError, VBoxError
from vbox.machine import Machine
from vbox.nat import Forward

SSH = Forward("ssh", 2222, 22)
WEB = Forward("notebook", 8000, 8000, host_ip="")


def test_rule() -> None:
    assert SSH.rule() == "ssh,tcp,127.0.0.1,2222,,22"
    assert WEB.rule() == "notebook,tcp,,8000,,8000"
    with pytest.raises(VBoxError, match="comma"):
        replace(SSH, name="a,b").rule()


def test_listed_by_adapter() -> None:
    text = (
        'nic1="nat"\nForwarding(0)="ssh,tcp,127.0.0.1,2222,,22"\n'
        'nic2="nat"\nForwarding(0)="b,udp,,53,10.0.2.9,53"\n'
    )
    looked = Machine("u", "n", "poweroff", Path("n.vbox"), tuple(parse.pairs(text)))
    assert nat.read_forwards(looked) == (SSH,)
    assert nat.read_forwards(looked, adapter=2) == (Forward("b", 53, 53, "", "10.0.2.9", "udp"),)


@pytest.mark.parametrize(("told", "reaches"), [("1", True), ("0", False), (None, False)])
def test_what_reaches_this_host_is_told_by_adapter(told: str | None, reaches: bool) -> None:
    text = 'nic1="nat"\nlocalhostReachable="0"\nnic2="nat"\n'
    text += "" if told is None else f'localhostReachable="{told}"\n'
    looked = Machine("u", "n", "poweroff", Path("n.vbox"), tuple(parse.pairs(text)))
    assert nat.reaches_host(looked, adapter=2) is reaches
    assert not nat.reaches_host(looked)


def test_taken_ports_move_to_the_next_free_one_without_meeting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = {2222, 2223}
    monkeypatch.setattr(ports, "free", lambda host, port, protocol="tcp": port not in taken)
    wanted = (SSH, Forward("second", 2224, 22))
    assert [each.host_port for each in nat.correct(wanted)] == [2224, 2225]
    monkeypatch.setattr(ports, "free", lambda host, port, protocol="tcp": False)
    with pytest.raises(PortTakenError, match="port 2222 of this host, wanted for 'ssh'"):
        nat.correct(wanted)


def test_the_log_tells_which_forward_failed() -> None:
    log = (
        "00:00:00.432083 VMSetError: NAT#0: configuration error: failed to set up redirection of"
        " 2222 to 22. Probably a conflict with existing services or other rules\n"
    )
    assert nat.failures(log, (SSH, WEB)) == (SSH,)
    assert nat.failures("", (SSH, WEB)) == ()


def test_keys_of_2008() -> None:
    base = "VBoxInternal/Devices"
    data = {
        f"{base}/pcnet/0/LUN#0/Config/ssh/HostPort": "2222",
        f"{base}/pcnet/0/LUN#0/Config/ssh/GuestPort": "22",
        f"{base}/pcnet/0/LUN#0/Config/ssh/Protocol": "TCP",
        f"{base}/e1000/1/LUN#0/Config/dns/HostPort": "53",
        f"{base}/e1000/1/LUN#0/Config/dns/GuestPort": "53",
        f"{base}/e1000/1/LUN#0/Config/dns/Protocol": "UDP",
        f"{base}/pcnet/0/LUN#0/Config/half/HostPort": "1",
        f"{base}/pcnet/0/LUN#0/Config/bad/HostPort": "x",
        f"{base}/pcnet/0/LUN#0/Config/bad/GuestPort": "y",
        "GUI/Fullscreen": "true",
    }
    found = nat.legacy(data)
    assert [(old.forward, old.adapter, len(old.keys)) for old in found] == [
        (replace(SSH, host_ip=""), 1, 3),
        (Forward("dns", 53, 53, "", "", "udp"), 2, 3),
    ]


def test_a_port_with_a_listener_is_not_free_and_the_holder_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not ports.free("127.0.0.1", port)
        assert not ports.free("", port), "a public forward wants every address"
        assert ports.free("127.0.0.1", port, "udp")
        assert "(pid " in ports.holder(port)
        moved = ports.next_free("127.0.0.1", port)
        assert moved and moved > port
    assert ports.free("127.0.0.1", port)
