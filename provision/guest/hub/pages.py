"""The administrator's screen and the health endpoint, in the hub's own pages.

``/hub/classroom`` shows students, sessions, pool and machine, now and over the last day, and does
what an administrator does; every action is written to ``audit.jsonl`` in the hub's directory and
to the journal. ``/hub/healthy`` is for whoever watches the appliance from outside.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import needs_scope
from tornado import web

from provision.guest.hub import guard, roll, upkeep
from provision.guest.hub.admission import put_out
from provision.guest.hub.audit import note
from provision.guest.hub.conditions import DISK_FULL
from provision.guest.hub.metrics import read_history, read_now
from provision.guest.hub.wishes import UNITS, Wishes
from provision.guest.pool.account import read_settings
from provision.guest.pool.accounts import Accounts
from provision.guest.pool.authenticator import PoolAuthenticator
from provision.guest.pool.earlier import earlier
from provision.guest.pool.keeper import KeeperRefusedError, ask

LOG_LINES = 200
LASTING = ("backup", "restore", "delete", "bring back")
GRAVE = ("password", "delete", "bring back")  # an administrator in a browser types the password


def handlers(state: Path) -> list[tuple[str, type, dict[str, Any]]]:
    """The pages, for JupyterHub's ``extra_handlers``.

    Args:
        state: directory of the hub's own files.
    """
    told = {"state": state, "jobs": upkeep.Jobs()}
    return [
        (r"/healthy", HealthHandler, {}),
        (r"/confirm", guard.ConfirmHandler, {}),
        (r"/classroom", ClassroomHandler, told),
        (r"/classroom/logs", LogsHandler, told),
        (r"/classroom/do", ActionHandler, told),
    ]


def ailments(now: Mapping[str, Any]) -> list[str]:
    """What is wrong with the appliance, in words; nothing when it is healthy.

    Args:
        now: the sampler's last sample; empty when there is none.
    """
    if not now:
        return ["the sampler has not written for a minute"]
    disks = now["host"]["disks"].items()
    return [f"{mount} is full" for mount, disk in disks if disk["free"] < DISK_FULL * disk["size"]]


def sparkline(rows: list[list[float]], column: int, *, top: float | None = None) -> str:
    """The points of an SVG polyline, 300 wide and 40 high, for one column of the history.

    Args:
        rows: of the history; the first column is the time.
        column: which one to draw.
        top: the value at the upper edge; None: the greatest.
    """
    rows = [row for row in rows if len(row) > column]
    if len(rows) < 2:
        return ""
    begun, ended = rows[0][0], rows[-1][0]
    highest = top or max(row[column] for row in rows) or 1
    return " ".join(
        f"{300 * (row[0] - begun) / max(1, ended - begun):.1f},"
        f"{40 - 38 * min(1, row[column] / highest):.1f}"
        for row in rows
    )


def exact(number: int | None) -> str:
    """Bytes as one would write them, as 1536M."""
    units = (unit for unit in ("T", "G", "M", "K") if number and number % UNITS[unit] == 0)
    unit = next(units, "")
    return f"{number // UNITS.get(unit, 1)}{unit}" if number else ""


class HealthHandler(BaseHandler):  # type: ignore[misc]  # JupyterHub has no types
    """``GET /hub/healthy``: 200 or 503; what is wrong is told without names."""

    def get(self) -> None:
        """Tell whether hub, sampler and disks are well."""
        wrong = ailments(read_now())
        self.set_status(503 if wrong else 200)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"healthy": not wrong, "wrong": wrong}))


class _ClassroomPage(BaseHandler):  # type: ignore[misc]  # JupyterHub has no types
    def initialize(self, state: Path, jobs: upkeep.Jobs) -> None:
        self.state, self.jobs = state, jobs
        self.accounts = Accounts(state / "accounts.json")
        self.wishes = Wishes(state)


class ClassroomHandler(_ClassroomPage):
    """``GET /hub/classroom``."""

    @web.authenticated
    @needs_scope("admin-ui")  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Show the screen."""
        now, rows = read_now(), read_history()
        page = await self.render_template(
            "classroom.html",
            now=now,
            students=await self._students(now),
            wrong=ailments(now),
            size=roll.size,
            exact=exact,
            charts=[
                ("Sessions", sparkline(rows, 1, top=now["pool"]["size"] if now else None)),
                ("Load", sparkline(rows, 2)),
                ("Memory", sparkline(rows, 3, top=1)),
                ("Disk /", sparkline(rows, 4, top=1)),
                ("Disk /home", sparkline(rows, 5, top=1)),
            ],
            done=self.get_argument("done", ""),
            jobs=self.jobs.jobs,
            clock=upkeep.clock,
            backup=upkeep.last_backup(),
            deleted=await self._archived_students(),
        )
        self.finish(page)

    async def _archived_students(self) -> list[str]:
        """The students whose files are archived; none where root's service cannot be asked."""
        try:
            return list((await ask("deleted"))["deleted"])
        except KeeperRefusedError as error:
            self.log.warning("%s", error)
            return []

    async def _students(self, now: Mapping[str, Any]) -> list[dict[str, Any]]:
        there, active = roll.sessions(now), roll.last_active(self)
        locked, accounts = self.accounts.locked(), self.accounts.names()
        waiting, own = set(self.accounts.waiting()), self.wishes.limits()
        before = await earlier(waiting, read_settings().directory, self.state) if waiting else ()
        rows = [
            {
                "name": name,
                "session": there.get(name),
                "active": active.get(name),
                "waiting": name in waiting,
                "earlier": name in before,
                "locked": name in locked,
                "account": name in accounts,
                "own": own.get(name, {}),
            }
            for name in {*active, *there, *accounts}
        ]
        return roll.order(rows)


class LogsHandler(_ClassroomPage):
    """``GET /hub/classroom/logs``: what hub and sessions' sign-ins have said last."""

    @web.authenticated
    @needs_scope("admin-ui")  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Show the last lines of the journal."""
        words = ("-u", "notebook", "-u", "notebook-proxy", "-u", "sshd-pool", "-n", str(LOG_LINES))
        asked = await asyncio.create_subprocess_exec(
            *("/usr/bin/journalctl", "--no-pager", "-q", *words),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        told, _ = await asked.communicate()
        text = told.decode(errors="replace")
        self.finish(await self.render_template("classroom-logs.html", text=text))


class ActionHandler(_ClassroomPage):
    """``POST /hub/classroom/do``: what the administrator does, here or by a token."""

    _accept_token_auth = True

    @web.authenticated
    @needs_scope("admin-ui")  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        """Carry it out, note it, and go back to the screen."""
        names, action = roll.selection(self), self.get_body_argument("action")
        if action in roll.ACTIONS:
            for name in names:
                self._find(name)
            await roll.act(self, self.state, action, names)
            self.redirect(f"{self.hub.base_url}classroom?done={action}")
            return
        if len(names) > 1:
            raise web.HTTPError(400, f"{action!r} is done to one student at a time.")
        name = names[0] if names else ""
        user = self.find_user(name)
        if action in GRAVE and not await self._confirm(name, action):
            return
        if action in LASTING:
            await self._begin(action, name, user)
            return
        self._find(name)
        doing: Callable[[str, Any], Any] | None = {
            "password": self._password,
            "limits": self._limits,
            "lock": self._lock,
            "unlock": self._unlock,
            "open": self._open,
        }.get(action)
        if doing is None:
            raise web.HTTPError(400, f"There is no action {action!r}.")
        try:
            done = await doing(name, user)
        except ValueError as error:
            raise web.HTTPError(400, str(error)) from None
        self._note(action, name)
        if action == "open":
            self.redirect(done)
        elif action == "password":  # shown once, and never in an address
            told = {"student": name, "password": done}
            page = await self.render_template("classroom-password.html", **told)
            self.set_header("Cache-Control", "no-store")
            self.finish(page)
        else:
            self.redirect(f"{self.hub.base_url}classroom?done={action}")

    async def _confirm(self, name: str, action: str) -> bool:
        """Whether it was the administrator; if not, the page that asks is the answer."""
        if getattr(self, "_token_authenticated", False) or guard.fresh(self):
            return True
        password = self.get_body_argument("password", "")
        if password and await guard.verify_password(self, password):
            return True
        self.set_status(403)
        fields = {"student": name, "action": action}
        if confirm := self.get_body_argument("confirm", ""):
            fields["confirm"] = confirm
        self.finish(await guard.ask(self, fields, wrong=bool(password)))
        return False

    async def _begin(self, action: str, name: str, user: Any) -> None:
        """Begin what takes its time; whoever asks for JSON waits for the end."""
        if self.jobs.busy(name):
            raise web.HTTPError(409, "The last one is still at work.")
        job = upkeep.Job(action, "" if action == "backup" else name)
        work: Awaitable[str]
        match action:
            case "backup":
                work = upkeep.back_up()
            case "restore":
                path = self.get_body_argument("path", "", strip=False)
                work = upkeep.restore(job, path, self.get_body_argument("at", ""))
            case "bring back":
                work = self._bring_back(name)
            case _:
                self._may_go(name, user)
                work = upkeep.delete(self, user, name, self.state)
        self._note(action, job.student)
        self.jobs.begin(job, work)
        if not self._by_program():
            self.redirect(f"{self.hub.base_url}classroom")
            return
        await job.ended.wait()
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"error" if job.failed else "said": job.said}))

    def _by_program(self) -> bool:
        return "application/json" in self.request.headers.get("Accept", "")

    def write_error(self, status_code: int, **told: Any) -> None:
        """Say what is wrong, to a person by a page, to a program in JSON."""
        error = told.get("exc_info", (None, None))[1]
        if self._by_program() and isinstance(error, web.HTTPError):
            self.set_header("Content-Type", "application/json")
            self.finish(json.dumps({"error": error.log_message or error.reason}))
        else:
            super().write_error(status_code, **told)

    def _find(self, name: str) -> None:
        """Refuse whom there is not."""
        if self.find_user(name) is None and name not in self.accounts.names():
            raise web.HTTPError(404, f"There is no student {name!r}.")

    def _may_go(self, name: str, user: Any) -> None:
        """Refuse to delete whom nobody meant."""
        self._find(name)
        if user is not None and user.admin:
            raise web.HTTPError(400, f"{name} is an administrator.")
        if self.get_body_argument("confirm", "").strip() != name:
            raise web.HTTPError(400, f"To delete {name}, write the name into the field beside it.")

    async def _bring_back(self, name: str) -> str:
        """A deleted student's files and, where accounts are our own, the name."""
        await ask("back", name)
        if isinstance(self.authenticator, PoolAuthenticator) and name not in self.accounts.names():
            self.accounts.reserve(name)
            return "a new password lets the student in"
        return "the files are there again"

    async def _password(self, name: str, user: Any) -> str:
        password = os.urandom(8).hex()
        if name not in self.accounts.names():
            raise ValueError(f"{name} signs in elsewhere and has no password here.")
        await asyncio.to_thread(self.accounts.set_password, name, password)
        await put_out(self.state, name)
        return password

    async def _limits(self, name: str, user: Any) -> None:
        self.wishes.limit(
            name, {kind: self.get_body_argument(kind, "") for kind in ("memory", "cpu", "disk")}
        )

    async def _lock(self, name: str, user: Any) -> None:
        if user is not None and user.admin:
            raise ValueError(f"{name} is an administrator.")
        await asyncio.to_thread(self.accounts.lock, name)
        await put_out(self.state, name)

    async def _unlock(self, name: str, user: Any) -> None:
        self.accounts.unlock(name)

    async def _open(self, name: str, user: Any) -> str:
        if user is None or not user.spawner.active:
            raise ValueError(f"{name} has no session.")
        return f"{user.url}lab"

    def _note(self, action: str, name: str) -> None:
        """Write down who did what to whom."""
        note(self, self.state, action, name)
