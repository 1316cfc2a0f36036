"""Which points go to a platform, and which do not."""

import asyncio
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from provision.guest.lti.exchange import Link, roll_of
from provision.guest.lti.people import Person
from provision.guest.lti.platforms import read_platforms
from provision.guest.lti.points import COLUMN, SCORE, Gradebook, Outbox, Points
from provision.guest.lti.services import UnansweredError
from tests.integration.lti_platform import PUPIL, TEACHER, Platform

MOODLE = read_platforms([Platform(4711, "https://hub.test").settings()])[0]
EMMY, CARL = Person(MOODLE.issuer, "7"), Person(MOODLE.issuer, "9")
OTHER = Person("https://other.test", "7")
PEOPLE = {each.name: each for each in (EMMY, CARL, OTHER)}
BOOK = Gradebook("here", MOODLE, f"{MOODLE.issuer}/columns", [SCORE, COLUMN], {})


class Service:
    """What a platform answers, and what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.code = 0
        self.columns: Any = []

    async def open(self, *_: Any) -> dict[str, str]:
        if self.code == 599:
            raise UnansweredError("away")
        return {}

    async def pages(self, *_: Any) -> list[Any]:
        return [self.columns]

    async def post(self, _: Any, place: str, __: Mapping[str, str], told: Any, ___: str) -> Any:
        if self.code and place.endswith("/scores"):
            raise UnansweredError("no", self.code)
        self.told.append((place, told))
        if not place.endswith("/scores"):
            return {**told, "id": f"{place}/1"}
        return None

    @property
    def scores(self) -> list[tuple[str, float]]:
        found = [told for place, told in self.told if place.endswith("/scores")]
        return [(each["userId"], each["scoreGiven"]) for each in found]


def points(person: Person, score: float = 5, graded: str = "2026-11-30T08:00:00+00:00") -> Points:
    return Points("primes", person.name, score, 10, graded, by_hand=False)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def outbox(service: Service, tmp_path: Path) -> Outbox:
    return Outbox(service, tmp_path / "sent.json", logging.getLogger())  # type: ignore[arg-type]


def send(outbox: Outbox, *wanted: Points, book: Gradebook = BOOK) -> None:
    asyncio.run(outbox.send(book, wanted, PEOPLE))


def test_each_is_told_once_and_again_when_it_is_graded_anew(
    outbox: Outbox, service: Service
) -> None:
    send(outbox, points(EMMY), points(CARL, 6))
    send(outbox, points(EMMY), points(CARL, 6))
    assert service.scores == [("7", 5), ("9", 6)]
    send(outbox, points(EMMY, 8, "2026-11-30T09:00:00+00:00"), points(CARL, 6))
    assert service.scores[2:] == [("7", 8)]
    assert [place for place, _ in service.told].count(f"{MOODLE.issuer}/columns") == 1


def test_nobody_is_told_of_to_another_platform(outbox: Outbox, service: Service) -> None:
    send(outbox, points(OTHER), points(Person(MOODLE.issuer, "unknown")))
    assert service.told == []


def test_what_cannot_be_points(outbox: Outbox, service: Service) -> None:
    send(outbox, Points("primes", EMMY.name, 0, 0, "2026-11-30T08:00:00+00:00", by_hand=False))
    assert service.told == []


@pytest.mark.parametrize("code", [500, 503, 401, 408, 429, 302])
def test_who_is_away_is_told_later(outbox: Outbox, service: Service, code: int) -> None:
    service.code = code
    send(outbox, points(EMMY))
    assert outbox.waits("here")
    assert outbox.history() == {}


@pytest.mark.parametrize("code", [400, 403, 404, 422])
def test_what_is_refused_is_not_told_each_minute(
    outbox: Outbox, service: Service, code: int
) -> None:
    service.code = code
    send(outbox, points(EMMY))
    assert not outbox.waits("here")
    service.code = 0
    send(outbox, points(EMMY), points(CARL, 6))
    assert service.scores == [("9", 6)]
    send(outbox, points(EMMY, 7, "2026-11-30T09:00:00+00:00"))  # which is something else
    assert service.scores[1:] == [("7", 7)]


def test_who_has_something_newer_has_it(outbox: Outbox, service: Service) -> None:
    service.code = 409
    send(outbox, points(EMMY))
    service.code = 0
    send(outbox, points(EMMY))
    assert service.scores == []


def test_a_hub_that_was_killed_in_between_says_the_same_again(
    outbox: Outbox, service: Service, tmp_path: Path
) -> None:
    send(outbox, points(EMMY))
    (tmp_path / "sent.json").write_text("{")
    send(outbox, points(EMMY))
    one, other = [told for place, told in service.told if place.endswith("/scores")]
    assert one == other


@pytest.mark.parametrize(
    "columns",
    [
        [{"id": f"{MOODLE.issuer}/columns/5?type=1", "resourceId": "primes"}],
        [{"id": "x"}, None, {"id": f"{MOODLE.issuer}/columns/5?type=1", "resourceId": "primes"}],
    ],
)
def test_a_column_that_is_there_is_used(outbox: Outbox, service: Service, columns: Any) -> None:
    service.columns = columns
    send(outbox, points(EMMY))
    assert [place for place, _ in service.told] == [f"{MOODLE.issuer}/columns/5/scores?type=1"]


@pytest.mark.parametrize("place", ["https://elsewhere.test/5", None, 5, "/columns/5"])
def test_a_column_elsewhere_gets_nothing(outbox: Outbox, service: Service, place: Any) -> None:
    service.columns = [{"id": place, "resourceId": "primes"}]
    send(outbox, points(EMMY))
    assert service.told == []


@pytest.mark.parametrize("scope", [[], [COLUMN], ["other"]])
def test_what_a_platform_does_not_allow_is_not_tried(
    outbox: Outbox, service: Service, scope: list[str]
) -> None:
    send(outbox, points(EMMY), book=Gradebook("here", MOODLE, BOOK.lineitems, scope, {}))
    assert service.told == []


def test_a_roster_as_roll() -> None:
    members = [
        {"user_id": "7", "roles": [TEACHER, PUPIL], "name": "Emmy Noether"},
        {"user_id": "9", "roles": ["Learner"], "given_name": "Carl", "family_name": "Gauß"},
        {"user_id": "10", "roles": [PUPIL], "status": "Deleted"},
        {"user_id": "11", "roles": []},
        {"user_id": 12, "roles": [PUPIL]},
        {"roles": [PUPIL]},
        {"user_id": "13", "roles": "Instructor"},
        "14",
    ]
    roll, people = roll_of(MOODLE.issuer, members)
    assert roll == {"members": [CARL.name], "teachers": [EMMY.name]}
    assert [person.title for person in people] == ["Emmy Noether", "Carl Gauß"]


def test_a_course_of_a_platform_is_one_by_all_four() -> None:
    links = {Link("a", "b", "c", "d", "x").source, Link("a", "b", "c d", "", "x").source}
    links |= {Link("a", "b", "c", "e", "x").source, Link("a", "b", "c", "d", "y").source}
    assert len(links) == 3
    assert json.loads(Link("a", "b", "c", "d", "x").source) == ["a", "b", "c", "d"]
