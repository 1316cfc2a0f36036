"""A cluster with Slurm on the hosts of a ``Network``: 0 is its head, with the hub."""

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from network import SERVER, Network

from provision import resources
from provision.build import places

BATCHSPAWNER, CULLER = "1.3.0", "1.4.0"
STUDENTS = {"emmy": 61001, "carl": 61002, "lise": 61003}
MEMORY = 3000  # megabytes of each machine
# Each machine sees its own name, the cluster's names and accounts, and our Python in /opt/notebook.
INSIDE = """set -e
mount -t tmpfs tmpfs /mnt; mkdir /mnt/upper /mnt/work
mount -t overlay overlay -o lowerdir=/opt,upperdir=/mnt/upper,workdir=/mnt/work /opt
mkdir -p /opt/notebook; mount --bind "$PYTHON" /opt/notebook
for name in hosts passwd group; do mount --bind "$PLACE/$name" "/etc/$name"; done
mount --bind "$PLACE/slurm" /etc/slurm
hostname "$NAME"; ip link set lo up 2> /dev/null || true
exec "$@"
"""


class Cluster:
    """The machines and what runs on them.

    Args:
        network: with at least one host besides the head.
        place: an empty directory that everybody may enter.
    """

    def __init__(self, network: Network, place: Path) -> None:
        self.network, self.place = network, place
        self.python = places.cache() / "tests" / f"batchspawner-{BATCHSPAWNER}-{CULLER}"
        self._processes: list[subprocess.Popen[bytes]] = []
        names = [self.name(number) for number in (SERVER, *network.seats)]
        addresses = [network.address(number) for number in (SERVER, *network.seats)]
        lines = [f"{a} {n}\n" for a, n in zip(addresses, names, strict=True)]
        (place / "hosts").write_text("127.0.0.1 localhost\n" + "".join(lines))
        passwd, group = Path("/etc/passwd").read_text(), Path("/etc/group").read_text()
        for name, uid in STUDENTS.items():
            home = place / "home" / name
            home.mkdir(parents=True)
            os.chown(home, uid, uid)
            passwd += f"{name}:x:{uid}:{uid}::{home}:/bin/bash\n"
            group += f"{name}:x:{uid}:\n"
        (place / "passwd").write_text(passwd)
        (place / "group").write_text(group)
        (place / "slurm").mkdir()
        (place / "slurm" / "slurm.conf").write_text(self._configuration())
        # Its name alone is wanted: nothing below asks for groups of the kernel's.
        (place / "slurm" / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        (place / "munge.key").write_bytes(os.urandom(128))
        (place / "munge.key").chmod(0o400)

    def name(self, number: int) -> str:
        return f"node{number}" if number else "head"

    def on(self, number: int, *argv: str | Path) -> list[str]:
        """The command that runs a program on a machine."""
        env = {"PLACE": str(self.place), "PYTHON": str(self.python), "NAME": self.name(number)}
        words = [f"{key}={value}" for key, value in env.items()]
        own = ["unshare", "--mount", "--uts", "--propagation", "private", "sh", "-c", INSIDE, "sh"]
        return self.network.on(number, "env", *words, *own, *map(str, argv))

    def run(self, *argv: str | Path) -> str:
        """Run a program on the head to its end."""
        done = subprocess.run(
            self.on(SERVER, *argv), capture_output=True, text=True, check=False, cwd=self.place
        )
        assert done.returncode == 0, f"{shlex.join(map(str, argv))}: {done.stderr[-3000:]}"
        return done.stdout

    def start(self, number: int, *argv: str | Path) -> subprocess.Popen[bytes]:
        """Start a program on a machine; what it says is in ``NAME.log``."""
        with (self.place / f"{self.name(number)}-{Path(argv[0]).name}.log").open("wb") as log:
            process = subprocess.Popen(
                self.on(number, *argv), stdout=log, stderr=log, cwd=self.place
            )
        self._processes.append(process)
        return process

    def install(self) -> None:
        """The notebook's hub and server, and batchspawner; kept for the next run."""
        if (self.python / "whole").exists():
            return
        self.python.mkdir(parents=True, exist_ok=True)
        pip = "/opt/notebook/bin/pip install --quiet --no-cache-dir --only-binary :all:"
        # Not by the appliance's lock: a host's Python is older than the guest's.
        script = (
            f"/usr/bin/python3 -m venv --clear /opt/notebook && {pip} {_locked('jupyterhub')}"
            f" {_locked('jupyterlab')} ipykernel jupyterhub-idle-culler=={CULLER}"
            f" batchspawner=={BATCHSPAWNER}"
        )
        # With the host's own network: by a namespace of its mounts alone.
        env = {**os.environ, "PLACE": str(self.place), "PYTHON": str(self.python), "NAME": "head"}
        own = ["unshare", "--mount", "--uts", "--propagation", "private", "sh", "-c", INSIDE, "sh"]
        subprocess.run([*own, "sh", "-c", script], env=env, check=True)
        (self.python / "whole").touch()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Slurm on all machines."""
        socket = self.place / "munge.socket"
        try:
            self.start(
                SERVER,
                *("munged", "--foreground", "--force", f"--socket={socket}"),
                *(f"--key-file={self.place}/munge.key", f"--pid-file={self.place}/munge.pid"),
                *(f"--seed-file={self.place}/munge.seed", f"--log-file={self.place}/munged.log"),
            )
            until(socket.exists)
            self.start(SERVER, "slurmctld", "-D", "-i")
            for number in self.network.seats:
                (self.place / f"spool-{self.name(number)}").mkdir()
                self.start(number, "slurmd", "-D")
            idle = ["sh", "-c", "sinfo -h -o %T -t idle -N | wc -l"]
            until(lambda: self.run(*idle).strip() == str(len(self.network.seats)))
            yield
        finally:
            for process in reversed(self._processes):
                process.terminate()
            for process in reversed(self._processes):
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _configuration(self) -> str:
        place, seats = self.place, self.network.seats
        nodes = [
            f"NodeName={self.name(n)} NodeAddr={self.network.address(n)} CPUs=1"
            f" RealMemory={MEMORY} State=UNKNOWN"
            for n in seats
        ]
        return "\n".join(
            [
                "ClusterName=school",
                f"SlurmctldHost={self.name(SERVER)}({self.network.address(SERVER)})",
                "SlurmUser=root",
                "AuthType=auth/munge",
                f"AuthInfo=socket={place}/munge.socket",
                f"StateSaveLocation={place}/state",
                f"SlurmdSpoolDir={place}/spool-%n",
                f"SlurmctldPidFile={place}/slurmctld.pid",
                f"SlurmdPidFile={place}/slurmd-%n.pid",
                "ProctrackType=proctrack/linuxproc",
                "TaskPlugin=task/none",
                "SelectType=select/cons_tres",
                "SelectTypeParameters=CR_Core_Memory",
                "SlurmdParameters=config_overrides",
                "JobAcctGatherType=jobacct_gather/linux",
                "JobAcctGatherFrequency=task=1",
                "JobAcctGatherParams=OverMemoryKill",
                "KillWait=2",
                "MpiDefault=none",
                "ReturnToService=2",
                *nodes,
                "PartitionName=class Nodes=ALL Default=YES State=UP",
                "",
            ]
        )


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.2)


def _locked(name: str) -> str:
    lock = resources.playbooks() / "roles/notebook/files/requirements.lock"
    lines = lock.read_text().splitlines()
    return next(line.split()[0] for line in lines if line.startswith(f"{name}=="))
