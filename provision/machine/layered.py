"""A guest on overlaid directories, whatever runs it: see `nspawn` and `chroot`.

It runs inside a PID, mount and network namespace that ends with this process, even when it is
killed, so nothing is ever left running or mounted.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from provision import temporary
from provision.errors import HypervisorError
from provision.jeos.layers import writable
from provision.machine import SSH, SshEndpoint, keys
from provision.machine.ports import free_port
from provision.machine.ssh import wait_for_ssh
from provision.process import require

BOOT_SECONDS = 60
SHUTDOWN_SECONDS = 20
NAME_SERVER = "169.254.1.1"  # pasta answers there and asks whatever resolver the host uses


class LayeredMachine:
    """A guest of directory layers; what it writes lands in the topmost.

    Args:
        lowers: read-only root file system layers, the lowest first.
        upper: directory that takes every change; made when missing. It must be on a file
            system with extended attributes.
        forwards: guest TCP port -> loopback port of this host, besides SSH.
        binds: host path -> read-only place in the guest, gone when the guest stops.
        caches: host directory -> place in the guest that may fill it.
        console: file that takes the guest's console output.
    """

    tools: tuple[tuple[str, str], ...] = ()  # what it needs of this host, with its package
    user = "root"

    def __init__(
        self,
        lowers: Sequence[Path],
        upper: Path,
        *,
        forwards: Mapping[int, int] | None = None,
        binds: Mapping[Path, str] | None = None,
        caches: Mapping[Path, str] | None = None,
        console: Path | None = None,
    ) -> None:
        self._lowers = tuple(lowers)
        self._upper = upper
        self._forwards = dict(forwards or {})
        self.binds = dict(binds or {})
        self.caches = dict(caches or {})
        self._console = console
        self.process: subprocess.Popen[bytes] | None = None
        self._private: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> SshEndpoint:
        """Have a guest that answers, usually in under a second.

        Must be called from the thread that outlives the guest: Linux ties the guest's life
        to the thread that started it.

        Returns:
            How to reach the account in the guest, with a key made for this boot only.

        Raises:
            HostNotReadyError: this host cannot run it, or a tool is missing.
            HypervisorError: it ended before SSH answered.
        """
        for tool, package in (*self.tools, ("pasta", "passt"), ("setpriv", "util-linux")):
            require(tool, package)
        options, self._work = writable(self._lowers, self._upper)
        self._upper.chmod(0o755)  # it is the guest's root directory
        self._private = temporary.make()
        public = keys.generate(self._private / "key", comment="build")
        self._forwards.setdefault(SSH, free_port())
        log = self._console or self._private / "console.log"
        with log.open("ab") as console:
            self.process = subprocess.Popen(
                self._argv(options, public),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        endpoint = SshEndpoint(
            host="127.0.0.1",
            port=self._forwards[SSH],
            user=self.user,
            key=self._private / "key",
            known_hosts=self._private / "known_hosts",
        )

        def alive() -> None:
            if self.process is not None and self.process.poll() is not None:
                raise HypervisorError(
                    f"the guest ended with status {self.process.returncode}: "
                    + " | ".join(log.read_text(errors="replace").splitlines()[-5:])
                )

        try:
            wait_for_ssh(endpoint, timeout=BOOT_SECONDS, alive=alive)
        except BaseException:
            self.stop()
            raise
        return endpoint

    def stop(self) -> None:
        """End the guest in order. Safe to call at any time."""
        self.cut()

    def cut(self) -> None:
        """Cut the power, and clear away all but the layers. Safe to call at any time."""
        process, self.process = self.process, None
        if process is not None and process.poll() is None:
            _end(process)
        if self._private is not None:
            temporary.remove(self._private)
            self._private = None
            shutil.rmtree(self._work, ignore_errors=True)

    def host_port(self, guest_port: int) -> int:
        """The loopback port of this host that reaches ``guest_port``."""
        return self._forwards[guest_port]

    def command(self, public_key: str) -> Sequence[str]:
        """What runs the guest, once its files and its network are there.

        Args:
            public_key: lets us in.
        """
        raise NotImplementedError

    def _argv(self, options: str, public_key: str) -> list[str]:
        forwards = [
            word
            for guest, host in self._forwards.items()
            for word in ("--tcp-ports", f"127.0.0.1/{host}:{guest}")
        ]
        return [
            *("setpriv", "--pdeathsig", "KILL"),
            *("unshare", "--mount", "--ipc", "--uts", "--pid", "--fork"),
            *("--kill-child=SIGKILL", "--mount-proc"),
            *("bash", str(Path(__file__).with_name("layers.sh"))),
            *(options, NAME_SERVER, *forwards, "--", *self.command(public_key)),
        ]


def children(pid: int) -> list[int]:
    """The processes that a process has started and that are still there."""
    try:
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _end(supervisor: subprocess.Popen[bytes]) -> None:
    """End the guest at once, and return when its mounts are gone too.

    The first process of the namespace is killed, not the supervisor: only its end is waited for
    by the kernel until all the others have left, and the next boot may take the same directories.
    """
    for first in children(supervisor.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(first, signal.SIGKILL)
    try:
        supervisor.wait(SHUTDOWN_SECONDS)
    except subprocess.TimeoutExpired:
        supervisor.kill()
        supervisor.wait()
