"""Who somebody of a platform is here.

A name is made of the platform's id and of its own id of the person, so that it is the same each
time, nobody else's, and nothing that the person could choose.
"""

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from provision.guest.pool.rolls import PREFIX
from provision.guest.whole import keep, locking

LETTERS = 20  # of a name: 100 bits


@dataclass(frozen=True)
class Person:
    """Somebody of a platform.

    Args:
        issuer: the platform's id.
        sub: the platform's own id of the person.
        title: the person's name; empty: it is not known.
    """

    issuer: str
    sub: str
    title: str = ""

    @property
    def name(self) -> str:
        """The name here."""
        told = json.dumps([self.issuer, self.sub]).encode()
        return PREFIX + base64.b32encode(hashlib.sha256(told).digest()).decode().lower()[:LETTERS]


class People:
    """All who came, or are on a roster.

    Args:
        path: of a file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Person] = {}
        self._read: tuple[int, int] | None = None  # which file, and how it was then

    def all(self) -> dict[str, Person]:
        """By name; what stands there under another name than its own is nobody."""
        try:
            found = self._path.stat()
            if self._read != (state := (found.st_ino, found.st_mtime_ns)):
                self._known, self._read = _people(self._path.read_text()), state
        except FileNotFoundError:
            self._known = {}
        return self._known

    def title(self, name: str) -> str:
        """What a person is called: by the own name where it is known."""
        person = self.all().get(name)
        return person.title if person and person.title else name

    def keep(self, people: Iterable[Person]) -> None:
        """Remember people; who has no name this time keeps that of before."""
        with locking(self._path.parent):
            known = dict(self.all())
            for person in people:
                if person.title or person.name not in known:
                    known[person.name] = person
            if known != self.all():
                told = {name: [p.issuer, p.sub, p.title] for name, p in known.items()}
                keep(self._path, json.dumps(told))


def _people(text: str) -> dict[str, Person]:
    try:
        told = json.loads(text)
    except ValueError:  # they come again, as who they were
        return {}
    known = [Person(*each) for each in told.values()]
    return {person.name: person for person in known if person.name in told}
