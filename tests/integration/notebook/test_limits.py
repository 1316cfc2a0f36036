"""What only a virtual machine shows: cgroup limits, disk quota, bound ports.

Slow: the appliance's disks are made and booted in QEMU, mostly without KVM.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import Guest
from virtual import LIMITS, Session, machine, make_disks, open_session, switched_on

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

# Runs in a session: asks the nursery for a process that runs a module, and says how that ended.
FORK = """
import json, os, socket, sys
nursery = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
nursery.connect("/run/nursery/notebook")
request = {"version": 1, "argv": ["/opt/notebook/bin/python", "-m", sys.argv[1]],
           "env": {"HOME": os.environ["HOME"]}, "umask": 0o077}
streams = [os.open("/dev/null", os.O_RDONLY), 1, 2, os.open(".", os.O_PATH)]
socket.send_fds(nursery, [json.dumps(request).encode()], streams)
for _ in range(2):
    print(nursery.recv(4096).decode(), flush=True)
"""


@pytest.fixture(scope="module")
def guest(layers: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    vm = machine(make_disks(layers, tmp_path_factory.mktemp("disks")))
    try:
        with switched_on(vm) as guest:
            # Sessions do without the hub here, and an emulated processor is slow.
            guest.run(
                "systemctl stop notebook notebook-proxy; systemctl start appliance-keys sshd-pool",
                600,
            )
            yield guest
    finally:
        vm.cut()


@pytest.fixture(scope="module")
def bystander(guest: Guest) -> Session:
    """Somebody who works on while the other misbehaves."""
    return open_session(guest, "nb1", "bystander")


@pytest.fixture(scope="module")
def bomber(guest: Guest, bystander: Session) -> Session:
    return open_session(guest, "nb2", "bomber")


def works(session: Session) -> bool:
    return session.shell("echo $((41 + 1))") == "42\n"


def test_too_much_memory_ends_what_takes_it(bomber: Session, bystander: Session) -> None:
    told = bomber.shell("python3 -c 'bytearray(700 << 20)'; echo status $?")
    assert "status 137" in told
    assert bomber.shell("echo $((1 + 1))") == "2\n"
    assert works(bystander)


@pytest.mark.forked
def test_a_forked_kernel_that_takes_too_much_memory_dies_alone(
    guest: Guest, bomber: Session, bystander: Session
) -> None:
    unit = "nursery@notebook"
    ready = f"systemctl start {unit} && systemctl show -P MainPID {unit}"
    nursery = guest.run(ready, 900)
    bomber.shell("echo \"taken = bytearray(700 << 20); print('alive')\" > hog.py")
    bomber.shell(f"cat > fork.py << 'END'\n{FORK}END")
    told = bomber.shell("python3 fork.py hog")
    assert '"status": -9' in told, told
    assert "alive" not in told
    assert bomber.shell("echo $((1 + 1))") == "2\n"
    assert works(bystander)
    assert guest.run(ready) == nursery
    assert "Beautiful is better" in bomber.shell("python3 fork.py this")


def test_a_fork_bomb_stops_at_the_tasks_limit(
    guest: Guest, bomber: Session, bystander: Session
) -> None:
    bomber.shell("timeout 10 bash -c ':(){ :|:& };:' > /dev/null 2>&1; true")
    assert works(bystander)
    uid = guest.run("id -u nb2").strip()
    shown = guest.run(f"systemctl show user-{uid}.slice -p TasksMax --value")
    assert int(shown) == LIMITS["tasks"] + 16
    peak = guest.run(f"cat /sys/fs/cgroup/user.slice/user-{uid}.slice/pids.peak")
    assert int(peak) < LIMITS["tasks"] + 16, "nothing is left for root, who ends the session"
    deadline = time.monotonic() + 120
    while "done" not in bomber.shell("/bin/true && echo done"):
        assert time.monotonic() < deadline
        guest.run("pkill -KILL -u nb2 -x bash; sleep 1")


def test_the_processor_is_shared(guest: Guest, bomber: Session) -> None:
    uid = guest.run("id -u nb2").strip()
    usage = f"awk '/usage_usec/ {{print $2}}' /sys/fs/cgroup/user.slice/user-{uid}.slice/cpu.stat"
    before = int(guest.run(usage))
    bomber.shell("timeout 10 sh -c 'while :; do :; done & while :; do :; done'; true")
    assert int(guest.run(usage)) - before < 8_000_000  # 50 % of 10 s, and what is around it


def test_a_students_files_have_a_quota(bomber: Session, bystander: Session) -> None:
    told = bomber.shell("dd if=/dev/zero of=big bs=1M count=300; rm -f big; true")
    assert "Disk quota exceeded" in told
    assert bystander.shell("echo fine > small && cat small") == "fine\n"


def test_a_group_has_a_larger_quota(bomber: Session, bystander: Session) -> None:
    write = "dd if=/dev/zero of=more bs=1M count={}; stat -c %s more; rm -f more"
    for megabytes, bombers, bystanders in ((120, False, True), (200, False, False)):
        for who, whole in ((bomber, bombers), (bystander, bystanders)):
            told = who.shell(write.format(megabytes))
            assert (f"\n{megabytes << 20}\n" in told) == whole, (who.student, told)
            assert ("Disk quota exceeded" in told) != whole, (who.student, told)


def test_a_course_has_a_quota_of_its_own(bomber: Session, bystander: Session) -> None:
    told = bomber.shell("dd if=/dev/zero of=courses/sets/material/big bs=1M count=30; true")
    assert "Disk quota exceeded" in told
    assert bomber.shell("echo fine > small && cat small") == "fine\n"
    assert 15 << 20 < int(bystander.shell("stat -c %s courses/sets/material/big")) < 20 << 20
    hand_in = "courses/sets/hand-in"
    told = bystander.shell(f"dd if=/dev/zero of={hand_in}/big bs=1M count=200; rm {hand_in}/big")
    assert "Disk quota exceeded" in told  # the student's own
    bystander.shell(f"echo mine > {hand_in}/answer")
    assert bomber.shell("cat courses/sets/hand-in/bystander/answer") == "mine\n"


def test_nobody_takes_anothers_port(guest: Guest, bomber: Session) -> None:
    uid = int(guest.run("id -u nb1"))
    bind = f"import socket; socket.socket().bind(('127.0.0.1', {10000 + uid}))"
    told = bomber.shell(f'python3 -c "{bind}"')
    assert "PermissionError" in told


def test_there_are_no_user_namespaces(bomber: Session) -> None:
    assert "done" not in bomber.shell("unshare -Ur true && echo done")


def test_the_machine_is_well(guest: Guest) -> None:
    assert guest.run("systemctl --failed --plain --no-legend").strip() == ""
