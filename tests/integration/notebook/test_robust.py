"""What a virtual machine goes through: pauses, clocks that jump, no memory, power cuts.

Slow: the appliance's disks are made and booted in QEMU, mostly without KVM.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import Guest
from student import Kernel, Student
from virtual import STUDENTS, machine, make_disks, pause, switched_on

from provision.machine.qemu import QemuMachine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def disks(layers: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_disks(layers, tmp_path_factory.mktemp("disks"))


@pytest.fixture(scope="module")
def vm(disks: list[Path]) -> Iterator[QemuMachine]:
    vm = machine(disks)
    yield vm
    vm.cut()


@pytest.fixture(scope="module")
def guest(vm: QemuMachine) -> Iterator[Guest]:
    with switched_on(vm) as guest:
        guest.wait(600)
        yield guest


@pytest.fixture(scope="module")
def bystander(guest: Guest) -> Kernel:
    """Somebody who works on, whatever happens."""
    kernel = Student(guest.url, "bystander").sign_in().start(600).kernel()
    kernel.run("x = 41", 300)
    return kernel


def test_a_paused_machine_goes_on(vm: QemuMachine, bystander: Kernel) -> None:
    pause(vm, 20)
    assert bystander.run("x + 1", 300) == "42"


def test_a_clock_that_jumps_ends_no_session(guest: Guest, bystander: Kernel) -> None:
    """Neither a machine that slept nor a clock that is set makes a session idle or old."""
    guest.run("systemctl stop systemd-timesyncd; date -s '+2 days'")
    guest.run("sleep 30", 300)
    assert bystander.student.ready()
    assert bystander.run("x + 1", 300) == "42"
    guest.run("date -s '-2 days'")
    assert bystander.run("x + 1", 300) == "42"


def test_a_full_disk_of_students_stops_nobody(guest: Guest, bystander: Kernel) -> None:
    guest.run("fallocate -l $(df --output=avail -B1 /home | tail -1) /home/full", 300)
    try:
        assert "No space left" in bystander.shell("echo x | dd of=more oflag=sync; true", 300)
        assert bystander.run("x + 1", 300) == "42"
    finally:
        guest.run("rm /home/full")
    assert bystander.shell("echo fine > small && cat small", 300) == "fine\n"


def test_a_machine_out_of_memory_ends_the_greediest_session_only(
    guest: Guest, bystander: Kernel
) -> None:
    """As where more sessions run than the memory promises: here one whose limit was lifted."""
    units = "notebook notebook-proxy sshd-pool"
    before = guest.run(f"systemctl show -P MainPID {units}")
    greedy = Student(guest.url, "greedy").sign_in().start(600)
    kernel = greedy.kernel()
    place = next(n for n in guest.run("notebook-sessions").splitlines() if n.endswith(" greedy"))
    uid = guest.run(f"id -u {place.partition('@')[0]}").strip()
    guest.run(f"systemctl set-property --runtime user-{uid}.slice MemoryMax=infinity")
    # Before the kernel acts, the emulated machine stands still for two minutes, after which the
    # server takes the connection for dead. A browser connects again; here a file tells.
    everything = "python3 -c '[bytearray(1 << 26) for _ in range(200)]'; echo status $?"
    kernel.shell(f"({{ {everything}; }} > ended 2>&1 &)", 300)
    ended = f"{STUDENTS}/greedy/ended"
    told = guest.run(f"until grep -s ^status {ended}; do sleep 5; done", 1200)
    assert told == "status 137\n"
    assert guest.run("journalctl -qkb -g 'Out of memory: Killed process .*python3'")
    assert guest.run(f"systemctl show -P MainPID {units}") == before
    assert bystander.run("x + 1", 300) == "42"
    greedy.stop(300)


def test_a_power_cut_loses_no_file_and_no_lease(
    guest: Guest, vm: QemuMachine, disks: list[Path], bystander: Kernel
) -> None:
    cell = {"cell_type": "code", "source": "6 * 7", "outputs": [], "metadata": {}}
    book = {"cells": [cell | {"execution_count": None}], "metadata": {}, "nbformat": 4}
    content = {"type": "notebook", "content": book | {"nbformat_minor": 2}}
    bystander.student.server("PUT", "contents/saved.ipynb", content)
    vm.cut()
    again = machine(disks)
    try:
        with switched_on(again) as other:
            other.wait(600)
            assert other.run("notebook-sessions") == ""
            assert other.run("ps -u nb1,nb2 -o pid= || true").strip() == ""
            assert other.run("find /home/nb1 /home/nb2 -mindepth 1 ! -name '.*'") == ""
            student = Student(other.url, "bystander").sign_in().start(600)
            saved = student.server("GET", "contents/saved.ipynb")["content"]
            assert saved["cells"][0]["source"] == "6 * 7", json.dumps(saved)
            assert student.kernel().run("6 * 7", 300) == "42"
            assert other.run("systemctl --failed --plain --no-legend").strip() == ""
    finally:
        again.cut()
