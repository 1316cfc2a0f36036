"""Sessions and Sage kernels that are forked beside those that are started, in one guest.

`pytest -s -m slow tests/bench/test_nursery.py` prints the table.
"""

import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "notebook"))

from guest import Guest, installed_layers, notebook_guest, sage_layer
from student import SAGE_CELLS, Student

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
ROUNDS = 3
LIMITS = {
    "sign-in to a ready server, s": 0.4,
    "first answer, s": 0.2,
    "first answer, no file in memory, s": 0.7,
    "five first cells, s": 0.35,
    "the same, private, MiB": 0.4,
    "processor, first answer and cells, s": 0.2,
}
DROP = Path("/proc/sys/vm/drop_caches")
FIRST = "integrate(x^2, x)"
TIMES = "import os; t = os.times(); print(t.user + t.system)"
MEMORY = (
    "for p in $(pgrep -u nb1); do cat /proc/$p/smaps_rollup; done | "
    "awk '/^Pss:/ {pss += $2} /^Private_(Clean|Dirty):/ {own += $2} END {print pss, own}'"
)


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    scratch = tmp_path_factory.mktemp("nursery")
    layers = installed_layers(scratch)
    limits = {"memory": 3 << 30, "swap": 0, "cpu": 200, "tasks": 512, "files": 1024}
    limits |= {"file_size": 1 << 30, "tmp": 256 << 20, "disk": 0}
    variables = {
        "pool_accounts": ["nb1", "nb2"],
        "notebook_accounts": True,
        "notebook_limits": limits,
        "notebook_forked": True,
    }
    with notebook_guest([*layers, sage_layer(layers, scratch)], scratch, variables) as guest:
        yield guest


def test_a_forked_kernel_beside_a_started_one(guest: Guest) -> None:
    student = Student(guest.url, "gauss").sign_in()
    figures: dict[str, dict[str, list[float]]] = {"started": {}, "forked": {}}

    def note(how: str, what: str, value: float) -> None:
        figures[how].setdefault(what, []).append(value)

    def measure(how: str) -> None:
        guest.run(f"systemctl {'start' if how == 'forked' else 'stop'} {' '.join(units)}")
        begun = time.monotonic()
        student.start(240)
        note(how, "sign-in to a ready server, s", time.monotonic() - begun)
        begun = time.monotonic()
        kernel = student.kernel("sagemath")
        assert kernel.run("2 + 2", 240) == "4"
        note(how, "first answer, s", time.monotonic() - begun)
        parent = guest.run(f"ps -o comm= -p {kernel.run('import os; os.getppid()')}")
        assert parent.startswith("python") == (how == "forked"), parent
        time.sleep(1)
        pss, own = (int(word) / 1024 for word in guest.run(MEMORY).split())
        note(how, "idle session with its server, PSS, MiB", pss)
        note(how, "the same, private, MiB", own)
        begun = time.monotonic()
        for code, shown in SAGE_CELLS.items():
            assert shown in kernel.run(code, 240)
        note(how, "five first cells, s", time.monotonic() - begun)
        note(how, "processor, first answer and cells, s", float(kernel.run(TIMES)))
        student.stop()  # what a process has mapped stays in memory
        student.start(240)
        DROP.write_text("1")  # the whole host's
        begun = time.monotonic()
        assert student.kernel("sagemath").run(FIRST, 240) == "1/3*x^3"
        note(how, "first answer, no file in memory, s", time.monotonic() - begun)
        note(how, "private, after the cells, MiB", float(guest.run(MEMORY).split()[1]) / 1024)
        student.stop()

    units = guest.run("ls /etc/systemd/system/multi-user.target.wants | grep nursery@").split()
    guest.run(f"systemctl start {' '.join(units)}")
    for how in figures:
        measure(how)  # warm
    for each in figures.values():
        each.clear()
    for _ in range(ROUNDS):  # in turn, so that a busy host is the same to both
        for how in figures:
            measure(how)
    print("\n| | started | forked | ratio |\n|---|---|---|---|")
    ratios = {}
    for what, started in figures["started"].items():
        before, after = statistics.median(started), statistics.median(figures["forked"][what])
        ratios[what] = after / before
        print(f"| {what} | {before:.2f} | {after:.2f} | **{ratios[what]:.2f}** |")
    for unit in units:
        pid = guest.run(f"systemctl show -P MainPID {unit}").strip()
        print(unit, guest.run(f"grep ^Pss: /proc/{pid}/smaps_rollup").split()[1], "kB")
    for what, limit in LIMITS.items():
        assert ratios[what] <= limit, what
