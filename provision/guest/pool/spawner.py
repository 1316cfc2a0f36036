"""A JupyterHub spawner that leases pool accounts and reaches them by ssh."""

import asyncio
import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

from jupyterhub.spawner import Spawner
from traitlets import Dict, Float, Integer, List, Unicode

from provision.guest.pool.certificate import checked
from provision.guest.pool.leases import ANNOUNCE, Lease, Leases

POLL_SECONDS = 0.05
STOP_SECONDS = 10


class SessionError(Exception):
    """A session that did not start; the message is shown to the student.

    Args:
        message: what happened, and what to do.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.jupyterhub_message = message


class PoolSpawner(Spawner):  # type: ignore[misc]  # JupyterHub has no types
    """One pool account for one student for one session.

    The session is one ssh process in a process group of its own: its end is the session's end,
    and it outlives the hub.
    """

    server_pool = List(
        Unicode(), config=True, help="The accounts that sessions lease, as user@host."
    )
    state_directory = Unicode(config=True, help="Where the hub's user keeps leases.")
    pool_key = Unicode(config=True, help="The private key that signs sessions' certificates.")
    ssh_ports = Dict(
        key_trait=Unicode(),
        value_trait=Integer(),
        default_value={"localhost": 2200},
        config=True,
        help="The port of the pool's SSH server on each host; 22 where none is given.",
    )
    ulimit = Unicode(config=True, help="Further limits, as options of bash's ulimit.")
    patience = Float(300, config=True, help="Seconds to wait in line for a free account.")
    ready_timeout = Float(60, config=True, help="Seconds that a server may take to answer.")

    line: ClassVar[list["PoolSpawner"]] = []
    account: str | None = None
    process: subprocess.Popen[bytes] | None = None

    def load_state(self, state: dict[str, Any]) -> None:
        """Recall the leased account after the hub was restarted."""
        super().load_state(state)
        self.account = state.get("account")

    def get_state(self) -> dict[str, Any]:
        """What the hub keeps: the leased account."""
        state: dict[str, Any] = super().get_state()
        return state | ({"account": self.account} if self.account else {})

    def clear_state(self) -> None:
        """Forget the session."""
        super().clear_state()
        self.account = self.process = None

    @cached_property
    def leases(self) -> Leases:
        """The pool's leases."""
        return Leases(Path(self.state_directory) / "leases", self.server_pool)

    def lease(self) -> Lease | None:
        """This session's lease, or None when it has ended."""
        lease = self.leases.find(self.account) if self.account else None
        return lease if lease and lease.student == self.user.name else None

    async def start(self) -> tuple[str, int]:
        """Lease an account and start the server on it.

        Returns:
            Address and port of the server.

        Raises:
            SessionError: no account became free in time, or the server did not start.
        """
        self.port = 0  # the account's side knows its port
        await self._end_orphan()
        await self._take()
        try:
            return await self._ready()
        except BaseException:
            await self.stop()
            raise

    async def poll(self) -> int | None:
        """None while the session runs, otherwise its exit status (0 when it is not known)."""
        if self.process is not None:
            return self.process.poll()
        return None if self.lease() else 0

    async def stop(self, now: bool = False) -> None:
        """End the session; the account's side ends all of its processes."""
        if lease := self.lease():
            lease.end()
            with contextlib.suppress(TimeoutError):
                await self._until(lambda: self.lease() is None, STOP_SECONDS)
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            await asyncio.to_thread(self.process.wait)

    async def progress(self) -> AsyncGenerator[dict[str, Any], None]:
        """Tell a waiting student the place in line."""
        shown = None
        while self in self.line:
            place = self.line.index(self) + 1
            if place != shown:
                yield {"progress": 5, "message": f"{self._full()} You are number {place} in line."}
                shown = place
            await asyncio.sleep(0.5)
        yield {"progress": 50, "message": "A place is yours. Your notebook is starting."}

    async def _take(self) -> None:
        """Wait in line, then start a session on the account that becomes free."""
        deadline = time.monotonic() + self.patience
        self.line.append(self)
        try:
            while True:
                if self.line[0] is self and (taken := self.leases.take(self.user.name)):
                    self.account, file = taken
                    with file:
                        self.process = await self._connect(self.account, file.fileno())
                    return
                if time.monotonic() > deadline:
                    raise SessionError(
                        f"{self._full()} None became free in {self.patience / 60:.0f} minutes: "
                        "please try again later."
                    )
                await asyncio.sleep(POLL_SECONDS)
        finally:
            self.line.remove(self)

    def _full(self) -> str:
        return f"All {len(self.server_pool)} places are taken."

    async def _connect(self, account: str, lease: int) -> subprocess.Popen[bytes]:
        user, _, host = account.partition("@")
        request = {
            "argv": [*self.cmd, *self.get_args()],
            "env": {k: str(v) for k, v in self.get_env().items()},
            "ulimit": self.ulimit,
        }
        certificate = await self._certificate(user)
        with tempfile.TemporaryFile() as stdin:
            stdin.write(json.dumps(request).encode())
            stdin.seek(0)
            return subprocess.Popen(
                [
                    *ANNOUNCE,
                    *("/usr/bin/ssh", "-F", "none", "-T", "-x", "-a"),
                    *("-i", self.pool_key, "-o", f"CertificateFile={certificate}"),
                    *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"),
                    *("-o", "StrictHostKeyChecking=yes", "-o", f"HostKeyAlias={host}"),
                    *("-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR"),
                    *("-p", str(self.ssh_ports.get(host, 22))),
                    account,
                ],
                stdin=stdin,
                stdout=lease,
                stderr=lease,
                start_new_session=True,
                cwd="/",
            )

    async def _certificate(self, user: str) -> Path:
        """Sign that the student may open one session on the account, now."""
        directory = Path(self.state_directory) / "certificates"
        directory.mkdir(mode=0o700, exist_ok=True)
        public = directory / f"{user}.pub"
        public.write_bytes(Path(f"{self.pool_key}.pub").read_bytes())
        signing = await asyncio.create_subprocess_exec(
            *("ssh-keygen", "-q", "-s", self.pool_key, "-I", checked(self.user.name)),
            *("-n", user, "-V", "-5m:+5m", str(public)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        _, error = await signing.communicate()
        if signing.returncode:
            raise SessionError(f"The session could not be signed: {error.decode().strip()}")
        return directory / f"{user}-cert.pub"

    async def _ready(self) -> tuple[str, int]:
        """Wait until the account's side has told its port, and the server answers on it."""
        deadline = time.monotonic() + self.ready_timeout
        port = None
        while time.monotonic() < deadline:
            lease = self.lease()
            if lease is None or (self.process and self.process.poll() is not None):
                break
            port = port or _told_port(lease)
            if port and await _answers(port):
                return "127.0.0.1", port
            await asyncio.sleep(POLL_SECONDS)
        self.log.error("Session on %s did not start: %s", self.account, self._last_words())
        raise SessionError(
            "Your notebook did not start. Please try again; if it happens twice, tell your teacher."
        )

    async def _end_orphan(self) -> None:
        """End sessions of this student that a crashed hub did not get to record."""
        for lease in self.leases:
            if lease.student == self.user.name:
                self.log.warning("Ending a lost session of %s on %s", lease.student, lease.account)
                lease.end()
                with contextlib.suppress(TimeoutError):
                    await self._until(partial(self._free, lease.account), STOP_SECONDS)

    def _free(self, account: str) -> bool:
        return self.leases.find(account) is None

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError
            if self.process is not None:
                self.process.poll()
            await asyncio.sleep(POLL_SECONDS)

    def _last_words(self) -> str:
        file = Path(self.state_directory) / "leases" / str(self.account)
        return file.read_text(errors="replace") if file.exists() else ""


def _told_port(lease: Lease) -> int | None:
    for line in lease.said:
        with contextlib.suppress(ValueError):
            told = json.loads(line)
            if isinstance(told, dict) and isinstance(told.get("port"), int):
                return int(told["port"])
    return None


async def _answers(port: int) -> bool:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True
    return False
