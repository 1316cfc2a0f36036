"""What only a virtual machine shows: cgroup limits, disk quota, bound ports, pauses, power cuts.

Slow: the appliance's disks are made and booted in QEMU, mostly without KVM.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from guest import PORT, Guest, machine_disks
from student import Kernel, Student

from provision.config import Config
from provision.jeos.layers import private_mounts
from provision.machine.qemu import QemuMachine
from provision.machine.ssh import connect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

MIB = 1 << 20
LIMITS = {"memory": 512 * MIB, "swap": 0, "cpu": 50, "tasks": 100, "files": 1024}
LIMITS |= {"file_size": 1024 * MIB, "tmp": 64 * MIB, "disk": 100 * MIB}


@contextmanager
def _switched_on(vm: QemuMachine) -> Iterator[Guest]:
    with connect(vm.start()) as client:
        guest = Guest(f"http://127.0.0.1:{vm.forwarded(PORT)}", client)
        guest.wait(600)
        yield guest


@pytest.fixture(scope="module")
def disks(layers: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    private_mounts()
    config = Config.model_validate({"pool": {"count": 2}, "sage": {"source": "none"}})
    variables = {
        "notebook_secure": False,
        "notebook_accounts": True,
        "notebook_limits": LIMITS,
    }
    return machine_disks(layers, tmp_path_factory.mktemp("disks"), config, variables)


def _tell(vm: QemuMachine, command: str) -> None:
    assert vm._monitor is not None
    vm._monitor.execute(command)


def _vm(disks: list[Path]) -> QemuMachine:
    return QemuMachine(disks, forwards={PORT: 0}, memory=3072 * MIB, write=True)


@pytest.fixture(scope="module")
def vm(disks: list[Path]) -> Iterator[QemuMachine]:
    vm = _vm(disks)
    yield vm
    vm.cut()


@pytest.fixture(scope="module")
def machine(vm: QemuMachine) -> Iterator[Guest]:
    with _switched_on(vm) as guest:
        yield guest


@pytest.fixture(scope="module")
def bystander(machine: Guest) -> Kernel:
    """Somebody who works on while the other misbehaves."""
    kernel = Student(machine.url, "bystander").sign_in().start(600).kernel()
    kernel.run("x = 41", 300)
    return kernel


@pytest.fixture(scope="module")
def bomber(machine: Guest, bystander: Kernel) -> Kernel:
    return Student(machine.url, "bomber").sign_in().start(600).kernel()


def test_too_much_memory_ends_what_takes_it(bomber: Kernel, bystander: Kernel) -> None:
    told = bomber.shell("python3 -c 'bytearray(700 << 20)'; echo status $?", 300)
    assert "status 137" in told
    assert bomber.run("1 + 1", 300) == "2"
    assert bystander.run("x + 1", 300) == "42"


def test_a_fork_bomb_stops_at_the_tasks_limit(
    machine: Guest, bomber: Kernel, bystander: Kernel
) -> None:
    bomber.shell("timeout 10 bash -c ':(){ :|:& };:' > /dev/null 2>&1; true", 300)
    assert bystander.run("x + 1", 300) == "42"
    uid = machine.run("id -u nb2").strip()
    shown = machine.run(f"systemctl show user-{uid}.slice -p TasksMax --value")
    assert int(shown) == LIMITS["tasks"]
    peak = machine.run(f"cat /sys/fs/cgroup/user.slice/user-{uid}.slice/pids.peak")
    assert int(peak) <= LIMITS["tasks"]
    machine.run("pkill -KILL -u nb2 -x bash; sleep 1; pkill -KILL -u nb2 -x bash; true")


def test_the_processor_is_shared(machine: Guest, bomber: Kernel) -> None:
    uid = machine.run("id -u nb2").strip()
    usage = f"awk '/usage_usec/ {{print $2}}' /sys/fs/cgroup/user.slice/user-{uid}.slice/cpu.stat"
    before = int(machine.run(usage))
    bomber.shell("timeout 10 sh -c 'while :; do :; done & while :; do :; done'; true", 300)
    assert int(machine.run(usage)) - before < 8_000_000  # 50 % of 10 s, and what is around it


def test_a_students_files_have_a_quota(bomber: Kernel, bystander: Kernel) -> None:
    told = bomber.shell("dd if=/dev/zero of=big bs=1M count=300; rm -f big; true", 300)
    assert "Disk quota exceeded" in told
    assert bystander.shell("echo fine > small && cat small", 300) == "fine\n"


def test_nobody_takes_anothers_port(machine: Guest, bomber: Kernel) -> None:
    uid = int(machine.run("id -u nb1"))
    told = bomber.run(f"import socket; socket.socket().bind(('127.0.0.1', {10000 + uid}))", 300)
    assert "PermissionError" in told


def test_there_are_no_user_namespaces(bomber: Kernel) -> None:
    assert "done" not in bomber.shell("unshare -Ur true && echo done", 300)


def test_the_machine_is_well(machine: Guest) -> None:
    assert machine.run("systemctl --failed --plain --no-legend").strip() == ""


def test_a_paused_machine_goes_on(vm: QemuMachine, bystander: Kernel) -> None:
    _tell(vm, "stop")
    time.sleep(20)
    _tell(vm, "cont")
    assert bystander.run("x + 1", 300) == "42"


def test_a_clock_that_jumps_ends_no_session(machine: Guest, bystander: Kernel) -> None:
    """Neither a machine that slept nor a clock that is set makes a session idle or old."""
    machine.run("systemctl stop systemd-timesyncd; date -s '+2 days'")
    machine.run("sleep 30", 300)
    assert bystander.student.ready()
    assert bystander.run("x + 1", 300) == "42"
    machine.run("date -s '-2 days'")
    assert bystander.run("x + 1", 300) == "42"


def test_a_full_disk_of_students_stops_nobody(machine: Guest, bystander: Kernel) -> None:
    machine.run("fallocate -l $(df --output=avail -B1 /home | tail -1) /home/full", 300)
    try:
        assert "No space left" in bystander.shell("echo x | dd of=more oflag=sync; true", 300)
        assert bystander.run("x + 1", 300) == "42"
    finally:
        machine.run("rm /home/full")
    assert bystander.shell("echo fine > small && cat small", 300) == "fine\n"


def test_a_machine_out_of_memory_keeps_its_hub_and_sessions(
    machine: Guest, bystander: Kernel
) -> None:
    units = "notebook notebook-proxy sshd-pool"
    before = machine.run(f"systemctl show -P MainPID {units}")
    greedy = "systemd-run --wait -Gq python3 -c '[bytearray(1 << 26) for _ in range(200)]'"
    assert "greedy survived" not in machine.run(f"{greedy} && echo greedy survived || true", 600)
    assert machine.run("journalctl -qkb -g 'Out of memory: Killed process .*python3'")
    assert machine.run(f"systemctl show -P MainPID {units}") == before
    assert bystander.run("x + 1", 300) == "42"


def test_a_power_cut_loses_no_file_and_no_lease(
    machine: Guest, vm: QemuMachine, disks: list[Path], bystander: Kernel
) -> None:
    cell = {"cell_type": "code", "source": "6 * 7", "outputs": [], "metadata": {}}
    book = {"cells": [cell | {"execution_count": None}], "metadata": {}, "nbformat": 4}
    content = {"type": "notebook", "content": book | {"nbformat_minor": 2}}
    bystander.student.server("PUT", "contents/saved.ipynb", content)
    vm.cut()
    again = _vm(disks)
    try:
        with _switched_on(again) as guest:
            assert guest.run("notebook-sessions") == ""
            assert guest.run("ps -u nb1,nb2 -o pid= || true").strip() == ""
            assert guest.run("find /home/nb1 /home/nb2 -mindepth 1 ! -name '.*'") == ""
            student = Student(guest.url, "bystander").sign_in().start(600)
            saved = student.server("GET", "contents/saved.ipynb")["content"]
            assert saved["cells"][0]["source"] == "6 * 7", json.dumps(saved)
            assert student.kernel().run("6 * 7", 300) == "42"
            assert guest.run("systemctl --failed --plain --no-legend").strip() == ""
    finally:
        again.cut()
