"""A real hub behind its guard, with two learning platforms and courses that root's service keeps.

Root's service is our own code; what it would read of the machine is made up. It has a process of
its own, as the hub lives on while others' tests run in this one.
"""

import asyncio
import contextlib
import json
import os
import signal
import socketserver
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from provision.guest import record
from provision.guest.assignments import desk
from provision.guest.assignments.errors import AssignmentError
from provision.guest.pool.account import PoolSettings
from provision.guest.pool.accounts import Accounts
from provision.guest.pool.courses import course_directory, hand_in_directory
from provision.guest.pool.exams import GRADES, RECORD
from provision.guest.pool.keeper import KeeperRefusedError, ask
from provision.machine.ports import free_port
from tests.integration.lti_platform import Platform
from tests.integration.signin.browser import Browser

COURSES = {
    "algebra": {"members": ["karl"], "teachers": ["hilbert"], "quota": 1},
    "secret": {"members": ["karl"], "teachers": ["hilbert"], "quota": 1},  # no platform's
}
ALGEBRA = [{"context": "42", "course": "algebra"}]
HUB = """
import json
from pathlib import Path
from provision.guest.hub.words import OWN, Words
from provision.guest.hub import assignments
from provision.guest.lti import exchange, points
from provision.guest.lti.tool import configure
c = get_config()
state = Path(".").resolve()
assignments.SOCKET = exchange.SOCKET = state / {socket!r}
exchange.EVERY, exchange.OFTEN, points.FIRST, points.LAST = 1, 0, 1, 2
c.JupyterHub.extra_handlers = assignments.handlers(state)
c.merge(configure({{"lti": json.loads({platforms!r})}}, state))
c.PoolAuthenticator.accounts_file = str(state / "accounts.json")
c.PoolAuthenticator.open_accounts = True
c.PoolAuthenticator.admin_users = {{"sageadm"}}
c.JupyterHub.template_paths = [str(OWN)]
c.JupyterHub.jinja_environment_options = {{"extensions": [Words]}}
c.JupyterHub.template_vars = {{"own_accounts": True, "courses_page": False}}
c.JupyterHub.redirect_to_server = False  # there are no sessions here
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.command = [
    *("env", "-u", "LD_PRELOAD", "NODE_PATH=/usr/share/nodejs:/usr/lib/nodejs"),
    "configurable-http-proxy",
]
"""
ROOT = Path(__file__).parents[3]
SOCKET = "desk.socket"
START = "from provision.guest.hub.guard import GuardedHub as H; H.launch_instance(['-f', 'hub.py'])"


@dataclass(frozen=True)
class Place:
    """A hub that runs.

    Args:
        url: its address.
        state: its own files.
        students: the students' files, with those of courses.
        settings: its platforms, as the configuration has them.
        moodle, ilias: they themselves, which are not serving yet.
    """

    url: str
    state: Path
    students: Path
    settings: list[dict[str, Any]]
    moodle: Platform
    ilias: Platform

    def log(self) -> str:
        """What the hub has said."""
        return (self.state / "log").read_text()

    def asked(self, verb: str, *words: str) -> dict[str, Any]:
        """What root's service says.

        Raises:
            AbsentError: there is nothing of that name for who asks.
            AssignmentError: it cannot be done.
        """
        try:
            return asyncio.run(ask(verb, *words, place=self.state / SOCKET))
        except KeeperRefusedError as error:
            kind = desk.AbsentError if error.absent else AssignmentError
            raise kind(str(error)) from error

    def grade(self, student: str, score: float, graded: str, assignment: str = "primes") -> None:
        """Have work of a student graded and returned, as it is after that."""
        course = course_directory(self.students, "algebra")
        grades = course / GRADES / assignment
        grades.mkdir(parents=True, exist_ok=True)
        told = {"due": "", "grace": 0, "notebooks": []}
        (grades / RECORD).write_text(json.dumps(told))
        owner = hand_in_directory(self.students, course, student).stat().st_uid
        version = grades / f"{student}.{owner}/0001"
        version.mkdir(parents=True, exist_ok=True)
        (version / "returned").unlink(missing_ok=True)
        handed = {"handed": graded, "late": False, "problems": {}, "digest": ""}
        (version / "version.json").write_text(json.dumps(handed))
        result = {"score": score, "max_score": 10, "by_hand": False, "graded": graded}
        (version / "result.json").write_text(json.dumps(result))
        (version / "returned").touch()


@contextlib.contextmanager
def running(state: Path) -> Iterator[Place]:
    """A hub and root's service, until the block ends."""
    port = free_port()
    url, students = f"http://127.0.0.1:{port}", state / "students"
    students.mkdir()
    platforms = [Platform(free_port(), url), Platform(free_port(), url)]
    settings = [platform.settings(courses=ALGEBRA) for platform in platforms]
    told = {"platforms": json.dumps(settings), "port": port}
    told |= {"hub_port": free_port(), "proxy_port": free_port(), "socket": SOCKET}
    (state / "hub.py").write_text(HUB.format(**told))
    Accounts(state / "accounts.json").add("sageadm", "the first password")
    found = Place(url, state, students, settings, *platforms)
    service = [sys.executable, "-m", __name__, str(state / SOCKET), str(students)]
    with (
        (state / "log").open("wb") as log,
        _process(*service, json.dumps(settings), directory=ROOT, log=log),
        _process(sys.executable, "-c", START, directory=state, log=log) as hub,
    ):
        deadline = time.monotonic() + 180
        while "JupyterHub is now running" not in (said := found.log()):
            assert hub.poll() is None and time.monotonic() < deadline, said[-4000:]
            time.sleep(0.2)
        yield found


@contextlib.contextmanager
def _process(*command: str, directory: Path, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    places = {"cwd": directory, "env": env, "stdout": log, "stderr": log}
    begun = subprocess.Popen(command, **places, start_new_session=True)
    try:
        yield begun
    finally:
        os.killpg(begun.pid, signal.SIGTERM)
        begun.wait()


def _serve(place: str, students: str, settings: str) -> None:
    """Be root's service."""
    lti = {"lti": json.loads(settings)}
    read = record.Record("sageadm", [], {}, courses=COURSES, sign_in=lti)
    record.read = lambda: read  # type: ignore[assignment]
    desk.read_settings = lambda: PoolSettings(Path(students), 0)
    with socketserver.ThreadingUnixStreamServer(place, _Desk) as server:
        server.serve_forever()


class _Desk(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        """As ``desk.main``."""
        self.wfile.write(json.dumps(desk.respond(self.rfile.read())).encode())


def asked(platform: Platform, browser: Browser, sub: str = "9", /, **further: str) -> str:
    """Click on the link: the address to which the hub leads, at the platform."""
    status, address, page = browser.follow(platform.begun(sub, **further))
    assert status == 302, page[-3000:]
    return address


def opened(
    platform: Platform, browser: Browser, sub: str = "9", /, **further: Any
) -> tuple[int, str, str]:
    """Click on the link, and have the platform say who it is."""
    form = platform.answer(asked(platform, browser, sub), **further)
    return browser.get(f"{platform.tool}/hub/lti/launch", form, origin=platform.issuer)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
