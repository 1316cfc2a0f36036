"""A notebook in a virtual machine, and sessions of it that cost an emulated processor little."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from guest import PORT, Guest, machine_disks

from provision.config import Config
from provision.jeos.layers import private_mounts
from provision.machine.qemu import QemuMachine
from provision.machine.ssh import connect

MIB = 1 << 20
LIMITS = {"memory": 512 * MIB, "swap": 0, "cpu": 50, "tasks": 100, "files": 1024}
LIMITS |= {"file_size": 1024 * MIB, "tmp": 64 * MIB, "disk": 100 * MIB}
COURSES = {
    "sets": {"members": ["bystander"], "teachers": ["bomber"], "quota": 20 * MIB},
    "cuts": {"members": ["examinee"], "teachers": ["bomber"], "quota": 20 * MIB},
}
GROUPS = {"large": {"members": ["bystander"], "limits": {"disk": 150 * MIB}}}
STUDENTS = "/home/students"
# Runs in a session: each command that root puts among the student's files.
SHELL = """
import os, subprocess, time
while True:
    for name in [n for n in os.listdir('.') if n.endswith('.command')]:
        try:
            done = subprocess.run(['bash', name], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
        except OSError as error:
            done = str(error).encode()
        os.unlink(name)
        with open(os.path.expanduser('~/told.new'), 'wb') as file:
            file.write(done)
        os.rename(os.path.expanduser('~/told.new'), os.path.expanduser('~/told'))
    time.sleep(0.1)
"""
# Runs as root: opens a session as the hub does, for a program in the server's place.
OPEN = """
import json, subprocess, sys, tempfile
account, student, program = sys.argv[1:]
key, place = "/var/lib/notebook/id_ed25519", tempfile.mkdtemp()
subprocess.run(["cp", key + ".pub", place + "/key.pub"], check=True)
subprocess.run(["ssh-keygen", "-qs", key, "-I", student, "-n", account, "-V", "-5m:+15m",
                place + "/key.pub"], check=True)
request = {"student": student, "argv": ["/usr/bin/python3", "-c", program], "env": {}}
subprocess.run(["ssh", "-F", "none", "-T", "-i", key, "-o", f"CertificateFile={place}/key-cert.pub",
                "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-p", "2200",
                "-o", "StrictHostKeyChecking=accept-new", account + "@localhost"],
               input=json.dumps(request), text=True)
"""


@dataclass(frozen=True)
class Session:
    """A student's session without a notebook server.

    Args:
        guest: the machine.
        student: whose it is.
        account: the account of the pool.
    """

    guest: Guest
    student: str
    account: str

    def shell(self, command: str, patience: float = 300) -> str:
        """Run a shell command in the session and return all that it printed."""
        work = f"{STUDENTS}/{self.student}"
        told = f"{work}/told"
        self.guest.run(f"rm -f {told}; cat > {work}/new <<'E'\n{command}\nE")
        # A file of root's has no owner in there, and could not be removed.
        self.guest.run(f"cd {work} && chown --reference=. new && mv new now.command")
        wait = f"timeout {patience:g} sh -c 'until [ -e {told} ]; do sleep 0.2; done'"
        return self.guest.run(f"{wait}; cat {told}", patience + 60)


def open_session(guest: Guest, account: str, student: str) -> Session:
    """Open a session on an account, as the hub would."""
    guest.run(f"cat > /root/open.py <<'E'\n{OPEN}E\ncat > /root/shell.py <<'E'\n{SHELL}E")
    guest.run(
        f"systemd-run -q --expand-environment=no --unit session-{student} sh -c"
        f" 'exec python3 /root/open.py {account} {student} \"$(cat /root/shell.py)\"'"
    )
    session = Session(guest, student, account)
    guest.run(f"timeout 300 sh -c 'until [ -d {STUDENTS}/{student} ]; do sleep 0.2; done'", 360)
    assert session.shell("echo open") == "open\n"
    return session


def make_disks(layers: list[Path], scratch: Path) -> list[Path]:
    """The disks of an appliance with two accounts and small limits."""
    private_mounts()
    config = Config.model_validate({"pool": {"count": 2}, "sage": {"source": "none"}})
    variables = {
        "notebook_secure": False,
        "notebook_accounts": True,
        "notebook_limits": LIMITS,
        "notebook_record": {"courses": COURSES, "groups": GROUPS},
    }
    return machine_disks(layers, scratch, config, variables)


def machine(disks: list[Path]) -> QemuMachine:
    """The virtual machine, off; it writes to the disks, the key that lets root in included."""
    kept = disks[0].with_name("machine")
    kept.mkdir(exist_ok=True)
    return QemuMachine(disks, forwards={PORT: 0}, memory=3072 * MIB, write=True, directory=kept)


@contextmanager
def switched_on(vm: QemuMachine) -> Iterator[Guest]:
    """The running machine, as soon as it lets root in."""
    with connect(vm.start()) as client:
        yield Guest(f"http://127.0.0.1:{vm.host_port(PORT)}", client)


def tell(vm: QemuMachine, command: str) -> None:
    """Give the emulator a command."""
    assert vm._monitor is not None
    vm._monitor.execute(command)


def pause(vm: QemuMachine, seconds: float) -> None:
    """Let the machine stand still for a while."""
    tell(vm, "stop")
    time.sleep(seconds)
    tell(vm, "cont")
