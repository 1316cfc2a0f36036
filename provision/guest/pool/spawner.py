"""A JupyterHub spawner that leases pool accounts and reaches them by ssh."""

import asyncio
import contextlib
import pwd
import subprocess
import time
from collections.abc import AsyncGenerator, Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

from jupyterhub.spawner import Spawner, SpawnException
from traitlets import Dict, Float, Integer, List, Unicode

from provision.guest.hub import profiles
from provision.guest.pool import notes
from provision.guest.pool.activity import Notices, Watch, age_of, processor_time
from provision.guest.pool.connection import (
    LOOPBACK,
    Account,
    ConnectionFailedError,
    account_of,
    answers,
    connect,
    greeting,
    lead,
    local_ports,
)
from provision.guest.pool.leases import Lease, Leases
from provision.guest.words import say

POLL_SECONDS = 0.05
STOP_SECONDS = 10


class SessionError(SpawnException):  # type: ignore[misc]  # JupyterHub has no types
    """A session that did not start; the message is shown to the student.

    Args:
        message: what happened, and what to do.
        status: of the answer to a program.
    """

    def __init__(self, message: str, status: int = 500) -> None:
        super().__init__(message, reason="session", status_code=status)
        self.jupyterhub_message = message


class PoolSpawner(Spawner):  # type: ignore[misc]  # JupyterHub has no types
    """One pool account for one student for one session.

    The session is one ssh process in a process group of its own: its end is the session's end,
    and it outlives the hub.
    """

    server_pool = List(
        Unicode(), config=True, help="The accounts that sessions lease, as user@host[:port]."
    )
    state_directory = Unicode(config=True, help="Where the hub's user keeps leases.")
    pool_key = Unicode(config=True, help="The private key that signs sessions' certificates.")
    ulimit = Unicode(config=True, help="Further limits, as options of bash's ulimit.")
    patience = Float(300, config=True, help="Seconds to wait in line for a free account.")
    ready_timeout = Float(60, config=True, help="Seconds that a server may take to answer.")
    idle_timeout = Float(0, config=True, help="Seconds after which an idle session ends; 0: never.")
    expiry = Float(0, config=True, help="Seconds after which any session ends; 0: never.")
    hub_port = Integer(8081, config=True, help="The port of the hub's API on its own machine.")
    profiles = Dict(config=True, help="What a student may choose when a session starts, by name.")

    line: ClassVar[list["PoolSpawner"]] = []
    account: str | None = None
    process: subprocess.Popen[bytes] | None = None
    watch: Watch | None = None
    turned_away = False  # the account was closed meanwhile

    def _options_form_default(self) -> str:
        return profiles.form(self.profiles)

    def options_from_form(self, form_data: dict[str, Any]) -> dict[str, Any]:
        """What was chosen when the session started.

        Raises:
            SessionError: there is no such profile; the page shows it above the choice.
        """
        return {"profile": self._choose_profile(form_data)}

    def _choose_profile(self, options: dict[str, Any]) -> str:
        try:
            return profiles.choose(self.profiles, options)
        except ValueError as error:
            raise SessionError(f"{error} {say('Please start again.')}", 400) from None

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
        self.account = self.process = self.watch = None

    @cached_property
    def leases(self) -> Leases:
        """The pool's leases."""
        return Leases(Path(self.state_directory) / "leases", self.server_pool)

    @cached_property
    def notices(self) -> Notices:
        """What students should read when they come back."""
        return Notices(Path(self.state_directory) / "notices")

    def lease(self) -> Lease | None:
        """This session's lease, or None when it has ended."""
        lease = self.leases.find(self.account) if self.account else None
        return lease if lease and lease.student == self.user.name else None

    async def start(self) -> tuple[str, int]:
        """Lease an account and start the server on it.

        Returns:
            Address and port of the server.

        Raises:
            SessionError: no account became free in time, what was chosen is gone, or the server
                did not start.
        """
        self.turned_away = False
        self.port = 0  # the account's side knows its port
        self.line.append(self)
        try:
            await self._end_orphan()
            await self._take()
        finally:
            self.line.remove(self)
        try:
            return await self._ready()
        except Exception:  # who cancels us stops us next, and is not to wait for that here
            await self.stop()
            raise

    async def poll(self) -> int | None:
        """None while the session runs, otherwise its exit status (0 when it is not known).

        A session that has been idle or has lasted too long is ended here.
        """
        gone = None if self.lease() else 0
        status = gone if self.process is None else self.process.poll()
        if status is None and (reason := self._overdue()):
            self.log.info("Ending the session of %s %s", self.user.name, reason)
            self.notices.write(self.user.name, reason)
            await self.stop()
            return 0
        return status

    def _overdue(self) -> str | None:
        lease = self.lease()
        if lease is None or lease.pid is None or self.orm_spawner is None:
            return None
        if self.watch is None:
            self.watch = Watch(self.idle_timeout, self.expiry)
        used, account = None, account_of(lease.account)
        with contextlib.suppress(KeyError):
            used = processor_time(pwd.getpwnam(account.user).pw_uid) if account.local else None
        mark = self.orm_spawner.last_activity
        return self.watch.overdue(mark, age=age_of(lease.pid), processor=used)

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
        """Tell a waiting student why, the place in line, and who else waits."""
        shown = None
        while self in self.line:
            names = [s.user.name for s in self.line]
            place = names.index(self.user.name) + 1
            if names != shown:
                line = ", ".join(say("you") if s is self else s.user.name for s in self.line)
                told = say("You are number {place} in line ({line}).", place=place, line=line)
                told = f"{self._full()} {told}"
                yield {"progress": 5, "message": told}
                shown = names
            await asyncio.sleep(0.5)
        yield {"progress": 50, "message": say("A place is yours. Your notebook is starting.")}

    async def _take(self) -> None:
        """Wait in line, then start a session on the account that becomes free."""
        deadline = time.monotonic() + self.patience
        try:
            while True:
                if self.turned_away:
                    raise SessionError(say("Your account was closed, or has a new password."), 403)
                if taken := self._first_free():
                    self.account, file = taken
                    with file:
                        self.process = await self._connect(self.account, file.fileno())
                    return
                if time.monotonic() > deadline:
                    raise SessionError(
                        f"{self._full()} "
                        + say(
                            "None became free in {minutes} minutes: please try again later.",
                            minutes=round(self.patience / 60),
                        ),
                        503,
                    )
                await asyncio.sleep(POLL_SECONDS)
        except ConnectionFailedError as error:
            raise SessionError(say("The session could not be opened: {why}", why=error)) from error

    def _first_free(self) -> Any:
        """Lease a free account that nobody before us in line could have, or None.

        A student's files are on one machine, so a student with files waits for that machine.
        """
        wanted = [self.user.name]
        for other in self.line:
            if other is self:
                break
            wanted.append(other.user.name)
        homes = {name: self._home(name) for name in wanted}
        mine = homes.pop(self.user.name)
        taken = {host for host in homes.values() if host}
        if None in homes.values() or (mine is None and homes) or mine in taken:
            return None
        entries = [e for e in self.server_pool if mine is None or _machine(e) == mine]
        leased = self.leases.take(self.user.name, entries, profile=self._profile())
        if leased and mine is None:
            self._set_home(_machine(leased[0]))
        return leased

    def _profile(self) -> str:
        """What was chosen; one that is gone is refused once, and no later start asks for it."""
        try:
            return self._choose_profile(self.user_options or {})
        except SessionError:
            (self.user_options or {}).clear()
            if self.orm_spawner is not None:
                self.orm_spawner.user_options = None
                self.db.commit()
            raise

    def _home(self, student: str) -> str | None:
        """The machine that has a student's files; None: none yet, or it has left the pool."""
        machines = {_machine(entry) for entry in self.server_pool}
        if len(machines) == 1:
            return machines.pop()
        with contextlib.suppress(FileNotFoundError):
            home = (Path(self.state_directory) / "machines" / student).read_text().strip()
            return home if home in machines else None
        return None

    def _set_home(self, machine: str) -> None:
        directory = Path(self.state_directory) / "machines"
        directory.mkdir(mode=0o700, exist_ok=True)
        (directory / self.user.name).write_text(machine)

    def _full(self) -> str:
        return say("All {count} places are taken.", count=len(self.server_pool))

    async def _connect(self, entry: str, lease: int) -> subprocess.Popen[bytes]:
        profile = self._profile()
        languages = self.profiles[profile].get("kernels", ()) if profile else ()
        request = {
            "student": self.user.name,
            "profile": profile,
            "argv": [*self.cmd, *self.get_args(), *profiles.arguments(languages)],
            "env": {k: str(v) for k, v in self.get_env().items()},
            "ulimit": self.ulimit,
        }
        if not account_of(entry).local:
            request["hub_port"] = self.hub_port
        state = Path(self.state_directory)
        return await connect(entry, lease, request, key=self.pool_key, state=state)

    async def _ready(self) -> tuple[str, int]:
        """Wait until the account's side has told its port, and the server answers on it."""
        deadline = time.monotonic() + self.ready_timeout
        port = None
        while time.monotonic() < deadline:
            lease = self.lease()
            if lease is None or (self.process and self.process.poll() is not None):
                break
            if port is None and (said := greeting(lease)):
                port = await self._reach(account_of(lease.account), said)
            if port and await answers(port):
                self.notices.clear(self.user.name)
                return "127.0.0.1", port
            await asyncio.sleep(POLL_SECONDS)
        if paused := notes.pause_of(self.user.name):
            raise SessionError(paused, 503)
        self.log.error("Session on %s did not start: %s", self.account, self._last_words())
        raise SessionError(
            say(
                "Your notebook did not start. Please try again; if it happens twice, tell your"
                " teacher."
            )
        )

    async def _reach(self, account: Account, said: dict[str, Any]) -> int:
        """The port of this machine that leads to the session's server."""
        if account.local:
            return int(said["port"])
        here = local_ports(self.server_pool, str(self.account))[0]
        await lead(
            Path(self.state_directory),
            str(self.account),
            *("-L", f"127.0.0.1:{here}:127.0.0.1:{said['port']}"),
            *("-R", f"127.0.0.1:{said['tunnels'][0]}:127.0.0.1:{self.hub_port}"),
        )
        return here

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
        async with asyncio.timeout(seconds):
            while not condition():
                if self.process is not None:
                    self.process.poll()
                await asyncio.sleep(POLL_SECONDS)

    def _last_words(self) -> str:
        file = Path(self.state_directory) / "leases" / str(self.account)
        return file.read_text(errors="replace") if file.exists() else ""


def _machine(entry: str) -> str:
    """The machine of an entry, one name for this one."""
    host = account_of(entry).host
    return "localhost" if host in LOOPBACK else host
