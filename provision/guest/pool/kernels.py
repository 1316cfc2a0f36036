"""Each kernel on a pool account of its own, under one notebook server.

What the classic notebook did for each worksheet. A Jupyter kernel provisioner: a kernel whose
description names ``pool`` is started as a session of the pool and reached through its ssh.

    "metadata": {"kernel_provisioner": {"provisioner_name": "pool",
        "config": {"server_pool": ["nb1@localhost"], "student": "class"}}}

The server's user must hold the pool's key, as the administrator does. ``student`` says whose
files the kernels see.
"""

import asyncio
import contextlib
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from jupyter_client.provisioning import (  # type: ignore[import-not-found]  # the guest's
    KernelProvisionerBase,
)
from traitlets import Float, List, Unicode

from provision.guest.pool.connection import connect, greeting, lead, local_ports
from provision.guest.pool.leases import Lease, Leases
from provision.guest.pool.session import KERNEL_PORTS

POLL_SECONDS = 0.05
STATE = Path("/var/lib/notebook")


class PoolProvisioner(KernelProvisionerBase):  # type: ignore[misc]  # jupyter_client's traits
    """One pool account for one kernel."""

    server_pool = List(Unicode(), config=True, help="The accounts, as user@host[:port].")
    student = Unicode(config=True, help="Whose files the kernels see.")
    state_directory = Unicode(str(STATE), config=True, help="Where leases are kept.")
    pool_key = Unicode(str(STATE / "id_ed25519"), config=True, help="Signs certificates.")
    patience = Float(60, config=True, help="Seconds to wait for a free account.")

    account: str | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def has_process(self) -> bool:
        """Whether a kernel was started."""
        return self.process is not None

    async def poll(self) -> int | None:
        """None while the kernel runs, otherwise its session's exit status."""
        return 0 if self.process is None else self.process.poll()

    async def wait(self) -> int | None:
        """Wait for the kernel's end."""
        status = await asyncio.to_thread(self.process.wait) if self.process else 0
        self.process = None
        return status

    async def send_signal(self, signum: int) -> None:
        """End the session; interrupts go by message (``interrupt_mode``)."""
        if signum in (signal.SIGTERM, signal.SIGKILL):
            await self.terminate()

    async def kill(self, restart: bool = False) -> None:
        """End the session at once."""
        await self.terminate(restart)

    async def terminate(self, restart: bool = False) -> None:
        """End the session; its account is free as soon as it has."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()

    async def cleanup(self, restart: bool = False) -> None:
        """Forget the account."""
        self.account = None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Messages, not signals, interrupt a kernel that is another user's."""
        self.kernel_spec.interrupt_mode = "message"
        kwargs["cmd"] = self.kernel_spec.argv
        return dict(await super().pre_launch(**kwargs))

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> dict[str, Any]:
        """Lease an account, start the kernel on it, and lead its ports here.

        Raises:
            RuntimeError: no account became free in time, or the kernel did not start.
        """
        manager = self.parent
        leases = Leases(Path(self.state_directory) / "leases", self.server_pool)
        deadline = time.monotonic() + self.patience
        while (taken := leases.take(self.student)) is None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"all {len(self.server_pool)} places are taken")
            await asyncio.sleep(POLL_SECONDS)
        self.account, file = taken
        key = manager.session.key
        here = dict(zip(KERNEL_PORTS, local_ports(self.server_pool, self.account), strict=True))
        shared = {
            "ip": "127.0.0.1",
            "transport": "tcp",
            "signature_scheme": manager.session.signature_scheme,
            "key": key.decode(),
        }
        request = {"student": self.student, "argv": cmd, "env": {}, "connection": shared}
        with file:
            self.process = await connect(
                self.account,
                file.fileno(),
                request,
                key=self.pool_key,
                state=Path(self.state_directory),
            )
        said = await self._greeting(leases, deadline)
        forwards = [f"127.0.0.1:{here[n]}:127.0.0.1:{said[n]}" for n in KERNEL_PORTS]
        words = [word for forward in forwards for word in ("-L", forward)]
        await lead(Path(self.state_directory), self.account, *words)
        self.connection_info = {**shared, **here, "key": key}
        return self.connection_info

    async def _greeting(self, leases: Leases, deadline: float) -> dict[str, Any]:
        """What the kernel's side has told of itself."""
        while time.monotonic() < deadline and self.process and self.process.poll() is None:
            lease: Lease | None = leases.find(str(self.account))
            if lease and (said := greeting(lease)):
                return said
            await asyncio.sleep(POLL_SECONDS)
        raise RuntimeError(f"the kernel on {self.account} did not start")
