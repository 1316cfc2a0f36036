"""The native-speed runtime: a guest booted by systemd-nspawn on overlaid directories.

Needs Linux and root.
"""

import contextlib
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from provision.errors import HostNotReadyError
from provision.machine import SshEndpoint
from provision.machine.containment import rules_the_host
from provision.machine.credentials import sign_in
from provision.machine.layered import SHUTDOWN_SECONDS, LayeredMachine, children

# What systemd takes as an order to power off, see systemd(1), "SIGRTMIN+4" and nspawn's manual.
POWER_OFF = signal.SIGRTMIN + 3


class NspawnMachine(LayeredMachine):
    """A guest booted from directory layers; what it writes lands in the topmost.

    Args:
        lowers: see `LayeredMachine`; as all others that are not here.
        upper: see there.
        user: account to sign in as; other than root on throw-away layers only (see
            `provision.machine.credentials`).
        masked: units that must not run at this boot.
    """

    tools = (("systemd-nspawn", "systemd-container"),)

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
        super().__init__(
            lowers, upper, forwards=forwards, binds=binds, caches=caches, console=console
        )
        self.user = user
        self._masked = tuple(masked)
        self._id = f"appliance-{uuid.uuid4().hex[:12]}"

    def start(self) -> SshEndpoint:
        """Boot the guest, see `LayeredMachine.start`.

        Raises:
            HostNotReadyError: not root, or a tool is missing.
            HypervisorError: nspawn ended before SSH answered.
        """
        if not rules_the_host():
            raise HostNotReadyError(
                "the nspawn runtime needs root", hint="use sudo, or --runtime qemu"
            )
        return super().start()

    def stop(self) -> None:
        """Power the guest off in order; after 20 s, end it. Safe to call at any time."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                for pid in _guest_inits(self.process.pid):
                    os.kill(pid, POWER_OFF)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(SHUTDOWN_SECONDS)
        super().stop()

    def cut(self) -> None:
        """Cut the power, and clear away all but the layers. Safe to call at any time."""
        super().cut()
        _remove_cgroup(self._id)

    def command(self, public_key: str) -> Sequence[str]:
        """Have systemd-nspawn boot it."""
        binds = [f"--bind-ro={_bind(host, guest)}" for host, guest in self.binds.items()]
        binds += [f"--bind={_bind(host, guest)}" for host, guest in self.caches.items()]
        return [
            *("bash", str(Path(__file__).with_name("nspawn.sh")), self._id),
            *(f"--set-credential={n}:{v}" for n, v in sign_in(self.user, public_key).items()),
            *binds,
            *(f"systemd.mask={unit}" for unit in self._masked),
        ]


def _bind(host: Path, guest: str) -> str:
    return str(host.resolve()).replace("\\", "\\\\").replace(":", "\\:") + f":{guest}"


def _guest_inits(supervisor: int) -> Iterator[int]:
    """Find PID 1 of the guest: nspawn is the supervisor's child, the guest is nspawn's."""
    for nspawn in children(supervisor):
        for child in children(nspawn):
            if b"pasta" not in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0]:
                yield child


def _remove_cgroup(name: str) -> None:
    for mount in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        top = Path(mount) / name
        if top.is_dir():
            for directory, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    Path(directory).rmdir()
