"""Appliances for the fleet's tests: one cached base with a small Sage, a layer for each."""

import contextlib
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko
import warm
from toy import tree

from provision import resources
from provision.build import guest_wheel
from provision.build.build import request
from provision.build.playbook import run_playbook
from provision.config import Config
from provision.config.model import Pool
from provision.errors import ApplianceError
from provision.fleet.inventory import Host, Inventory, with_host, write
from provision.fleet.remote import offered_key, pin
from provision.machine import SshEndpoint, keys
from provision.machine.nspawn import NspawnMachine
from provision.machine.ports import free_port
from provision.machine.ssh import connect, execute

sys.path.insert(0, str(Path(__file__).parents[1] / "notebook"))
from guest import ANY_CERTIFICATE, PORT, booted, both_ports, installed_layers
from guest import Guest as Notebook

HERE = Path(__file__).parent
ADMIN = "sageadm"
OLD = "1.0"
STALE_SECONDS = 86400  # another worktree's tests may run on theirs
ROLES = ("users", "keys", "notebook", "seat")


@dataclass(frozen=True)
class Base:
    """What all guests share.

    Args:
        layers: read-only, the lowest first.
        key: the administrator's private key.
        python: the guests' Python, as ``python3.13``.
        user: whom the guests let in besides: root, or the administrator of a finished appliance.
    """

    layers: tuple[Path, ...]
    key: Path
    python: str
    user: str = "root"

    @property
    def scheme(self) -> str:
        """How their notebooks are reached."""
        return "http" if self.user == "root" else "https"


def base(scratch: Path, places: int = 3) -> Base:
    """An appliance with a notebook and the small Sage, from the cache or made now.

    Args:
        scratch: for what is needed meanwhile.
        places: sessions that it has room for.
    """
    layers = installed_layers(scratch)
    python = next(layers[-1].glob("opt/notebook/lib/python3.*")).name
    roles = resources.playbooks() / "roles"
    inputs = sorted(
        path
        for place in (
            *(roles / name for name in ("users", "keys", "notebook", "seat", "sage/tasks")),
            *(
                resources.templates() / "guest" / name
                for name in ("users", "keys", "notebook", "seat")
            ),
            *(
                *guest_wheel.files(),
                HERE / "toy.py",
                HERE / "configure.yml",
                HERE / "guests.py",
            ),
        )
        for path in ([place] if place.is_file() else place.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    )
    told = b"".join(path.read_bytes() for path in inputs) + b"%d" % places
    digest = hashlib.sha256(told).hexdigest()[:12]
    made = layers[-1].with_name(f"fleet-{layers[-1].name.split('-', 1)[1]}-{digest}")
    if not made.exists():
        for stale in made.parent.glob("fleet-*"):
            if time.time() - stale.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(stale, ignore_errors=True)
        part = made.with_suffix(f".{os.getpid()}")
        part.mkdir()
        _make(layers, part, python, scratch, places)
        part.rename(made)
    os.utime(made)
    return Base((*layers, made / "layer"), made / "key", python)


def finished(layers: Sequence[Path], place: Path) -> Base:
    """The appliance of these layers, its administrator let in."""
    own = place / "own"
    keys_of = own / "etc/ssh/authorized_keys.d"
    keys_of.mkdir(parents=True)
    (keys_of / ADMIN).write_text(keys.generate(place / "key", comment="fleet") + "\n")
    for path in (own, *own.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return Base((*layers, own), place / "key", "", ADMIN)


def _make(layers: Sequence[Path], part: Path, python: str, scratch: Path, places: int) -> None:
    layer, log = part / "layer", scratch / "fleet.log"
    told = variables(keys.generate(part / "key", comment="fleet"), places)
    tree(layer / "opt" / f"sage-{OLD}", OLD, python)
    (layer / "opt").chmod(0o755)
    layer.chmod(0o755)
    with booted(layers, layer, forwards={}, log=log) as (endpoint, client):
        run_playbook(HERE / "configure.yml", endpoint, told, log=log)
        script = "mkdir -p /home/students; chmod 711 /home/students; sync"
        done = execute(client, script)
        assert done.status == 0, done
    for left in (*layer.glob("etc/ssh/ssh_host_*"), layer / "etc/machine-id"):
        left.unlink(missing_ok=True)
    for left in (layer / "var/lib/notebook").glob("*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def variables(public: str, places: int = 3) -> dict[str, Any]:
    """Of the playbook that makes such an appliance.

    Args:
        public: the administrator's public key.
        places: sessions that it has room for.
    """
    config = Config(pool=Pool(count=places))
    told = {**request(config).variables(), "building": True, "notebook_secure": False}
    told |= {"keys_admin": [public]}
    told |= {"notebook_accounts": False, "sage_version": OLD}
    told["notebook_limits"] = {
        **{"memory": 1 << 30, "swap": 0, "cpu": 100, "tasks": 256, "files": 1024},
        **{"file_size": 100 << 20, "tmp": 32 << 20, "disk": 0},
    }
    return told


@dataclass
class Guest:
    """One appliance of the fleet's tests."""

    name: str
    base: Base
    place: Path
    ssh: int = field(default_factory=free_port)
    notebook: dict[int, int] = field(default_factory=both_ports)
    machine: NspawnMachine | None = None
    endpoint: SshEndpoint | None = None
    root: paramiko.SSHClient | None = None

    @property
    def web(self) -> int:
        return self.notebook[PORT]

    @property
    def host(self) -> Host:
        return Host(
            *(self.name, "127.0.0.1", self.ssh, ADMIN, self.base.key),
            f"{self.base.scheme}://127.0.0.1:{self.web}",
        )

    def start(self, inventory: Path) -> None:
        """Boot, and pin the host key where it is not yet."""
        self.machine = NspawnMachine(
            self.base.layers,
            self.place / self.name,
            forwards={22: self.ssh, **self.notebook},
            user=self.base.user,
            console=self.place / f"{self.name}.console",
        )
        self.endpoint = self.machine.start()
        self.root = connect(self.endpoint)
        if (
            not (inventory.parent / "known_hosts").exists()
            or str(self.ssh) not in (inventory.parent / "known_hosts").read_text()
        ):
            pin(
                "127.0.0.1",
                self.ssh,
                offered_key("127.0.0.1", self.ssh),
                inventory.parent / "known_hosts",
            )

    def cut(self) -> None:
        """Cut the power."""
        if self.machine is not None:
            self.machine.cut()
        self.stop()

    def freeze(self, still: bool) -> None:
        """Have the whole machine stand still, or go on; its network stays."""
        assert self.machine is not None
        places = [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")]
        top = next(p / self.machine._id for p in places if (p / self.machine._id).exists())
        (top / "supervisor/payload/cgroup.freeze").write_text("1" if still else "0")

    def stop(self) -> None:
        if self.root is not None:
            self.root.close()
            self.root = None
        if self.machine is not None:
            self.machine.stop()
            self.machine = None

    def run(self, command: str, timeout: float = 120) -> str:
        """Run a command as root; it must succeed."""
        assert self.root is not None
        told = command if self.base.user == "root" else f"sudo -n sh -c {shlex.quote(command)}"
        done = execute(self.root, told, timeout=timeout)
        assert done.status == 0, f"{command}: {done}"
        return done.stdout

    # They ask for ``run`` alone.
    gateway, keeping = Notebook.gateway, Notebook.keeping

    def wait(self, patience: float = 60) -> None:
        """Wait until the notebook answers."""
        deadline = time.monotonic() + patience
        while True:
            try:
                urllib.request.urlopen(
                    f"{self.host.url}/hub/api/", timeout=20, context=ANY_CERTIFICATE
                ).close()
                return
            except OSError:
                assert time.monotonic() < deadline, self.run("journalctl -n 30 --no-pager")
                time.sleep(0.3)

    def sage(self) -> str:
        """The version that a student gets: what the command says; the kernel says the same."""
        said = self.run("sage").strip()
        kernel = self.sage_kernel()
        assert f"/opt/sage-{said}/" in kernel or "/opt/sage-current/" in kernel
        return said

    def sage_kernel(self) -> str:
        """The description of the kernel that a student gets."""
        return self.run("cat /usr/local/share/jupyter/kernels/sagemath/kernel.json")


@dataclass
class Fleet:
    """Some guests and their inventory."""

    inventory: Path
    guests: list[Guest]

    def renew(self) -> None:
        """Have all guests as new, on the ports that they had."""
        (self.inventory.parent / "known_hosts").unlink(missing_ok=True)
        for guest in self.guests:
            with contextlib.suppress(ApplianceError):
                guest.stop()
            shutil.rmtree(guest.place / guest.name, ignore_errors=True)
            guest.start(self.inventory)
        for guest in self.guests:
            guest.wait(240)

    def replace(self, kept: str, files: str) -> None:
        """Have the first machine lost, and a fresh one in its place with one directory of it.

        Args:
            kept: the directory, below ``/var/backups``.
            files: where its students' files are mounted.
        """
        (guest, *_) = self.guests
        tarball = self.inventory.parent / "kept.tar"
        guest.run(f"tar -C /var/backups -cf /root/kept.tar {kept}")
        assert guest.root is not None
        with guest.root.open_sftp() as sftp:
            sftp.get("/root/kept.tar", str(tarball))
        self.renew()
        guest.run(f"mount -t tmpfs -o mode=0711 tmpfs {files}")
        assert guest.root is not None
        with guest.root.open_sftp() as sftp:
            sftp.put(str(tarball), "/root/kept.tar")
        guest.run("tar -C /var/backups -xf /root/kept.tar")

    def appliance(
        self,
        *words: str,
        kill: tuple[str, int] | None = None,
        first: Callable[[], object] = lambda: None,
        stdin: str | None = None,
        timeout: float = 300,
    ) -> "Outcome":
        """Call ``appliance``.

        Args:
            words: its arguments.
            kill: (text, signal): as soon as it says this on stderr, send it that signal.
            first: called between.
            stdin: what it reads.
            timeout: seconds.
        """
        env = {
            **os.environ,
            "APPLIANCE_FLEET": str(self.inventory),
            "XDG_STATE_HOME": str(self.inventory.parent / "state"),
            "XDG_DATA_HOME": str(self.inventory.parent / "data"),
        }
        if kill is None:
            return Outcome(*warm.appliance(words, env, stdin or "", timeout))
        process = subprocess.Popen(
            [sys.executable, "-m", "provision.cli", *words],
            stdin=None if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        )
        assert process.stderr is not None and process.stdout is not None
        said = ""
        for line in process.stderr:
            said += line
            if kill[0] in line:
                first()
                process.send_signal(kill[1])
                break
        out, err = process.communicate(stdin, timeout=timeout)
        return Outcome(process.returncode, out, said + err)


@dataclass(frozen=True)
class Outcome:
    """How a call of the command line ended."""

    code: int
    out: str
    err: str


@contextlib.contextmanager
def fleet(base: Base, place: Path, count: int) -> Iterator[Fleet]:
    """Some running guests, all known to one inventory."""
    inventory = Inventory(place / "fleet.yml", {})
    guests = [Guest(f"sage-{number:02d}", base, place) for number in range(1, count + 1)]
    try:
        for guest in guests:
            guest.start(inventory.path)
            inventory = with_host(inventory, guest.host)
        write(inventory)
        for guest in guests:
            guest.wait(240)
        yield Fleet(inventory.path, guests)
    finally:
        for guest in guests:
            guest.cut()
        shutil.rmtree(place, ignore_errors=True)
