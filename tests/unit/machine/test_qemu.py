"""What QEMU is told, and what is read from it; nothing is started here."""

import base64
import json
import socket
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from provision.errors import HostNotReadyError, HypervisorError
from provision.machine import kvm, qemu
from provision.machine.credentials import sign_in, smbios
from provision.machine.qmp import Monitor

USERNET = """\
Hub -1 (net):
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
  TCP[HOST_FORWARD]  13       127.0.0.1 40937       10.0.2.15    22     0     0
  TCP[HOST_FORWARD]  14       127.0.0.1 35093       10.0.2.15  8000     0     0
  UDP[236 sec]       21       10.0.2.15 36112        10.0.2.3    53     0     0
"""


def test_forwards_are_read_from_what_qemu_really_opened() -> None:
    assert qemu._forwards(USERNET) == {22: 40937, 8000: 35093}


@pytest.mark.parametrize(
    ("version", "expected"), [((7, 2), "max,cx16=off"), ((8, 0), "max"), ((10, 0), "max")]
)
def test_old_emulation_does_without_its_broken_instruction(
    version: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu, "_version", lambda _: version)
    monkeypatch.setattr(qemu, "require", lambda tool, _: tool)
    assert qemu.QemuMachine([])._cpu("tcg") == expected
    assert qemu.QemuMachine([])._cpu("kvm") == "host"


def test_a_comma_in_a_path_does_not_end_the_option() -> None:
    assert qemu._escape(Path("/a,b/c.raw")) == "/a,,b/c.raw"


def test_the_console_of_a_place_with_a_comma_is_in_that_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "room 3, left"
    monkeypatch.setattr(qemu, "require", lambda tool, _: tool)
    monkeypatch.setattr(qemu, "_version", lambda _: (10, 0))
    key = tmp_path / "key"
    argv = qemu.QemuMachine([], directory=place, key=key)._argv("tcg", False, key, 3, 4)
    (serial,) = (word for word in argv if word.startswith("file,id=serial"))
    assert f"path={str(place).replace(',', ',,')}/console.log," in serial


def test_a_machine_that_does_not_run_can_be_stopped_but_not_saved() -> None:
    machine = qemu.QemuMachine([])
    machine.stop()
    with pytest.raises(HypervisorError, match="not running"):
        machine.save()


def test_root_is_let_in_by_a_key_alone() -> None:
    assert sign_in("root", "ssh-ed25519 AAAA us") == {
        "ssh.authorized_keys.root": "ssh-ed25519 AAAA us"
    }


def test_another_account_is_let_in_besides_its_own_keys() -> None:
    lines = sign_in("sageadm", "ssh-ed25519 AAAA us")["tmpfiles.extra"].splitlines()
    contents = [base64.b64decode(line.split()[-1]).decode() for line in lines[1:]]
    assert contents[0] == "ssh-ed25519 AAAA us"
    assert contents[1].startswith("Match User sageadm\n")
    assert "AuthorizedKeysFile" not in contents[1]


def test_credentials_reach_systemd_unharmed_by_qemus_commas() -> None:
    option, value = smbios({"name": "a,b\nc"})
    assert option == "-smbios"
    encoded = value.removeprefix("type=11,value=io.systemd.credential.binary:name=")
    assert base64.b64decode(encoded) == b"a,b\nc"


class FakeQemu(Thread):
    """The other end of a monitor's socket: answers each command with the next line."""

    def __init__(self, *answers: dict[str, object]) -> None:
        super().__init__(daemon=True)
        self.ours, self.theirs = socket.socketpair()
        self.answers = answers
        self.asked: list[dict[str, object]] = []

    def run(self) -> None:
        with self.theirs, self.theirs.makefile("rwb") as stream:
            stream.write(b'{"QMP": {"version": {}}}\n')
            stream.flush()
            for answer in ({"return": {}}, *self.answers):
                self.asked.append(json.loads(stream.readline()))
                stream.write(json.dumps({"event": "RESUME"}).encode() + b"\n")
                stream.write(json.dumps(answer).encode() + b"\n")
                stream.flush()


def test_the_monitor_passes_over_events_and_tells_refusals() -> None:
    fake = FakeQemu({"return": {"status": "running"}}, {"error": {"desc": "no such thing"}})
    fake.start()
    monitor = Monitor(fake.ours)
    monitor.negotiate()
    assert monitor.execute("query-status") == {"status": "running"}
    with pytest.raises(HypervisorError, match="refused fly: no such thing"):
        monitor.execute("fly", height=3)
    assert fake.asked[-1] == {"execute": "fly", "arguments": {"height": 3}}
    with pytest.raises(HypervisorError, match=r"closed|gone|does not answer"):
        monitor.execute("query-status")


def test_kvm_without_its_device_is_not_probed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kvm, "DEVICE", tmp_path / "kvm")
    monkeypatch.setattr(kvm, "_boots", lambda: pytest.fail("probed"))
    assert not kvm.works()


def test_the_probe_runs_once_for_each_boot_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probes: list[int] = []
    monkeypatch.setattr(kvm, "DEVICE", tmp_path)
    monkeypatch.setattr(kvm, "user_cache_path", lambda _: tmp_path / "cache")
    monkeypatch.setattr(kvm, "_boots", lambda: not probes.append(1))
    assert kvm.works()
    assert kvm.works()
    assert len(probes) == 1
    kvm.remember(False)
    assert not kvm.works()


def test_the_boot_sector_is_one() -> None:
    assert len(kvm.BOOT_SECTOR) == 512
    assert kvm.BOOT_SECTOR.endswith(b"\x55\xaa")


def test_an_emulated_kernel_that_panics_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = qemu.QemuMachine([], directory=tmp_path, accelerator="tcg")
    running = SimpleNamespace(execute=lambda _: {"status": "running"})
    starts: list[int] = []

    def start(_: str) -> str:
        machine._told = machine.console.stat().st_size if starts else 0
        starts.append(1)
        with machine.console.open("ab") as console:
            console.write(b"Kernel panic - not syncing: int3\n" if len(starts) < 3 else b"login:")
        machine._check_alive()
        return "endpoint"

    monkeypatch.setattr(machine, "_running", lambda: running)
    monkeypatch.setattr(machine, "_start", start)
    assert machine.start() == "endpoint"
    assert len(starts) == 3


def test_the_processors_of_an_old_emulator_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu, "require", lambda tool, _: tool)
    monkeypatch.setattr(qemu, "_version", lambda _: (7, 2))
    assert qemu.QemuMachine([])._threads() == "single"
    assert qemu.QemuMachine([], arch="arm64")._threads() == "multi"
    monkeypatch.setattr(qemu, "_version", lambda _: (10, 0))
    assert qemu.QemuMachine([])._threads() == "multi"


def test_a_guest_of_another_architecture_has_its_board_and_its_firmware(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu, "require", lambda tool, _: tool)
    monkeypatch.setattr(Path, "exists", lambda _: True)
    monkeypatch.setattr(kvm, "works", lambda: True)
    (tmp_path / "key.pub").write_text("ssh-ed25519 AAAA us")
    machine = qemu.QemuMachine([], directory=tmp_path, key=tmp_path / "key", arch="arm64")
    assert not machine._has_kvm()
    argv = machine._argv("tcg", False, tmp_path / "key", 3, 4)
    assert argv[0] == "qemu-system-aarch64"
    assert {"virt", "-bios", "cortex-a72", "virtio-net-pci,netdev=net"} <= set(argv)


def test_firmware_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu, "require", lambda tool, _: tool)
    monkeypatch.setattr(Path, "exists", lambda _: False)
    machine = qemu.QemuMachine([], directory=tmp_path, key=tmp_path / "key", arch="arm64")
    with pytest.raises(HostNotReadyError, match=r"QEMU_EFI\.fd is missing") as caught:
        machine._argv("tcg", False, tmp_path / "key", 3, 4)
    assert "qemu-efi-aarch64" in str(caught.value.hint)


def test_a_guest_has_a_stream_only_where_it_is_asked_for(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.with_suffix(".pub").write_text("ssh-ed25519 AAAA build\n")
    for streams in (False, True):
        machine = qemu.QemuMachine([], directory=tmp_path, key=key, streams=streams)
        argv = machine._argv("tcg", False, key, 3, 4)
        assert ("socket,id=stream,fd=4" in argv) == streams
        with pytest.raises(HypervisorError, match="stream"):  # it does not run
            _ = machine.stream
