"""VMs that really start, in VirtualBox without its driver: ports, signals, states, snapshots."""

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import driverless
import pytest

from vbox import VBoxManage, appliance, machine, medium, nat, ports, snapshot
from vbox.errors import LockedError, PortTakenError, VBoxError, WrongStateError
from vbox.nat import Forward

Wait = Callable[[Callable[[], object]], object]


@pytest.fixture
def serial(tmp_path: Path) -> Path:
    return tmp_path / "serial.log"


@pytest.fixture
def vm(
    running_manage: VBoxManage, tmp_path: Path, tiny_disk: Path, serial: Path
) -> machine.Machine:
    """The tiny guest, off, with a forward to its port 22."""
    manage = running_manage
    made = machine.create(manage, "tiny", "me", folder=tmp_path / "machines")
    machine.modify(
        manage, made, memory=32, boot1="disk", boot2="none", boot3="none", nic1="nat",
        bios_logo_display_time=0, audio_enabled=False,
    )  # fmt: skip
    driverless.interpreted(manage, made)
    manage.run("modifyvm", made.uuid, "--uart1", "0x3f8", "4")
    manage.run("modifyvm", made.uuid, "--uartmode1", "file", str(serial))
    machine.ensure_controller(manage, made, "SATA")
    medium.attach(manage, made, "SATA", 0, tiny_disk)
    nat.ensure(
        manage, machine.show(manage, made.uuid), [Forward("ssh", driverless.free_port(), 22)]
    )
    return machine.show(manage, made.uuid)


def said(serial: Path, what: str) -> Callable[[], bool]:
    return lambda: serial.exists() and what in serial.read_text(errors="replace")


def greeting(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        hello = connection.recv(100)
        connection.sendall(b"ping")
        return hello + connection.recv(100)


def test_a_forward_leads_into_the_guest_and_the_power_button_works(
    running_manage: VBoxManage, vm: machine.Machine, serial: Path, eventually: Wait
) -> None:
    (forward,) = nat.read_forwards(vm)
    nat.check([forward])
    running = machine.start(running_manage, vm)
    nat.verify(running)
    eventually(said(serial, "ready"))
    assert greeting(forward.host_port) == b"SSH-2.0-tiny\r\nping"
    assert "VBoxHeadless" in ports.holder(forward.host_port)
    with pytest.raises(PortTakenError, match="VBoxHeadless"):
        nat.check([forward])
    machine.stop(running_manage, vm)
    assert machine.show(running_manage, vm.uuid).state == "poweroff"
    assert "power button" in serial.read_text()
    machine.stop(running_manage, vm)


def test_an_occupied_port_is_found_before_and_after_the_start(
    running_manage: VBoxManage, vm: machine.Machine
) -> None:
    (forward,) = nat.read_forwards(vm)
    with socket.create_server(("127.0.0.1", forward.host_port)):
        with pytest.raises(PortTakenError) as caught:
            nat.check([forward])
        assert caught.value.holder.endswith(f"(pid {os.getpid()})")
        assert caught.value.port == forward.host_port
        (moved,) = nat.correct([forward])
        assert moved.host_port > forward.host_port
        running = machine.start(running_manage, vm)
        assert running.state == "running", "the trap: VirtualBox says that all is well"
        with pytest.raises(PortTakenError, match="wanted for 'ssh', is held by"):
            nat.verify(running)
    machine.power_off(running_manage, vm)


def test_a_running_machine_is_locked_and_a_saved_one_immutable(
    running_manage: VBoxManage, vm: machine.Machine, serial: Path, eventually: Wait
) -> None:
    manage = VBoxManage(running_manage.path, running_manage.env, patience=0.3)
    machine.start(manage, vm)
    eventually(said(serial, "ready"))
    with pytest.raises(LockedError):
        machine.modify(manage, vm, memory=40)
    machine.save_state(manage, vm)
    assert machine.wait_for(manage, vm, frozenset({"saved"}), timeout=10)
    with pytest.raises(WrongStateError, match="not mutable"):
        machine.modify(manage, vm, memory=40)
    (forward,) = nat.read_forwards(vm)
    machine.start(manage, vm)
    assert greeting(forward.host_port).startswith(b"SSH-2.0-tiny"), "it woke up where it was"
    machine.save_state(manage, vm)
    machine.discard_state(manage, vm)
    machine.discard_state(manage, vm)
    machine.modify(manage, vm, memory=40)


def test_sigterm_to_the_vm_saves_its_state(
    running_manage: VBoxManage, vm: machine.Machine, serial: Path, eventually: Wait
) -> None:
    machine.start(running_manage, vm)
    eventually(said(serial, "ready"))
    (forward,) = nat.read_forwards(vm)
    pid = int(ports.holder(forward.host_port).rpartition("pid ")[2].rstrip(")"))
    os.kill(pid, signal.SIGTERM)
    assert machine.wait_for(running_manage, vm, frozenset({"saved"}), timeout=20)
    machine.delete(running_manage, vm)
    assert machine.find(running_manage, "tiny") == ()


def test_a_live_snapshot_and_back(
    running_manage: VBoxManage, vm: machine.Machine, serial: Path, eventually: Wait
) -> None:
    machine.start(running_manage, vm)
    eventually(said(serial, "ready"))
    (forward,) = nat.read_forwards(vm)
    snapshot.take(running_manage, vm, "live")
    assert greeting(forward.host_port).startswith(b"SSH-2.0-tiny"), "it goes on running"
    machine.power_off(running_manage, vm)
    snapshot.restore(running_manage, vm, "live")
    assert machine.show(running_manage, vm.uuid).state == "saved"
    machine.start(running_manage, vm)
    assert greeting(forward.host_port).startswith(b"SSH-2.0-tiny")
    machine.power_off(running_manage, vm)
    snapshot.delete(running_manage, vm, "live")


def test_a_vm_that_is_killed_can_be_started_again(
    running_manage: VBoxManage, vm: machine.Machine, serial: Path, eventually: Wait
) -> None:
    machine.start(running_manage, vm)
    eventually(said(serial, "ready"))
    (forward,) = nat.read_forwards(vm)
    pid = int(ports.holder(forward.host_port).rpartition("pid ")[2].rstrip(")"))
    os.kill(pid, signal.SIGKILL)
    assert machine.wait_for(running_manage, vm, frozenset({"aborted"}), timeout=20)
    serial.unlink()
    machine.start(running_manage, vm)
    eventually(said(serial, "ready"))
    machine.power_off(running_manage, vm)


def test_export_and_import(running_manage: VBoxManage, vm: machine.Machine, tmp_path: Path) -> None:
    manage, ova = running_manage, tmp_path / 'o"va ü.ova'
    appliance.export(manage, vm, ova)
    with pytest.raises(VBoxError, match="exists already"):
        appliance.export(manage, vm, ova)
    made = appliance.bring(manage, ova, "cöpy", "me", folder=tmp_path / "imported")
    assert machine.owner(manage, made) == "me"
    assert [each.medium.suffix for each in made.attachments] == [".vdi"]
    machine.delete(manage, made)
    broken = tmp_path / "broken.ova"
    broken.write_bytes(ova.read_bytes()[:-20_000])
    with pytest.raises(VBoxError):
        appliance.bring(manage, broken, "broken", "me", folder=tmp_path / "imported")
    assert machine.find(manage, "broken") == ()
    assert not list((tmp_path / "imported").glob("*")), "nothing half-imported is left"
