"""Points of returned work, on their way into a platform's gradebook (Assignment, Grade Services).

What was sent is written down with the time of its grading, which goes along: what comes twice,
since the hub ended in between, is the same to the platform, and what is older does not replace
what is newer.
"""

import json
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from provision.guest.lti.people import Person
from provision.guest.lti.platforms import Platform
from provision.guest.lti.services import Services, UnansweredError
from provision.guest.whole import keep

SCORE = "https://purl.imsglobal.org/spec/lti-ags/scope/score"
COLUMN = "https://purl.imsglobal.org/spec/lti-ags/scope/lineitem"
OF_SCORE = "application/vnd.ims.lis.v1.score+json"
OF_COLUMN = "application/vnd.ims.lis.v2.lineitem+json"
OF_COLUMNS = "application/vnd.ims.lis.v2.lineitemcontainer+json"
FIRST, LAST = 30, 3600  # seconds after which a platform that does not answer is asked again
REFUSED = 86400  # seconds after which it is asked for what it has refused
NEWER = 409  # its answer to what is older than what it has


@dataclass(frozen=True)
class Points:
    """What a student has for an assignment, as root's service tells it.

    Args:
        assignment, student: which.
        score, most: of how many.
        graded: when.
        by_hand: something is still to be graded by hand.
    """

    assignment: str
    student: str
    score: float
    most: float
    graded: str
    by_hand: bool

    def key(self, source: str) -> str:
        """Of what they are, in a course there."""
        return json.dumps([source, self.assignment])

    @property
    def mark(self) -> list[Any]:
        """What is to be told of it."""
        return [self.score, self.most, self.graded, self.by_hand]

    def form(self, sub: str) -> dict[str, Any]:
        """As a platform takes it.

        Args:
            sub: the platform's id of the student.
        """
        return {
            **{"userId": sub, "scoreGiven": self.score, "scoreMaximum": self.most},
            **{"timestamp": self.graded, "activityProgress": "Completed"},
            "gradingProgress": "PendingManual" if self.by_hand else "FullyGraded",
        }


@dataclass(frozen=True)
class Gradebook:
    """Where points of a course go.

    Args:
        source: the course there, and here.
        platform: which.
        lineitems: the address of its columns; empty: it is not told.
        scope: what may be done.
        columns: the address of that of an assignment, where the platform has told it itself.
    """

    source: str
    platform: Platform
    lineitems: str
    scope: list[str]
    columns: Mapping[str, str]


class Outbox:
    """What was sent, and what is to be tried again.

    Args:
        services: of platforms.
        path: of the file.
        log: where it is told what cannot be sent.
    """

    def __init__(self, services: Services, path: Path, log: logging.Logger) -> None:
        self._services, self._path, self._log = services, path, log
        self._later: dict[str, tuple[float, float]] = {}  # when, and how long it was
        self._refused: dict[tuple[str, str], tuple[list[Any], float]] = {}
        self._found: dict[tuple[str, str], str] = {}

    def history(self) -> dict[str, dict[str, list[Any]]]:
        """What platforms have, by student, and by course there and assignment."""
        try:
            told: dict[str, dict[str, list[Any]]] = json.loads(self._path.read_text())
        except (FileNotFoundError, ValueError):  # they are told once more, of the same time
            return {}
        return told

    def waits(self, source: str) -> bool:
        """Whether a platform did not answer just now, so that it is left alone for a while."""
        return time.monotonic() < self._later.get(source, (0.0, 0.0))[0]

    async def send(
        self, book: Gradebook, points: Iterable[Points], people: Mapping[str, Person]
    ) -> None:
        """Send what the platform does not have.

        Args:
            book: where to.
            points: all that were returned.
            people: who is who; nobody of another platform is told of.
        """
        has = self.history()
        wanted = [each for each in points if self._is_due(book, each, has, people)]
        if not wanted or SCORE not in book.scope or self.waits(book.source):
            return
        try:
            head = await self._services.open(book.platform, *{SCORE, COLUMN} & {*book.scope})
            for each in wanted:
                await self._send(book, each, people[each.student].sub, head)
            self._later.pop(book.source, None)
        except UnansweredError as error:
            wait = min(2 * self._later.get(book.source, (0.0, FIRST / 2))[1], LAST)
            self._later[book.source] = time.monotonic() + wait, wait
            self._log.error("lti: points wait for %.0f s: %s", wait, error)

    def _is_due(
        self,
        book: Gradebook,
        points: Points,
        has: Mapping[str, Mapping[str, list[Any]]],
        people: Mapping[str, Person],
    ) -> bool:
        person = people.get(points.student)
        if person is None or person.issuer != book.platform.issuer or not points.most > 0:
            return False
        key = points.key(book.source)
        mark, until = self._refused.get((points.student, key), (None, 0.0))
        refused = mark == points.mark and time.monotonic() < until
        return has.get(points.student, {}).get(key) != points.mark and not refused

    async def _send(
        self, book: Gradebook, points: Points, sub: str, head: Mapping[str, str]
    ) -> None:
        """Send one; what the platform refuses keeps no other.

        Raises:
            UnansweredError: the platform does not answer.
        """
        key = points.key(book.source)
        try:
            if not (column := await self._column(book, points, head)):
                return
            place = urlsplit(column)
            scores = urlunsplit(place._replace(path=f"{place.path.rstrip('/')}/scores"))
            told = points.form(sub)
            await self._services.post(book.platform, scores, head, told, OF_SCORE)
        except UnansweredError as error:
            if error.code not in range(400, 500) or error.code in (401, 408, 429):
                raise
            if error.code != NEWER:
                self._refused[points.student, key] = (
                    points.mark,
                    time.monotonic() + REFUSED,
                )
                self._log.error("lti: the platform refuses points: %s", error)
                return
        sent = self.history()
        sent.setdefault(points.student, {})[key] = points.mark
        keep(self._path, json.dumps(sent))

    async def _column(self, book: Gradebook, points: Points, head: Mapping[str, str]) -> str:
        """The address of an assignment's column, made where there is none; empty: nowhere."""
        name = points.assignment
        if told := book.columns.get(name) or self._found.get((book.source, name)):
            return told
        if not book.lineitems or COLUMN not in book.scope:
            return ""
        joint = "&" if "?" in book.lineitems else "?"
        place = f"{book.lineitems}{joint}{urlencode({'resource_id': name})}"
        pages = await self._services.pages(book.platform, place, head, OF_COLUMNS)
        found = [each for page in pages if isinstance(page, list) for each in page]
        mine = [each for each in found if isinstance(each, dict) and each.get("resourceId") == name]
        if not mine:
            wanted = {"scoreMaximum": points.most, "label": name, "resourceId": name}
            made = await self._services.post(book.platform, book.lineitems, head, wanted, OF_COLUMN)
            mine = [made if isinstance(made, dict) else {}]
        column = mine[0].get("id")
        here = urlsplit(book.lineitems)[:2]
        if not isinstance(column, str) or urlsplit(column)[:2] != here:
            raise UnansweredError(f"{book.lineitems} tells no column of its own")
        self._found[book.source, name] = column
        return column
