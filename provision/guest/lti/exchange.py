"""What comes and goes between a platform's courses and ours when nobody looks: rolls and points.

What a signed launch said of a place there is kept: where its people are asked for, and where points
go. The roll is asked for when a teacher comes, and once a day. Points go when feedback is returned,
and again while the platform does not take them.
"""

import asyncio
import contextlib
import dataclasses
import json
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provision.guest import typed
from provision.guest.hub.assignments import SOCKET
from provision.guest.lti.launch import INSTRUCTOR, LEARNER, Launch, has, title_of
from provision.guest.lti.people import People, Person
from provision.guest.lti.platforms import Platform
from provision.guest.lti.points import Gradebook, Outbox, Points
from provision.guest.lti.services import Services, UnansweredError
from provision.guest.pool.keeper import KeeperRefusedError, ask
from provision.guest.pool.rolls import source_of
from provision.guest.whole import keep

DAY = 86400
EVERY = 60  # seconds; points wait for no longer
LATER = 600  # seconds after which a roll is asked for that could not be had
OFTEN = 60  # seconds for which a roll is not asked for again
MEND = "remove it: the platforms' next launches write it anew"


@dataclass(frozen=True)
class Link:
    """A course of a platform that is a course here.

    Args:
        issuer, client_id, deployment, context: which.
        course: ours.
        roster: where its people are asked for; empty: nowhere.
        lineitems: where the columns of its gradebook are; empty: that is not told.
        scope: what may be done with them.
        columns: the address of one for each assignment that the platform itself has linked.
    """

    issuer: str
    client_id: str
    deployment: str
    context: str
    course: str
    roster: str = ""
    lineitems: str = ""
    scope: list[str] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """What no other course of a platform's has."""
        return source_of(self.issuer, self.client_id, self.deployment, self.context)

    def with_launch(self, launch: Launch, assignment: str) -> "Link":
        """With what a launch says; what it does not say stays.

        Args:
            launch: from there.
            assignment: which its link opens; empty: none.
        """
        column = launch.grades.get("lineitem", "")
        more = {assignment: column} if assignment and column else {}
        return dataclasses.replace(
            self,
            roster=launch.roster or self.roster,
            lineitems=launch.grades.get("lineitems") or self.lineitems,
            scope=sorted({*self.scope, *launch.grades.get("scope", ())}),
            columns={**self.columns, **more},
        )


def link_of(launch: Launch) -> Link:
    """The course from which somebody comes, with nothing else known of it yet."""
    name = launch.platform.name
    return Link(*name, launch.deployment, launch.context, launch.course)


def roll_of(issuer: str, members: Iterable[Any]) -> tuple[dict[str, list[str]], list[Person]]:
    """The names of a roster by role, and the people.

    Args:
        issuer: the platform's.
        members: as the platform tells them (Names and Role Provisioning Services 2.0).
    """
    roll: dict[str, list[str]] = {"members": [], "teachers": []}
    people = []
    for each in members:
        if not isinstance(each, dict) or each.get("status", "Active") != "Active":
            continue
        roles, sub = each.get("roles"), each.get("user_id")
        role = "teachers" if has(INSTRUCTOR, roles) else "members"
        if isinstance(sub, str) and sub and (role == "teachers" or has(LEARNER, roles)):
            people.append(Person(issuer, sub, title_of(each)))
            roll[role].append(people[-1].name)
    return roll, people


class Exchange:
    """The hub's part of it.

    Args:
        platforms: all that are set up, by name.
        services: to ask them.
        people: all who are known.
        directory: of the hub's own files about platforms.
        log: where what cannot be done is told.
    """

    def __init__(
        self,
        platforms: Mapping[tuple[str, str], Platform],
        services: Services,
        people: People,
        *,
        directory: Path,
        log: logging.Logger,
    ) -> None:
        self._platforms, self._services, self._people = platforms, services, people
        self._path, self._log = directory / "links.json", log
        self._outbox = Outbox(services, directory / "sent.json", log)
        self._due = asyncio.Event()
        self._read: dict[str, float] = {}
        self._at_work: set[asyncio.Task[None]] = set()

    def links(self) -> dict[str, Link]:
        """All that are known and still as the configuration says, by source."""
        try:
            told: dict[str, Link] = typed.load(dict[str, Link], self._path, MEND)
        except FileNotFoundError:
            return {}
        except typed.DamagedError as error:
            self._log.error("lti: %s", error)
            return {}
        return {source: link for source, link in told.items() if self._is_ours(source, link)}

    def _is_ours(self, source: str, link: Link) -> bool:
        platform = self._platforms.get((link.issuer, link.client_id))
        place = (link.deployment, link.context)
        return bool(
            platform and link.source == source and platform.courses.get(place) == link.course
        )

    async def take(self, launch: Launch, name: str) -> None:
        """Take what somebody's coming says: who is in the course, and where more is asked.

        Args:
            launch: of a course of ours.
            name: who.
        """
        roll = {"teachers": [name] * launch.teaches}
        roll["members"] = [name] * (launch.learns and not launch.teaches)
        links, fresh = self.links(), link_of(launch)
        link = links.get(fresh.source, fresh).with_launch(
            launch, launch.custom.get("assignment", "")
        )
        if link != links.get(link.source):
            told = {source: dataclasses.asdict(each) for source, each in links.items()}
            keep(self._path, json.dumps({**told, link.source: dataclasses.asdict(link)}))
        if any(roll.values()):
            await self._enroll(link, roll, whole=False)
        if launch.teaches:
            self._begin(link)

    async def assignments(self, name: str, course: str) -> list[str]:
        """The assignments of a course, for who teaches it; none, where root says it is another's.

        Args:
            name: who asks.
            course: which.
        """
        try:
            told = await ask("overview", name, place=SOCKET)
        except KeeperRefusedError as error:
            self._log.error("lti: %s", error)
            return []
        return [each["name"] for each in told["teachers"].get(course, {}).get("assignments", ())]

    def _begin(self, link: Link) -> None:
        """Ask for the roll of a course, while whoever came goes on."""
        if time.monotonic() - self._read.get(link.source, float("-inf")) > OFTEN:
            self._read[link.source] = time.monotonic()
            task = asyncio.create_task(self._roll(link))
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)

    def look(self) -> None:
        """Send points soon: some were returned."""
        self._due.set()

    async def run(self) -> None:
        """Ask for each roll once a day, and send points, as long as the hub runs."""
        while True:
            for link in self.links().values():
                if time.monotonic() - self._read.get(link.source, float("-inf")) > DAY:
                    self._begin(link)
                try:
                    await self._send_points(link)
                except Exception:  # those of the next course are to be sent all the same
                    self._log.exception("lti: points of %s cannot be sent", link.course)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), EVERY)
            self._due.clear()

    async def _send_points(self, link: Link) -> None:
        if not link.scope or self._outbox.waits(link.source):
            return
        try:
            told = await ask("returned", link.source, link.course, place=SOCKET)
        except KeeperRefusedError as error:
            self._log.error("lti: the points of %s are not told: %s", link.course, error)
            return
        platform = self._platforms[link.issuer, link.client_id]
        book = Gradebook(link.source, platform, link.lineitems, link.scope, link.columns)
        points = [Points(**each) for each in told["points"]]
        await self._outbox.send(book, points, self._people.all())

    async def _roll(self, link: Link) -> None:
        platform = self._platforms[link.issuer, link.client_id]
        if not link.roster:
            return
        try:
            members = await self._services.members(platform, link.roster)
        except UnansweredError as error:
            self._log.error("lti: the roll of %s cannot be had: %s", link.course, error)
            # A platform asks for our keys first, which a hub that begins does not tell yet.
            self._read[link.source] = time.monotonic() - DAY + LATER
            return
        roll, people = roll_of(link.issuer, members)
        if not people:  # who has asked for it is on it
            self._log.error("lti: the roll of %s is empty", link.course)
            return
        await asyncio.to_thread(self._people.keep, people)
        if await self._enroll(link, roll, whole=True):
            self._log.info("lti: %s has %d people of a platform", link.course, len(people))

    async def _enroll(self, link: Link, roll: Mapping[str, list[str]], *, whole: bool) -> bool:
        told = json.dumps({**roll, "whole": whole})
        try:
            await ask("enroll", link.source, link.course, told, place=SOCKET)
        except KeeperRefusedError as error:
            self._log.error("lti: the roll of %s is not taken: %s", link.course, error)
            return False
        return True
