"""Limits by cgroup v2, in a booted kernel of the appliance's own: attacks end by them."""

import json
from collections.abc import Iterator
from typing import Any

import paramiko
import pytest

from provision.build.build import Built
from provision.machine.qemu import QemuMachine
from provision.machine.ssh import connect, execute
from tests.integration.conftest import CONFIG
from tests.integration.grader.conftest import python, script

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def client(built: Built) -> Iterator[paramiko.SSHClient]:
    with (
        QemuMachine(built.disks, user=CONFIG.admin.user, memory=2 << 30) as machine,
        connect(machine.start()) as client,
    ):
        yield client


STATUS = (
    "python3 -c 'import urllib.request as r; "
    'print(r.urlopen("http://127.0.0.1:8091/status.json").read().decode())\''
)


def ask(client: paramiko.SSHClient, command: str, stdin: bytes = b"") -> str:
    done = execute(client, command, stdin=stdin, timeout=300)
    assert done.status == 0, done
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def instance(client: paramiko.SSHClient) -> None:
    """Limits that an emulated processor reaches soon."""
    limits = {"memory": 64 << 20, "disk": 16 << 20, "cpu": 15, "clock": 60, "tasks": 20}
    words = " ".join(f"--limit {key}={value}" for key, value in limits.items())
    ask(client, "systemctl is-system-running --wait || true")
    ask(client, f"sudo -n grader-instance add small {words}")


def grade(client: paramiko.SSHClient, archive: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ask(client, "grade instance=small", archive))
    return found


def test_the_service_says_so(client: paramiko.SSHClient) -> None:
    kept = json.loads(ask(client, STATUS))["engines"]["bubblewrap"]
    assert (kept["memory"], kept["tasks"], kept["cpu"]) == (
        "cgroup v2",
        "cgroup v2 and rlimit",
        "cgroup v2 and rlimit",
    )


def test_the_root_of_a_box_is_a_read_only_squashfs(client: paramiko.SSHClient) -> None:
    mounted = ask(client, "findmnt -n -o FSTYPE,OPTIONS /run/sandbox/images/python").split()
    assert mounted[0] == "squashfs"
    assert "ro" in mounted[1].split(",")
    result = grade(client, script("touch /x /usr/x /root/x; touch /tmp/x /var/tmp/y && echo fine"))
    assert result["stdout"] == "fine\n"
    assert result["stderr"].count("Read-only file system") >= 2, result


def test_memory_of_many_processes(client: paramiko.SSHClient) -> None:
    result = grade(
        client,
        python(
            "import os, time\n"
            "for _ in range(10):\n"
            "  if os.fork() == 0:\n"
            "    x = bytearray(b'x' * (20 << 20)); time.sleep(30)\n"
            "time.sleep(30)"
        ),
    )
    assert (result["status"], result["reason"]) == ("failed", "memory limit"), result
    assert result["memory"] <= 80 << 20


def test_processor_time_of_children_whom_nobody_waits_for(client: paramiko.SSHClient) -> None:
    result = grade(
        client,
        python(
            "import os, signal\n"
            "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
            "while True:\n"
            "  if os.fork() == 0:\n"
            "    for _ in range(2_000_000): pass\n"
            "    os._exit(0)\n"
            "  import time; time.sleep(0.2)"
        ),
    )
    assert (result["status"], result["reason"]) == ("timeout", "processor time limit"), result


def test_processes(client: paramiko.SSHClient) -> None:
    result = grade(
        client,
        python(
            "import os, time\nn = 0\n"
            "try:\n"
            "  while True:\n"
            "    if os.fork() == 0: time.sleep(60)\n"
            "    n += 1\n"
            "except OSError as error: print(n, error.strerror)"
        ),
    )
    count, reason = result["stdout"].split(" ", 1)
    assert int(count) <= 22, result
    assert "temporarily unavailable" in reason


def test_nothing_stays_and_the_next_task_runs(client: paramiko.SSHClient) -> None:
    assert grade(client, script("echo fine"))["stdout"] == "fine\n"
    unit = "/sys/fs/cgroup/system.slice/system-grader.slice/grader@small.service"
    assert ask(client, f"ls -d {unit}/*/").split() == [f"{unit}/service/"]
    assert ask(client, "pgrep -c bwrap || true").strip() == "0"
