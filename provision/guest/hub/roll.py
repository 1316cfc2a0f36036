"""Who is there now, the active first, and what is done to several students at once.

The administrator has all students on the classroom's page (``pages``), a teacher those of the own
course at ``/hub/course``: who teaches it and who learns in it is root's service's to say, at each
request, and the hub does nothing to anybody else.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jupyterhub import orm
from tornado import web

from provision.guest.hub.assignments import CoursePage, Visitor
from provision.guest.hub.audit import note
from provision.guest.hub.metrics import read_now
from provision.guest.hub.wishes import Wishes
from provision.guest.pool.accounts import Accounts
from provision.guest.words import say

LONGEST_MESSAGE = 500
TEACHERS = ("message", "stop")  # of the actions


def handlers(state: Path) -> list[tuple[str, type, dict[str, Any]]]:
    """The page of a course, for JupyterHub's ``extra_handlers``.

    Args:
        state: directory of the hub's own files.
    """
    told: dict[str, Any] = {"state": state, "visitors": defaultdict(Visitor)}
    return [(r"/course", CourseHandler, told)]


def size(number: float | None) -> str:
    """Bytes in short, as 1.5 G."""
    if number is None:
        return ""
    value, units = float(number), ["", "K", "M", "G", "T"]
    while value >= 1000 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.1f} {units[0]}" if 0 < value < 10 else f"{value:.0f} {units[0]}"


def sessions(now: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Who has a session, and what it uses.

    Args:
        now: the sampler's last sample; empty when there is none.
    """
    found = now.get("sessions", {}).items()
    return {each["student"]: {**each, "account": account} for account, each in found}


def last_active(handler: Any) -> dict[str, Any]:
    """When each of the hub's users was there last; None: never.

    Args:
        handler: of the request.
    """
    return {name: when for name, when in handler.db.query(orm.User.name, orm.User.last_activity)}


def order(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Who has a session first, then who waits for approval, then the others; each by name.

    Args:
        rows: of students; ``waiting`` may be missing.
    """
    return sorted(rows, key=lambda row: (not row["session"], not row.get("waiting"), row["name"]))


def selection(handler: Any) -> list[str]:
    """The students that a form names, each once."""
    return [*dict.fromkeys(name for name in handler.get_body_arguments("student") if name)]


async def act(handler: Any, state: Path, action: str, names: Iterable[str]) -> None:
    """Do one thing to students, all at once; who cannot be helped keeps nobody else's.

    Args:
        handler: of the request, whose sender may do it.
        state: directory of the hub's own files.
        action: of ``ACTIONS``.
        names: of students that there are.

    Raises:
        HTTPError: 400, nobody is named, or it could not be done to some: it says to whom.
    """
    names = list(names)
    if not names:
        raise web.HTTPError(400, say("Choose at least one student."))
    tries = [ACTIONS[action](handler, state, name) for name in names]
    left = []
    for name, done in zip(names, await asyncio.gather(*tries, return_exceptions=True), strict=True):
        if isinstance(done, ValueError):
            left.append(str(done))
        elif isinstance(done, BaseException):
            handler.log.error("%s of %s: %r", action, name, done)
            left.append(say("{name}: it ended unexpectedly", name=name))
        elif done:
            note(handler, state, action, name)
    if left:
        raise web.HTTPError(400, "; ".join(left))


async def _approve(_: Any, state: Path, name: str) -> bool:
    accounts = Accounts(state / "accounts.json")
    if name not in accounts.waiting():
        return False
    accounts.approve(name)
    return True


async def _message(handler: Any, state: Path, name: str) -> bool:
    Wishes(state).tell(name, handler.get_body_argument("text", "")[:LONGEST_MESSAGE])
    return True


async def _stop(handler: Any, _: Path, name: str) -> bool:
    user = handler.find_user(name)
    if user is None or not user.spawner.active or user.spawner.pending == "stop":
        return False
    if user.spawner.pending:
        raise ValueError(say("{name}: the session is just beginning", name=name))
    await handler.stop_single_user(user)
    return True


ACTIONS: Mapping[str, Callable[[Any, Path, str], Awaitable[bool]]] = {
    "approve": _approve,
    "message": _message,
    "stop": _stop,
}


class CourseHandler(CoursePage):
    """``GET /hub/course?course=NAME`` shows a course's students; ``POST`` stops or tells them."""

    @web.authenticated
    async def get(self) -> None:
        """Show who is there, to who teaches the course."""
        (course,) = self._arguments("course")
        names = (await self._ask("may", course))["students"]
        there, active = sessions(read_now()), last_active(self)
        rows = [
            {"name": name, "session": there.get(name), "active": active.get(name)} for name in names
        ]
        self.set_header("Cache-Control", "no-store")
        page = await self.render_template(
            "course.html",
            course=course,
            students=order(rows),
            size=size,
            done=self.get_argument("done", ""),
        )
        self.finish(page)

    @web.authenticated
    async def post(self) -> None:
        """Stop or tell the students that were chosen, all of whom the course must have."""
        course, action, names = *self._arguments("course", "action"), selection(self)
        await self._ask("may", course, *names)
        if action not in TEACHERS:
            raise web.HTTPError(400, f"There is no action {action!r}.")
        await act(self, self.state, action, names)
        query = urlencode({"course": course, "done": action})
        self.redirect(f"{self.hub.base_url}course?{query}")
