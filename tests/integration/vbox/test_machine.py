"""The appliance as a VM: the runtime and the verbs on it, with a VirtualBox that really starts."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import driverless
import pytest

from provision.cli import main
from provision.config import Config
from provision.config.model import Forward, Network
from provision.errors import GuestError, HostNotReadyError, HypervisorError
from provision.machine import keys, virtualbox
from provision.machine.virtualbox import VirtualBoxMachine
from provision.ova.model import OvaAppliance, OvaDisk
from provision.ova.writer import write_ova
from vbox import VBoxManage, appliance, machine, nat, ports, snapshot

MIB = 1 << 20
Wait = Callable[[Callable[[], object]], object]


def configuration(port: int, *, auto: bool = True) -> Config:
    forwards = {
        "ssh": Forward(host=port, guest=22),
        "notebook": Forward(host=driverless.free_port(), guest=8000, public=True),
    }
    network = Network.model_construct(forwards=forwards, auto=auto)
    return Config.model_construct(
        **{**dict(Config()), "name": "tiny", "cpus": 1, "memory": 32 * MIB, "network": network}
    )


@pytest.fixture
def vm(running_manage: VBoxManage, tmp_path: Path) -> Iterator[Callable[..., VirtualBoxMachine]]:
    """Make the runtime of a configuration; its VM is not defined yet."""
    keys.generate(tmp_path / "key", comment="test")
    made: list[VirtualBoxMachine] = []

    def make(port: int | None = None, *, auto: bool = True) -> VirtualBoxMachine:
        config = configuration(port or driverless.free_port(), auto=auto)
        made.append(
            VirtualBoxMachine(config, running_manage, tmp_path / "data/tiny", tmp_path / "key")
        )
        return made[-1]

    yield make
    for each in made:
        with contextlib.suppress(HypervisorError):  # the name may be a foreign VM's
            each.destroy()


def defined(made: VirtualBoxMachine, image: Path) -> VirtualBoxMachine:
    driverless.interpreted(made.manage, made.define([image]))
    return made


def up(made: VirtualBoxMachine) -> Callable[[], bool]:
    return lambda: made.console.exists() and "ready" in made.console.read_text(errors="replace")


def test_define_start_reach_stop_destroy(
    vm: Callable[..., VirtualBoxMachine], tiny_image: Path, eventually: Wait
) -> None:
    tiny = defined(vm(), tiny_image)
    values = tiny.get().properties
    assert {
        key: values[key]
        for key in ("firmware", "rtcuseutc", "audio_out", "usb", "xhci", "memory", "cpus", "vrde")
    } == {
        "firmware": "BIOS", "rtcuseutc": "on", "audio_out": "off", "usb": "off", "xhci": "off",
        "memory": "32", "cpus": "1", "vrde": "off",
    }  # fmt: skip
    assert values["SATA-discard-0-0"] == values["SATA-nonrotational-0-0"] == "on"
    assert {(f.name, f.host_ip) for f in tiny.forwards()} == {
        ("ssh", "127.0.0.1"), ("notebook", ""),
    }  # fmt: skip
    with pytest.raises(HypervisorError, match="exists already"):
        tiny.define([tiny_image])
    # What VirtualBox makes of it by itself, once its service has begun anew.
    tiny.manage.run("modifyvm", tiny.get().uuid, "--nat-localhostreachable1=on")
    with pytest.raises(GuestError, match=f"port {tiny.host_port(22)}"):
        tiny.start(timeout=3)  # it greets as SSH does, and knows no more of it
    assert not nat.reaches_host(tiny.get())
    eventually(up(tiny))
    tiny.stop()
    assert tiny.get().state == "poweroff"
    assert "power button" in tiny.console.read_text()
    disk = tiny.get().attachments[0].medium
    assert tiny.destroy()
    assert not disk.exists()
    assert not tiny.destroy()
    with pytest.raises(HypervisorError, match="there is no VM 'tiny'"):
        tiny.get()


def test_a_taken_port_is_corrected_or_refused_by_name(
    vm: Callable[..., VirtualBoxMachine], tiny_image: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        tiny = defined(vm(port), tiny_image)
        strict = vm(port, auto=False)
        with pytest.raises(HostNotReadyError, match=rf"port {port} .* \(pid {os.getpid()}\)"):
            strict.power_on()
        tiny.power_on()
        assert tiny.host_port(22) > port
        assert "VBoxHeadless" in ports.holder(tiny.host_port(22))
        tiny.stop(grace=0)
    strict.power_on()
    assert strict.host_port(22) == port


def test_a_port_taken_between_check_and_start(
    vm: Callable[..., VirtualBoxMachine], tiny_image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        strict = defined(vm(port, auto=False), tiny_image)
        tiny = vm(port)
        monkeypatch.setattr(nat, "check", lambda forwards: None)
        with pytest.raises(HostNotReadyError, match=rf"\(pid {os.getpid()}\)"):
            strict.power_on()
        assert strict.get().state == "poweroff", "a VM that nobody can reach is not left running"
        corrected, looks = nat.correct, iter([1, 2])

        def blind_at_first(wanted: tuple[nat.Forward, ...]) -> tuple[nat.Forward, ...]:
            return wanted if next(looks) == 1 else corrected(wanted)

        monkeypatch.setattr(nat, "correct", blind_at_first)
        tiny.power_on()
        assert tiny.host_port(22) > port


def test_a_foreign_vm_of_the_name_is_left_alone(
    vm: Callable[..., VirtualBoxMachine], tiny_image: Path, tmp_path: Path
) -> None:
    tiny = vm()
    tiny.manage.run(
        "createvm", "--name", "tiny", "--register", "--basefolder", str(tmp_path / "theirs")
    )
    for attempt in (lambda: tiny.define([tiny_image]), tiny.power_on, tiny.stop, tiny.destroy):
        with pytest.raises(HypervisorError, match="did not make"):
            attempt()
    assert len(machine.find(tiny.manage, "tiny")) == 1


def test_interrupted_while_it_is_defined_nothing_is_left(
    vm: Callable[..., VirtualBoxMachine], tiny_image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = vm()
    with monkeypatch.context() as patch:
        patch.setattr(tiny.__class__, "settle", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            tiny.define([tiny_image])
    assert machine.find(tiny.manage, "tiny") == ()
    assert tiny.manage.run("list", "hdds") == ""
    assert tiny.define([tiny_image])


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_killed_while_it_is_defined_the_next_call_begins_anew(
    vm: Callable[..., VirtualBoxMachine], tiny_image: Path
) -> None:
    tiny = vm()
    code = (
        "import os, signal, sys; from pathlib import Path; from provision.config import Config;"
        "from provision.machine.virtualbox import VirtualBoxMachine as V; from vbox import *;"
        "V.settle = lambda *_: os.kill(os.getpid(), signal.SIGKILL);"
        "p = [Path(a) for a in sys.argv[1:]];"
        "V(Config(name='tiny'), VBoxManage(p[0]), p[1], p[2]).define([p[3]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tiny.manage.path, tiny.folder, tiny.key, tiny_image],
        env={**os.environ, **tiny.manage.env},
        check=False,
    )
    assert done.returncode == -9
    assert len(machine.find(tiny.manage, "tiny")) == 1
    assert tiny.find() is None
    assert tiny.define([tiny_image]).attachments


def test_a_full_disk_while_it_is_defined_leaves_nothing(
    vm: Callable[..., VirtualBoxMachine], tmp_path: Path
) -> None:
    tiny = vm()
    image = tmp_path / "root.raw"
    image.write_bytes(os.urandom(8 * MIB))
    tiny.folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", tiny.folder], check=True)
    try:
        with pytest.raises(HostNotReadyError, match="no space left") as caught:
            tiny.define([image])
        assert str(tiny.folder) in str(caught.value)
        assert machine.find(tiny.manage, "tiny") == ()
        assert tiny.manage.run("list", "hdds") == ""
        assert not [path for path in tiny.folder.rglob("*") if path.is_file()]
        subprocess.run(["mount", "-o", "remount,size=64m", tiny.folder], check=True)
        assert tiny.define([image]).attachments
        tiny.destroy()
    finally:
        subprocess.run(["umount", "--lazy", tiny.folder], check=True)


def test_a_vm_that_dies_while_it_boots_ends_the_wait(
    vm: Callable[..., VirtualBoxMachine], tiny_image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = defined(vm(), tiny_image)
    tiny.power_on()
    check = tiny._alive()
    machine.power_off(tiny.manage, tiny.get())
    monkeypatch.setattr(virtualbox, "ALIVE_SECONDS", 0)
    with pytest.raises(HypervisorError, match="went poweroff while it booted"):
        check()


@pytest.fixture
def appliance_command(
    running_manage: VBoxManage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process: exit code, stdout, stderr."""
    for name, value in running_manage.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{running_manage.path.parent}:{os.environ['PATH']}")
    for name in ("DATA", "CACHE", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    ssh, web = driverless.free_port(), driverless.free_port()
    configured = (
        "--set", f"network.forwards.ssh.host={ssh}",
        "--set", f"network.forwards.notebook.host={web}",
    )  # fmt: skip

    def call(*words: str, options: bool = True) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*words, *(configured if options else ())])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def test_the_verbs_from_import_to_destroy(
    appliance_command: Callable[..., tuple[int, str, str]],
    running_manage: VBoxManage,
    vm: Callable[..., VirtualBoxMachine],
    tiny_image: Path,
    tmp_path: Path,
) -> None:
    call = appliance_command
    made = vm().define([tiny_image])
    ova = tmp_path / "sage-1.0.ova"
    appliance.export(running_manage, made, ova)

    assert json.loads(call("status", "--json")[1]) == {"name": "sage", "state": "not defined"}
    code, _, err = call("ssh")
    assert (code, "there is no VM 'sage'" in err, "appliance import" in err) == (5, True, True)
    code, out, err = call("import", str(ova), "--json")
    assert code == 0, err
    identity = json.loads(out)["uuid"]
    assert call("import", str(ova))[0] == 5
    machine_ = machine.show(running_manage, identity)
    assert machine_.properties["memory"] == "6144"
    driverless.interpreted(running_manage, machine_)
    machine.modify(running_manage, machine_, memory=32)

    code, out, err = call("up", "--no-wait")
    assert code == 0, err
    assert "https://localhost:" in out
    report = json.loads(call("status", "--json")[1])
    assert report["state"] == "running"
    assert {each["name"] for each in report["forwards"]} == {"ssh", "notebook", "sessions"}
    assert call("up", "--no-wait", "--json")[0] == 0, "a second up changes nothing"
    deadline = time.monotonic() + 60
    while "ready" not in (shown := call("logs")[1]):
        assert time.monotonic() < deadline, shown
        time.sleep(0.1)
    assert "VirtualBox VM" in call("logs", "--vbox", "-n", "5000")[1]

    assert call("snapshot", "take", "clean")[0] == 0
    listed = json.loads(call("snapshot", "list", "--json")[1])
    assert [(each["name"], each["current"]) for each in listed] == [("clean", True)]
    assert call("snapshot", "restore", "clean")[0] == 5, "it runs"
    assert call("down", "--force")[0] == 0
    assert call("snapshot", "restore", "clean")[0] == 0
    assert call("snapshot", "restore", "dirty")[0] == 5
    assert call("snapshot", "delete", "clean")[0] == 0
    assert call("snapshot", "list")[1] == ""
    assert snapshot.snapshots(running_manage, machine_) == ()

    code, _, err = call("destroy")
    assert (code, "add --yes" in err) == (2, True)
    assert call("destroy", "--yes")[0] == 0
    assert machine.find(running_manage, "sage") == ()
    assert call("destroy", "--yes")[0] == 0


def test_forwards_of_2008_are_offered_for_migration(
    appliance_command: Callable[..., tuple[int, str, str]],
    running_manage: VBoxManage,
    tmp_path: Path,
) -> None:
    old = machine.create(running_manage, "sage 2008", "somebody", folder=tmp_path / "machines")
    machine.modify(running_manage, old, nic1="nat")
    base = "VBoxInternal/Devices/pcnet/0/LUN#0/Config/notebook"
    for key, value in (("HostPort", "8000"), ("GuestPort", "80"), ("Protocol", "TCP")):
        running_manage.run("setextradata", old.uuid, f"{base}/{key}", value)
    code, out, err = appliance_command("migrate", "sage 2008", options=False)
    assert (code, out) == (0, "notebook,tcp,,8000,,80\n")
    assert "nothing changed" in err
    assert nat.read_forwards(machine.show(running_manage, old.uuid)) == ()
    code, out, _ = appliance_command("migrate", "sage 2008", "--yes", "--json", options=False)
    assert json.loads(out)["migrated"]
    (forward,) = nat.read_forwards(machine.show(running_manage, old.uuid))
    assert (forward.host_port, forward.guest_port) == (8000, 80)
    code, out, err = appliance_command("migrate", "sage 2008", options=False)
    assert (code, out) == (0, "")
    assert appliance_command("migrate", "none", options=False)[0] == 5


def test_an_ova_of_ours_comes_in_with_both_disks(
    vm: Callable[..., VirtualBoxMachine], tiny_image: Path, tmp_path: Path, eventually: Wait
) -> None:
    tiny, ova = vm(), tmp_path / "tiny.ova"
    about = OvaAppliance(name="any", product="p", version="1", epoch=0, cpus=1, memory=64 * MIB)
    disks = [
        OvaDisk(name=name, raw_path=tiny_image, uuid=uuid.uuid4()) for name in ("root", "home")
    ]
    write_ova(ova, about, disks)
    brought = tiny.bring(ova)
    assert [(a.controller, a.port, a.medium.suffix) for a in brought.attachments] == [
        ("SATA", 0, ".vdi"),
        ("SATA", 1, ".vdi"),
    ]
    values = brought.properties
    assert values["SATA-discard-0-0"] == values["SATA-discard-1-0"] == "on"
    assert values["nictype1"] == "virtio"
    driverless.interpreted(tiny.manage, brought)
    tiny.power_on()
    eventually(up(tiny))
