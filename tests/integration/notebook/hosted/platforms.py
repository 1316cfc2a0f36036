"""A learning platform at another origin, and the guest whose course its people are in."""

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guest import FORKED, Guest, further_layer, notebook_guest
from playwright.sync_api import Page

from provision import resources
from provision.guest.lti.people import Person
from provision.machine.ports import free_port
from tests.integration.lti_platform import PUPIL, Platform

HOST = "id.school.test"  # leads to this host's loopback, both from the guest and in the browser
COURSE = "/home/students/.courses/algebra"
SECONDS = 120_000  # a busy machine grades slowly


@dataclass
class School:
    """A guest, and the platform whose people use it."""

    guest: Guest
    moodle: Platform

    def name(self, sub: str) -> str:
        """Of somebody there, here."""
        return Person(self.moodle.issuer, sub).name

    def until(self, true: Callable[[], object], seconds: float = 120) -> None:
        """Wait for what happens by itself."""
        deadline = time.monotonic() + seconds
        while not true():
            log = "journalctl -u notebook -n 60 --no-pager -o cat"
            assert time.monotonic() < deadline, self.guest.run(log)
            time.sleep(0.5)

    def roll(self) -> dict[str, set[str]]:
        """Who is in the course by the platform, as root has it."""
        told = json.loads(self.guest.run("cat /home/students/.courses/rolls.json"))
        (found,) = told["algebra"].values()
        return {role: set(names) for role, names in found.items()}

    def opened(self, page: Page, sub: str, target: str = "_self", **says: Any) -> None:
        """Press the link in the platform's page, and have the platform say who it is."""
        self.moodle.says = says
        page.goto(f"{self.moodle.issuer}/course?sub={sub}&target={target}")
        page.get_by_role("button", name="open").click()
        place = page.frame_locator("iframe") if target == "inside" else page
        place.get_by_role("button", name="go on").click()


@contextmanager
def connected(
    layers: Sequence[Path], scratch: Path, members: Sequence[str], places: int
) -> Iterator[School]:
    """A guest whose course ``algebra`` is one of a platform's.

    Args:
        layers: from ``installed_layers``.
        scratch: directory for what is written.
        members: who learns in it besides the platform's people.
        places: sessions that it has room for.
    """
    role = resources.playbooks() / "roles/extensions"
    inputs = [role / "tasks/main.yml", *(role / f"files/{n}.lock" for n in ("courses", "signin"))]
    told = {"extensions_names": ["courses", "signin"]}
    all_layers = [*layers, further_layer("courses", layers, inputs, told, scratch)]
    moodle = Platform(free_port(), "", HOST)
    settings = moodle.settings(courses=[{"context": moodle.context, "course": "algebra"}])
    variables = {
        "pool_accounts": [f"nb{n + 1}" for n in range(places)],
        "notebook_secure": True,
        "notebook_forked": FORKED,
        "notebook_record": {
            "courses": {"algebra": {"members": [*members], "teachers": [], "quota": 50 << 20}},
            "sign_in": {"lti": [settings], "admins": []},
        },
    }
    with notebook_guest(all_layers, scratch, variables) as guest:
        guest.run(f"echo {guest.gateway()} {HOST} >> /etc/hosts")
        guest.run("systemctl start notebook-assignments.socket notebook-exams")
        moodle.tool = guest.url
        moodle.members = [
            {"user_id": sub, "roles": [role], "status": "Active", "name": name}
            for sub, (name, role) in {**moodle.people, "10": ("Late Comer", PUPIL)}.items()
        ]
        with moodle.serving():
            yield School(guest, moodle)


def started(page: Page) -> None:
    """Start a session, as the page that one comes to offers it."""
    page.goto(re.sub(r"(//[^/]+)/.*", r"\1/hub/spawn", page.url))
    page.wait_for_selector(".jp-Launcher, .jp-Notebook", timeout=SECONDS)


def reloaded(page: Page, wanted: Callable[[], Any]) -> None:
    """Look again until it is there."""
    for _ in range(120):
        if wanted().count():
            return
        page.wait_for_timeout(1000)
        page.goto(page.url)
    raise AssertionError(page.locator("main").inner_text())
