"""Pages of assignments: ``/hub/assignments``, for who teaches a course and who learns in one.

The hub asks root's service (``assignments.desk``) for all of it, and says who has signed in.
"""

import asyncio
import csv
import io
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jupyterhub.handlers.base import BaseHandler
from tornado import web

from provision.guest.hub.audit import note
from provision.guest.hub.upkeep import Job, Jobs
from provision.guest.pool.keeper import KeeperRefusedError, ask
from provision.guest.words import no_formula

SOCKET = Path("/run/notebook/assignments.socket")  # there where there are courses
LASTING = ("grade", "again", "feedback", "collect", "release")
AT_ONCE = ("begin", "hand-in", "mark", "extra", "pause", "resume", "check")
RULES = ("terminals", "material")  # what an exam may have
INERT = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"
_MARK = re.compile(r"(points|comment):(\d+)")


def handlers(state: Path) -> list[tuple[str, type, dict[str, Any]]]:
    """The pages, for JupyterHub's ``extra_handlers``.

    Args:
        state: directory of the hub's own files.
    """
    told: dict[str, Any] = {"state": state, "visitors": defaultdict(Visitor)}
    return [
        (r"/assignments", AssignmentsHandler, told),
        (r"/assignments/gradebook", GradebookHandler, told),
        (r"/assignments/result", ResultHandler, told),
        (r"/assignments/similar", SimilarHandler, told),
    ]


@dataclass
class Visitor:
    """What is known of one who comes here, until the hub ends.

    Args:
        jobs: what was begun, and what came of it.
        turn: whose request root's service answers; each has one at a time.
    """

    jobs: Jobs = field(default_factory=Jobs)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class CoursePage(BaseHandler):  # type: ignore[misc]  # JupyterHub has no types
    """A page for who has signed in; what that one may see and do, root's service says."""

    def initialize(self, state: Path, visitors: dict[str, Visitor]) -> None:
        """Take what the address is given."""
        self.state, self.visitors = state, visitors

    @property
    def _visitor(self) -> Visitor:
        return self.visitors[self.current_user.name]

    async def _ask(self, verb: str, *words: str) -> dict[str, Any]:
        """What root's service answers to who has signed in.

        Raises:
            HTTPError: 404, there is nothing of that name for this user; 400, it cannot be done.
        """
        if not SOCKET.exists():
            raise web.HTTPError(404, "There are no courses.")
        try:
            async with self._visitor.turn:
                return await ask(verb, self.current_user.name, *words, place=SOCKET)
        except KeeperRefusedError as error:
            status = 404 if error.absent else 400
            raise web.HTTPError(status, str(error).replace("%", "%%")) from error

    def _arguments(self, *names: str) -> list[str]:
        return [self.get_argument(name) for name in names]


class AssignmentsHandler(CoursePage):
    """``GET /hub/assignments`` shows all, one assignment or one student's work; ``POST`` does."""

    @web.authenticated
    async def get(self) -> None:
        """Show what the visitor teaches and learns, or a part of it."""
        parts = ("course", "assignment", "student")
        names = [*itertools.takewhile(lambda name: self.get_argument(name, ""), parts)]
        words = self._arguments(*names)
        match len(words):
            case 3:
                page, told = "assignments-one.html", await self._ask("one", *words)
            case 2:
                page, told = "assignments-all.html", await self._ask("all", *words)
            case _:
                page, told = "assignments.html", await self._ask("overview")
        told |= dict(zip(names, words, strict=True))
        self.set_header("Cache-Control", "no-store")
        jobs = self._visitor.jobs.jobs
        self.finish(await self.render_template(page, jobs=jobs, **told))

    @web.authenticated
    async def post(self) -> None:
        """Carry out what was pressed; what takes its time is told on the page that follows."""
        verb, course, assignment = self._arguments("verb", "course", "assignment")
        words = [course, assignment]
        if student := self.get_body_argument("student", ""):
            words.append(student)
        if verb == "release":
            words += [self.get_body_argument(name, "") for name in ("due", "grace", "from")]
            words += [rule for rule in RULES if self.get_body_argument(rule, "")]
        elif verb == "extra":
            words += self._arguments("minutes")
        elif verb == "mark":
            words.append(json.dumps(self._marks()))
        job, jobs = Job(verb, assignment), self._visitor.jobs
        if verb in LASTING:
            await self._ask("may", course)
            if jobs.busy(assignment):
                raise web.HTTPError(409, "The last one is still at work.")
            note(self, self.state, f"assignment {verb}", "/".join(words[:3]))
            jobs.begin(job, self._work(verb, *words))
        elif verb in AT_ONCE:
            done = (await self._ask(verb, *words))["done"]
            note(self, self.state, f"assignment {verb}", "/".join(words[:3]))
            jobs.begin(job, asyncio.sleep(0, done))
            await job.ended.wait()
        else:
            raise web.HTTPError(400, f"There is no action {verb!r}.")
        place = {} if verb in ("release", "begin", "hand-in") else {"assignment": assignment}
        place |= {"student": student} if verb == "mark" else {}
        query = urlencode({"course": course, **place})
        self.redirect(f"{self.hub.base_url}assignments?{query}")

    async def _work(self, verb: str, *words: str) -> str:
        """What takes its time; its visitor goes on meanwhile."""
        done = await ask(verb, self.current_user.name, *words, place=SOCKET)
        if verb == "feedback" and hasattr(self.authenticator, "look"):
            self.authenticator.look()  # a learning platform gets the points
        return str(done["done"])

    def _marks(self) -> dict[str, dict[str, dict[str, str]]]:
        """What was typed beside each cell; a number ties it to the cell's name."""
        marks: dict[str, dict[str, dict[str, str]]] = {}
        for typed in self.request.body_arguments:
            if found := _MARK.fullmatch(typed):
                kind, number = found.groups()
                notebook, cell = self._arguments(f"notebook:{number}", f"cell:{number}")
                marks.setdefault(notebook, {}).setdefault(cell, {})[kind] = self.get_argument(typed)
        return marks


class GradebookHandler(CoursePage):
    """``GET /hub/assignments/gradebook?course=NAME``."""

    @web.authenticated
    async def get(self) -> None:
        """Give all results of a course as CSV."""
        told = await self._ask("gradebook", *self._arguments("course"))
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("Content-Disposition", 'attachment; filename="gradebook.csv"')
        self.set_header("Cache-Control", "no-store")
        self.finish(_with_people(told["csv"], self.template_namespace["person"]))


def _with_people(table: str, person: Callable[[str], str]) -> str:
    """A gradebook in which each student is called as on the pages, where that is not the name."""
    rows = list(csv.DictReader(io.StringIO(table)))
    called = {row["student_id"]: person(row["student_id"]) for row in rows}
    if all(name == title for name, title in called.items()):
        return table
    file = io.StringIO()
    written = csv.DictWriter(file, [*rows[0], "person"])
    written.writeheader()
    for row in rows:
        written.writerow({**row, "person": no_formula(called[row["student_id"]])})
    return file.getvalue()


class ResultHandler(CoursePage):
    """``GET /hub/assignments/result``: a graded notebook, with what a student's code has shown."""

    @web.authenticated
    async def get(self) -> None:
        """Give the page; nothing in it runs, and it is of no origin."""
        words = self._arguments("course", "assignment", "student", "notebook")
        told = await self._ask("page", *words)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", INERT)
        self.set_header("Cache-Control", "no-store")
        self.finish(told["page"])


class SimilarHandler(CoursePage):
    """``GET /hub/assignments/similar``: hand-ins that are alike, or two of them side by side."""

    @web.authenticated
    async def get(self) -> None:
        """Show the pairs of an assignment; with ``one`` and ``other`` what they have written."""
        words = self._arguments("course", "assignment")
        pair = [each for name in ("one", "other") if (each := self.get_argument(name, ""))]
        told = await self._ask("beside" if len(pair) == 2 else "similar", *words, *pair[:2])
        told |= {"course": words[0], "assignment": words[1], "pair": pair}
        self.set_header("Cache-Control", "no-store")
        self.finish(await self.render_template("assignments-similar.html", **told))
