"""The native-speed runtime: a guest booted by systemd-nspawn on overlaid directories.

Needs Linux and root. The guest runs inside a PID, mount and network namespace that ends with
this process, even when it is killed, so nothing is ever left running or mounted.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from provision import temporary
from provision.errors import HostNotReadyError, HypervisorError
from provision.jeos.layers import escape
from provision.machine import SSH, SshEndpoint, keys
from provision.machine.containment import rules_the_host
from provision.machine.credentials import sign_in
from provision.machine.ports import free_port
from provision.machine.ssh import wait_for_ssh
from provision.process import require

BOOT_SECONDS = 60
SHUTDOWN_SECONDS = 20
NAME_SERVER = "169.254.1.1"  # pasta answers there and asks whatever resolver the host uses
# What systemd takes as an order to power off, see systemd(1), "SIGRTMIN+4" and nspawn's manual.
POWER_OFF = signal.SIGRTMIN + 3


class NspawnMachine:
    """A guest booted from directory layers; what it writes lands in the topmost.

    Args:
        lowers: read-only root file system layers, the lowest first.
        upper: directory that takes every change; made when missing. It must be on a file
            system with extended attributes.
        forwards: guest TCP port -> loopback port of this host, besides SSH.
        binds: host path -> read-only place in the guest, gone when the guest stops.
        caches: host directory -> place in the guest that may fill it.
        user: account to sign in as; other than root on throw-away layers only (see
            `provision.machine.credentials`).
        masked: units that must not run at this boot.
        console: file that takes the guest's console output.
    """

    def __init__(
        self,
        lowers: Sequence[Path],
        upper: Path,
        *,
        forwards: Mapping[int, int] | None = None,
        binds: Mapping[Path, str] | None = None,
        caches: Mapping[Path, str] | None = None,
        user: str = "root",
        masked: Sequence[str] = (),
        console: Path | None = None,
    ) -> None:
        self._lowers = tuple(lowers)
        self._upper = upper
        self._forwards = dict(forwards or {})
        self._binds = dict(binds or {})
        self._caches = dict(caches or {})
        self._user = user
        self._masked = tuple(masked)
        self._console = console
        self._id = f"appliance-{uuid.uuid4().hex[:12]}"
        self._process: subprocess.Popen[bytes] | None = None
        self._private: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> SshEndpoint:
        """Boot the guest, usually in under a second.

        Must be called from the thread that outlives the guest: Linux ties the guest's life
        to the thread that started it.

        Returns:
            How to reach the account in the guest, with a key made for this boot only.

        Raises:
            HostNotReadyError: not root, or a tool is missing.
            HypervisorError: nspawn ended before SSH answered.
        """
        if not rules_the_host():
            raise HostNotReadyError(
                "the nspawn runtime needs root", hint="use sudo, or --runtime qemu"
            )
        for tool, package in (
            ("systemd-nspawn", "systemd-container"),
            ("pasta", "passt"),
            ("setpriv", "util-linux"),
            ("ip", "iproute2"),
        ):
            require(tool, package)
        self._upper.mkdir(parents=True, exist_ok=True)
        self._upper.chmod(0o755)  # it is the guest's root directory
        self._private = temporary.make()
        work = self._upper.with_name(self._upper.name + ".work")
        work.mkdir(exist_ok=True)
        public = keys.generate(self._private / "key", comment="build")
        self._forwards.setdefault(SSH, free_port())
        log = self._console or self._private / "console.log"
        with log.open("ab") as console:
            self._process = subprocess.Popen(
                self._argv(work, public),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        endpoint = SshEndpoint(
            host="127.0.0.1",
            port=self._forwards[SSH],
            user=self._user,
            key=self._private / "key",
            known_hosts=self._private / "known_hosts",
        )

        def alive() -> None:
            if self._process is not None and self._process.poll() is not None:
                raise HypervisorError(
                    f"systemd-nspawn ended with status {self._process.returncode}: "
                    + " | ".join(log.read_text(errors="replace").splitlines()[-5:])
                )

        try:
            wait_for_ssh(endpoint, timeout=BOOT_SECONDS, alive=alive)
        except BaseException:
            self.stop()
            raise
        return endpoint

    def stop(self) -> None:
        """Power the guest off in order; after 20 s, end it. Safe to call at any time."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                for pid in _guest_inits(self._process.pid):
                    os.kill(pid, POWER_OFF)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(SHUTDOWN_SECONDS)
        self.cut()

    def cut(self) -> None:
        """Cut the power, and clear away all but the layers. Safe to call at any time."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            _end(process)
        if self._private is not None:
            temporary.remove(self._private)
            self._private = None
            work = self._upper.with_name(self._upper.name + ".work")
            shutil.rmtree(work, ignore_errors=True)
            _remove_cgroup(self._id)

    def host_port(self, guest_port: int) -> int:
        """The loopback port of this host that reaches ``guest_port``."""
        return self._forwards[guest_port]

    def _argv(self, work: Path, public_key: str) -> list[str]:
        lowers = ":".join(escape(path) for path in reversed(self._lowers))
        forwards = [
            word
            for guest, host in self._forwards.items()
            for word in ("--tcp-ports", f"127.0.0.1/{host}:{guest}")
        ]
        binds = [f"--bind-ro={_bind(host, guest)}" for host, guest in self._binds.items()]
        binds += [f"--bind={_bind(host, guest)}" for host, guest in self._caches.items()]
        return [
            *("setpriv", "--pdeathsig", "KILL"),
            *("unshare", "--mount", "--ipc", "--uts", "--pid", "--fork"),
            *("--kill-child=SIGKILL", "--mount-proc"),
            *("bash", str(Path(__file__).with_name("nspawn.sh"))),
            *(self._id, lowers, escape(self._upper), escape(work)),
            *(NAME_SERVER, *forwards, "--"),
            *(f"--set-credential={n}:{v}" for n, v in sign_in(self._user, public_key).items()),
            *binds,
            *(f"systemd.mask={unit}" for unit in self._masked),
        ]


def _bind(host: Path, guest: str) -> str:
    return str(host.resolve()).replace("\\", "\\\\").replace(":", "\\:") + f":{guest}"


def _children(pid: int) -> list[int]:
    try:
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _end(supervisor: subprocess.Popen[bytes]) -> None:
    """End the guest at once, and return when its mounts are gone too.

    The first process of the namespace is killed, not the supervisor: only its end is waited for
    by the kernel until all the others have left, and the next boot may take the same directories.
    """
    for first in _children(supervisor.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(first, signal.SIGKILL)
    try:
        supervisor.wait(SHUTDOWN_SECONDS)
    except subprocess.TimeoutExpired:
        supervisor.kill()
        supervisor.wait()


def _guest_inits(supervisor: int) -> Iterator[int]:
    """Find PID 1 of the guest: nspawn is the supervisor's child, the guest is nspawn's."""
    for nspawn in _children(supervisor):
        for child in _children(nspawn):
            if b"pasta" not in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0]:
                yield child


def _remove_cgroup(name: str) -> None:
    for mount in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        top = Path(mount) / name
        if top.is_dir():
            for directory, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    Path(directory).rmdir()
