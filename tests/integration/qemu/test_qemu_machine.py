"""A real guest under QEMU: what it may touch, how it is saved, how it ends."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import paramiko
import pytest

from provision.errors import HypervisorError
from provision.machine import SshEndpoint, kvm, qemu
from provision.machine.credentials import smbios
from provision.machine.qemu import DirectBoot, QemuMachine
from provision.machine.ssh import NoAnswerError, connect, execute

LOGIN_SECONDS = 300
# Most of what begins at boot and is not asked here: emulated, it takes minutes of the processor,
# which SSH has to share. systemd takes a drop-in of a unit from the machine that boots it.
STILL = (
    *("notebook", "notebook-proxy", "notebook-usage", "nursery@notebook", "nursery@python"),
    *("grader@default", "sandbox-image@python"),
)
NEVER = "[Unit]\nConditionPathExists=/nowhere\n"


@dataclass(frozen=True)
class Running:
    machine: QemuMachine
    endpoint: SshEndpoint
    directory: Path


@pytest.fixture(scope="module")
def running(
    disks: tuple[Path, ...], admin: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A booted guest. KVM is claimed to work, so a host where it does not shows the way out."""
    directory = tmp_path_factory.mktemp("qemu")
    still = {f"systemd.unit-dropin.{unit}.service": NEVER for unit in STILL}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kvm, "works", lambda: True)
        patch.setattr(kvm, "user_cache_path", lambda _: directory / "cache")
        with QemuMachine(
            disks, user=admin, forwards={8000: 0}, directory=directory / "machine"
        ) as machine:
            with pytest.MonkeyPatch.context() as start:
                start.setattr(qemu, "smbios", lambda told: smbios({**told, **still}))
                endpoint = machine.start()
            yield Running(machine, endpoint, directory)


def told(running: Running, command: str) -> str:
    with contextlib.closing(connect(running.endpoint)) as client:
        return execute(client, command).stdout.strip()


def gone(pid: int, *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


def test_the_admin_signs_in_without_any_key_of_the_users(running: Running, admin: str) -> None:
    assert told(running, "id -un; sudo -n id -un") == f"{admin}\nroot"
    assert told(running, "findmnt -no FSTYPE /home") == "ext4"


def test_kvm_that_fails_the_guest_is_remembered(running: Running) -> None:
    verdicts = [file.read_text() for file in (running.directory / "cache").glob("kvm-*")]
    emulated = told(running, "systemd-detect-virt") == "qemu"
    assert verdicts == (["fails"] if emulated else [])


def test_the_given_disks_are_only_read(running: Running, disks: tuple[Path, ...]) -> None:
    # Not their blocks: the host allocates them when it writes its own cache back.
    before = [(disk.stat().st_mtime_ns, disk.stat().st_size) for disk in disks]
    told(running, "sudo dd if=/dev/urandom of=/home/noise bs=1M count=8 conv=fsync")
    assert [(disk.stat().st_mtime_ns, disk.stat().st_size) for disk in disks] == before


def test_the_console_is_in_a_file(running: Running) -> None:
    deadline = time.monotonic() + LOGIN_SECONDS
    while "verify login:" not in (told := running.machine.console.read_text(errors="replace")):
        assert time.monotonic() < deadline, told
        time.sleep(1)


def test_root_and_passwords_do_not_get_in(running: Running) -> None:
    transport = paramiko.Transport(("127.0.0.1", running.machine.host_port(22)))
    with contextlib.closing(transport):
        transport.start_client(timeout=60)
        with pytest.raises(paramiko.BadAuthenticationType) as refusal:
            transport.auth_none("root")
        assert refusal.value.allowed_types == ["publickey"]


@pytest.mark.slow
def test_a_saved_guest_goes_on_without_a_boot(running: Running) -> None:
    mark = "/var/tmp/mark /proc/sys/kernel/random/boot_id"
    before = told(running, f"sync; echo before | sudo tee /var/tmp/mark > /dev/null; cat {mark}")
    running.machine.save()
    told(running, "echo after | sudo tee /var/tmp/mark")
    running.machine.restore()
    assert told(running, f"cat {mark}") == before
    running.machine.cut()
    resumed = replace(running, endpoint=running.machine.start())
    assert told(resumed, f"cat {mark}") == before
    running.machine.stop()
    assert "Power down" in running.machine.console.read_text(errors="replace")


def test_qemu_ends_with_us_even_when_we_are_killed(disks: tuple[Path, ...]) -> None:
    program = f"""
        import threading
        from pathlib import Path
        from provision.machine import qemu

        def tell(endpoint, **_):
            print(machine._process.pid, machine._directory, flush=True)
            threading.Event().wait()

        qemu.wait_for_ssh = tell
        machine = qemu.QemuMachine([Path({str(disks[0])!r})], accelerator="tcg")
        machine.start()
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    pid, directory = child.stdout.readline().split()
    assert "qemu-system" in Path(f"/proc/{pid}/cmdline").read_text()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert gone(int(pid), seconds=10)
    subprocess.run(["rm", "-rf", directory], check=True)


def test_a_taken_port_is_named(disks: tuple[Path, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        machine = QemuMachine(disks[:1], forwards={22: port})
        with machine, pytest.raises(HypervisorError, match=f"{port}"):
            machine.start()


def test_a_disk_that_does_not_boot_ends_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu, "EMULATED_BOOT_SECONDS", 4)
    disk = tmp_path / "empty, really.raw"
    with disk.open("wb") as file:
        file.truncate(1 << 20)
    machine = QemuMachine([disk], accelerator="tcg")
    with machine, pytest.raises(NoAnswerError):
        machine.start()
    assert disk.stat().st_blocks == 0


def test_the_kvm_probe_says_no_more_than_it_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kvm, "user_cache_path", lambda _: tmp_path)
    begun = time.monotonic()
    verdict = kvm.works()
    assert time.monotonic() - begun < 2 * kvm.PROBE_SECONDS
    assert not verdict or kvm.DEVICE.exists()


def test_the_probes_boot_sector_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Emulated, so that a host without KVM proves that a `no` is not the sector's own fault."""
    run = subprocess.run

    def emulated(argv: list[str], **options: object) -> object:
        words = ["tcg" if word == "kvm" else "max" if word == "host" else word for word in argv]
        return run(words, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", emulated)
    assert kvm._boots()


@pytest.mark.slow
def test_a_kernel_can_be_started_directly_on_virtio_disks(
    disks: tuple[Path, ...], admin: str, tmp_path: Path
) -> None:
    image = f"{disks[0]}?offset={1 << 20}"
    listed = subprocess.run(
        ["debugfs", "-R", "ls -p /boot", image], capture_output=True, text=True, check=True
    ).stdout
    names = [line.split("/")[5] for line in listed.splitlines() if line.startswith("/")]
    for prefix in ("vmlinuz-", "initrd.img-"):
        (name,) = (name for name in names if name.startswith(prefix))
        target = tmp_path / prefix.rstrip("-")
        subprocess.run(["debugfs", "-R", f"dump /boot/{name} {target}", image], check=True)
    boot = DirectBoot(
        tmp_path / "vmlinuz",
        tmp_path / "initrd.img",
        "root=LABEL=root ro console=ttyS0 from-qemu",
    )
    with QemuMachine(disks, user=admin, bus="virtio", boot=boot) as machine:
        endpoint = machine.start()
        with contextlib.closing(connect(endpoint)) as client:
            assert "from-qemu" in execute(client, "cat /proc/cmdline").stdout
            assert "vd" in execute(client, "findmnt -no SOURCE /").stdout


@pytest.mark.slow
def test_vdi_disks_boot_too(disks: tuple[Path, ...], admin: str, tmp_path: Path) -> None:
    images = []
    for disk in disks:
        image = tmp_path / f"{disk.stem}.vdi"
        subprocess.run(["qemu-img", "convert", "-O", "vdi", disk, image], check=True)
        images.append(image)
    with QemuMachine(images, user=admin) as machine:
        endpoint = machine.start()
        with contextlib.closing(connect(endpoint)) as client:
            assert execute(client, "findmnt -no FSTYPE /home").stdout.strip() == "ext4"
        with pytest.raises(HypervisorError, match="cannot save"):
            machine.save()
