"""A full class at work: as many students as the memory promises, each running cells. Slow."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from guest import Guest, notebook_guest
from student import Student

from provision.config import Config, capacity

SECONDS = float(os.environ.get("LOAD_SECONDS", "600"))
PAUSE = 3.0  # between a student's cells
CONFIG = Config()

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def classroom(layers: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    variables = {
        "pool_accounts": list(CONFIG.pool_accounts),
        "notebook_sessions": CONFIG.sessions,
        "notebook_accounts": True,
        "notebook_limits": CONFIG.pool.limits.model_dump() | {"disk": 0},
    }
    with notebook_guest(layers, tmp_path_factory.mktemp("load"), variables) as guest:
        yield guest


def _work(guest: Guest, number: int) -> int:
    """One student: sign in, start, compute until the bell; every answer must come and be right."""
    student = Student(guest.url, f"student{number}").sign_in().start(120)
    kernel = student.kernel()
    kernel.run(f"total = {number}")
    bell, done = time.monotonic() + SECONDS, 0
    while time.monotonic() < bell:
        done += 1
        shown = kernel.run(f"total += 1; sum(range(10**5)); print('cell', {done}, total)")
        assert shown == f"cell {done} {number + done}\n"
        time.sleep(PAUSE)
    student.stop()
    return done


def test_a_full_class_loses_no_start_and_no_message(classroom: Guest) -> None:
    students = capacity(CONFIG)
    assert students == len(CONFIG.pool_accounts)
    with ThreadPoolExecutor(students) as threads:
        done = list(threads.map(lambda number: _work(classroom, number), range(students)))
    # Nobody was starved: a cell costs little more than the pause between two.
    assert min(done) > SECONDS / PAUSE / 3, done
    assert classroom.run("systemctl --failed --plain --no-legend").strip() == ""
    assert classroom.run("notebook-sessions") == ""
