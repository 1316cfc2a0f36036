"""A class of ten at work, alone and under our attacks, in turn and in the same run.

The attacks are the tests that try them, each with what must happen: those on sign-in, origins,
sessions and the hub's user in the class's own appliance, those on the other parts beside it, on the
same processors. `pytest -s -m slow tests/bench/test_attacks.py` prints the figures.
"""

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median, quantiles
from typing import ClassVar

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "notebook"))

from guest import Guest, installed_layers, notebook_guest
from playwright.sync_api import Browser
from student import Student

from tests.integration.conftest import chromium
from tests.integration.notebook.conftest import COURSES, LIMITS

INTEGRATION = Path(__file__).parents[1] / "integration"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
CLASS, PLACES = 10, 15
# Before each of these the class is left alone: whatever else the host has to do, then and
# later, is in both figures.
QUIET_SECONDS, PAUSE, START_PAUSE = 25.0, 3.0, 15.0
FEWEST, WORST_RATIO = 150, 2.0
INSIDE = (
    *("hostile", "own_place", "greedy", "origins", "guard", "proxy"),
    *("units", "hub_user", "guessing"),
)
# The others' machines; what starts the hub anew, or ends all sessions, is no attack of a student's.
NOT_HERE = "not school and not administers_it and not becomes_the_hubs and not mended"
BESIDE = (
    *(("grader/test_attacks",), ("jail/test_attacks",), ("distribution/test_attacks",)),
    *(("fleet/test_backup_faults", "fleet/test_ways_back"), ("stores/test_stores_sync",)),
)
ALONE, ATTACKED, PREPARED = "alone", "attacked", "while attacks are prepared"


class Class:
    """Ten students who run a cell every few seconds, and one who comes and goes.

    Args:
        guest: their appliance.
    """

    def __init__(self, guest: Guest) -> None:
        self.now = PREPARED
        self.cells: dict[str, list[float]] = {ALONE: [], ATTACKED: [], PREPARED: []}
        self.starts: dict[str, list[float]] = {ALONE: [], ATTACKED: [], PREPARED: []}
        self.wrong: list[str] = []
        self._bell = threading.Event()
        names = [f"class{n}" for n in range(CLASS)]
        with ThreadPoolExecutor(2) as threads:
            students = list(
                threads.map(lambda name: Student(guest.url, name).sign_in().start(300), names)
            )
        self._comer = Student(guest.url, "comer").sign_in()
        self._threads = [threading.Thread(target=self._work, args=(each,)) for each in students]
        self._threads.append(threading.Thread(target=self._come_and_go))
        for each in self._threads:
            each.start()

    def end(self) -> None:
        self._bell.set()
        for each in self._threads:
            each.join()

    def _work(self, student: Student) -> None:
        kernel, number = student.kernel(), 0
        while not self._bell.wait(PAUSE):
            number += 1
            when, begun = self.now, time.monotonic()
            try:
                shown = kernel.run(f"sum(range(10**5)); print('cell', {number})")
            except Exception as error:  # whatever it is, the cell is lost
                shown = repr(error)
            self.cells[when].append(time.monotonic() - begun)
            if shown != f"cell {number}\n":
                self.wrong.append(f"{student.name}, {when}: {shown}")
        student.stop()

    def _come_and_go(self) -> None:
        while not self._bell.wait(START_PAUSE):
            when, begun = self.now, time.monotonic()
            try:
                self._comer.start(120)
                self.starts[when].append(time.monotonic() - begun)
                self._comer.stop(120)
            except Exception as error:  # whatever it is, the start has failed
                self.wrong.append(f"start, {when}: {error!r}")


class Attacks:
    """Counts the attacks, and says when there is one; a plugin of pytest's.

    Args:
        pupils: who are attacked.
    """

    def __init__(self, pupils: Class) -> None:
        self.tried: list[str] = []
        self.failed: list[str] = []
        self._pupils = pupils

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        self._pupils.now = ATTACKED
        try:
            return (yield)
        finally:
            self._pupils.now = PREPARED

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(f"{report.nodeid}: {report.longreprtext[-2000:]}")
        elif report.when == "call" and report.passed:
            self.tried.append(report.nodeid)

    def run(self, *words: str, plugins: tuple[object, ...] = ()) -> None:
        """Leave the class alone for a while, then try the attacks of some files."""
        self._pupils.now = ALONE
        time.sleep(QUIET_SECONDS)
        self._pupils.now = PREPARED
        usual = ("-q", "-n", "0", "-p", "no:cacheprovider")
        if ended := pytest.main([*usual, *words], plugins=[self, *plugins]):
            self.failed.append(f"{words}: pytest ended with {ended}")


class Place:
    """What the notebook's tests find there: the class's appliance, instead of their own."""

    running: ClassVar[Guest]

    @pytest.fixture(scope="session")
    @classmethod
    def guest(cls) -> Guest:
        return cls.running

    @pytest.fixture(scope="module")
    @classmethod
    def browser(cls) -> Iterator[Browser]:
        with chromium() as browser:
            yield browser


@pytest.fixture
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """As the attacks know it, with more places."""
    scratch = tmp_path_factory.mktemp("attacks")
    variables = {
        "pool_accounts": [f"nb{n}" for n in range(1, PLACES + 1)],
        "notebook_sessions": PLACES,
        "notebook_accounts": True,
        "notebook_patience": 6,
        "notebook_limits": LIMITS,
        "notebook_record": {"courses": COURSES},
    }
    with notebook_guest(installed_layers(scratch), scratch, variables) as guest:
        yield guest


def test_a_class_works_on_under_all_attacks(guest: Guest) -> None:
    pupils = Class(guest)
    attacks = Attacks(pupils)
    Place.running = guest
    try:
        time.sleep(20)
        for name in INSIDE:
            file = INTEGRATION / "notebook" / f"test_{name}.py"
            # Their own conftest would boot another appliance.
            attacks.run("--noconftest", "-k", NOT_HERE, str(file), plugins=(Place(),))
        inside = len(attacks.tried)
        for names in BESIDE:
            attacks.run(*(str(INTEGRATION / f"{name}.py") for name in names))
    finally:
        pupils.end()
    print(f"\nattacks: {inside} on the class's appliance, {len(attacks.tried) - inside} beside it")
    for when, cells in pupils.cells.items():
        starts = pupils.starts[when]
        print(
            f"{when}: {len(cells)} cells, median {median(cells):.3f} s, p95 {p95(cells):.3f} s;"
            f" {len(starts)} starts, longest {max(starts, default=0):.1f} s"
        )
    ratio = p95(pupils.cells[ATTACKED]) / p95(pupils.cells[ALONE])
    print(f"p95 under attack to alone: {ratio:.2f}")
    assert attacks.failed == []
    assert len(attacks.tried) >= FEWEST
    assert pupils.wrong == []
    assert pupils.starts[ATTACKED]
    assert ratio <= WORST_RATIO


def p95(seconds: list[float]) -> float:
    return quantiles(seconds, n=20)[-1]
