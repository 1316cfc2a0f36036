"""A full class at work: as many students as the memory promises, each running cells. Slow.

The host holds no guest to its memory here, so what all its processes own is added up.
"""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from guest import Guest, notebook_guest, sage_layer
from student import SAGE_CELLS, Student

from provision.config import Config, capacity, read

SECONDS = float(os.environ.get("LOAD_SECONDS", "600"))
PAUSE = 3.0  # between a student's cells
CONFIG = Config()
MIB = 1 << 20
SMALL = read(
    assignments=[
        *("memory=4G", "kernels.forked=true", "kernels.python.packages=[]"),
        *("pool.count=15", "pool.limits.memory=176M", "pool.limits.tmp=16M"),
    ]
).config
OWN = "cat /proc/[0-9]*/smaps_rollup 2> /dev/null | awk '/^Pss:/ {kb += $2} END {print kb}'"
OF_ACCOUNT = (
    "cat $(pgrep -u {} | sed 's:.*:/proc/&/smaps_rollup:') 2> /dev/null"
    " | awk '/^Private_(Clean|Dirty):/ {{kb += $2}} END {{print kb}}'"
)

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


@pytest.fixture(scope="module")
def small(layers: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    scratch = tmp_path_factory.mktemp("small")
    variables = {
        "pool_accounts": list(SMALL.pool_accounts),
        "notebook_sessions": SMALL.sessions,
        "notebook_accounts": True,
        "notebook_forked": True,
        "notebook_limits": SMALL.pool.limits.model_dump() | {"disk": 0},
    }
    with notebook_guest([*layers, sage_layer(layers, scratch)], scratch, variables) as guest:
        guest.run(
            "systemctl start nursery@notebook $(ls /opt | sed -n 's/^sage-[0-9.]*$/nursery@&/p')"
        )
        yield guest


def test_a_small_guest_carries_the_sage_class_that_is_promised(small: Guest) -> None:
    places = capacity(SMALL)
    assert places == len(SMALL.pool_accounts) == 15
    students = [Student(small.url, f"sage{number}") for number in range(places)]

    def work(number: int) -> None:
        student = students[number].sign_in().start(240)
        kernel = student.kernel("sagemath")
        for code, shown in SAGE_CELLS.items():
            assert shown in kernel.run(code, 240)
        account = kernel.run("import getpass; getpass.getuser()").strip("'")
        room = SMALL.pool.limits.memory - 1024 * int(small.run(OF_ACCOUNT.format(account)))
        assert room > 48 * MIB, f"{account} has {room // MIB} MiB left to work with"
        kernel.run(f"import os; held = os.urandom(int({room - 8 * MIB}))", 240)
        for step in range(20):
            assert kernel.run(f"{step} + 1; len(held) > 0", 240) == "True"
            time.sleep(PAUSE)

    with ThreadPoolExecutor(places) as threads:
        list(threads.map(work, range(places)))
    owned = int(small.run(OWN)) / 1024
    assert owned < SMALL.memory / MIB, f"{places} sessions at their limit: all own {owned:.0f} MiB"
    for student in students:
        student.stop()
