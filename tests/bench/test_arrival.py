"""A class that signs in within a minute, and a hub that starts anew: ours, and JupyterHub's own.

`pytest -s -m slow tests/bench/test_arrival.py` prints the figures, of ARRIVAL_ROUNDS rounds.
"""

import os
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "notebook"))

from guest import Guest, installed_layers, notebook_guest, sage_layer
from student import Student

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
CLASS = 30
MINUTE = 60.0
ROUNDS = int(os.environ.get("ARRIVAL_ROUNDS", "2"))
PATIENCE = 180.0
THEIR_PORT = 9000
# JupyterHub's defaults: LocalProcessSpawner, so it runs as root and students are the system's
# accounts, and PAM. What is set here is where it listens, and that its students may come in.
THEIRS = f"""
c.JupyterHub.bind_url = 'http://0.0.0.0:{THEIR_PORT}'
c.JupyterHub.hub_port = 9081
c.ConfigurableHTTPProxy.api_url = 'http://127.0.0.1:9001'
c.ConfigurableHTTPProxy.command = ['/usr/bin/configurable-http-proxy']
c.Authenticator.allow_all = True
c.Spawner.cmd = ['/opt/notebook/bin/jupyterhub-singleuser']
c.Spawner.default_url = '/lab'
"""
# Which kernel, what it is asked, and how much of their time to a first answer ours may take.
KERNELS = {
    "python3": ("print(6 * 7)", "42\n", 0.8),
    "sagemath": ("integrate(x * sin(x), x)", "-x*cos(x) + sin(x)", 0.35),
}
NAMES = [f"pupil{number}" for number in range(CLASS)]


@pytest.fixture(scope="module")
def hubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Guest, str]]:
    """A guest with our notebook, and the address of JupyterHub in the same guest."""
    scratch = tmp_path_factory.mktemp("arrival")
    variables = {
        "pool_accounts": [f"nb{number}" for number in range(1, CLASS + 1)],
        "notebook_sessions": CLASS,
        "notebook_accounts": True,
        "notebook_forked": True,
    }
    layers = installed_layers(scratch)
    layers = [*layers, sage_layer(layers, scratch)]
    with notebook_guest(layers, scratch, variables, further=[THEIR_PORT]) as guest:
        for name in NAMES:
            guest.run(f"useradd -m {name}; echo '{name}:correct horse' | chpasswd")
        guest.run(
            # It asks its own proxy by the host's name.
            "echo 127.0.0.1 $(hostname) >> /etc/hosts; install -d -m 700 /root/hub\n"
            f"cat > /root/hub/c.py <<'E'\n{THEIRS}\nE\n"
            "systemd-run --unit default-hub --working-directory /root/hub"
            " /opt/notebook/bin/jupyterhub -f c.py"
        )
        assert guest.machine is not None
        theirs = f"http://127.0.0.1:{guest.machine.host_port(THEIR_PORT)}"
        Guest(theirs, guest.root).wait()
        guest.run("systemctl start 'nursery@*' --all")
        yield guest, theirs


def _arrive(url: str, kind: str, number: int, bell: float) -> tuple[float, float, str]:
    """One student: seconds from the door to a ready server and to a first answer; what failed."""
    time.sleep(max(0.0, bell + number * MINUTE / CLASS - time.monotonic()))
    begun = time.monotonic()
    try:
        student = Student(url, NAMES[number]).sign_in().start(PATIENCE)
        ready = time.monotonic() - begun
        asked, answer, _ = KERNELS[kind]
        shown = student.kernel(kind).run(asked, PATIENCE)
        return ready, time.monotonic() - begun, "" if shown == answer else shown
    except Exception as error:  # whatever it is, this student failed
        return PATIENCE, PATIENCE, f"{type(error).__name__}: {error}"


def _again(guest: Guest, url: str, unit: str) -> float:
    """Seconds from the restart of a hub to its next answer."""
    guest.run("sync")
    begun = time.monotonic()
    guest.run(f"systemctl restart {unit}")
    while True:
        try:
            with urllib.request.urlopen(f"{url}/hub/api/", timeout=10) as answer:
                answer.read()
            return time.monotonic() - begun
        except OSError:
            assert time.monotonic() < begun + PATIENCE
            time.sleep(0.05)


def _class(url: str, kind: str) -> list[tuple[float, float, str]]:
    bell = time.monotonic()
    with ThreadPoolExecutor(CLASS) as threads:
        came = list(threads.map(lambda number: _arrive(url, kind, number, bell), range(CLASS)))
        list(threads.map(lambda name: Student(url, name).sign_in().stop(PATIENCE), NAMES))
    return came


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def test_a_hub_answers_again(hubs: tuple[Guest, str]) -> None:
    """With five sessions at work, which JupyterHub as it comes would end, so it has none."""
    guest, theirs = hubs
    students = [Student(guest.url, name).sign_in().start(PATIENCE) for name in NAMES[:5]]
    ours = [_again(guest, guest.url, "notebook") for _ in range(5)]
    bare = [_again(guest, theirs, "default-hub") for _ in range(5)]
    for name, took in (("ours", ours), ("theirs", bare)):
        print(
            f"\n{name}: {min(took):.2f} to {max(took):.2f} s, median {statistics.median(took):.2f}"
        )
    for student in students:
        assert student.ready()
        student.stop(PATIENCE)
    ratio = statistics.median(ours) / statistics.median(bare)
    print(f"median until a hub answers again, ours / theirs: {ratio:.2f}")
    assert ratio <= 1.5  # theirs starts a proxy, too, but has no sessions to look after


@pytest.mark.parametrize("kind", KERNELS)
def test_a_class_signs_in_within_a_minute(hubs: tuple[Guest, str], kind: str) -> None:
    guest, theirs = hubs
    urls = {"ours": guest.url, "theirs": theirs}
    for url in urls.values():
        for name in NAMES:
            Student(url, name).sign_in()  # the accounts are there, as on any day but the first
        Student(url, NAMES[0]).sign_in().start(PATIENCE).stop(PATIENCE)  # warm
    came: dict[str, list[tuple[float, float, str]]] = {name: [] for name in urls}
    for _ in range(ROUNDS):  # in turn, so that a busy host is the same to both
        for name, url in urls.items():
            came[name] += _class(url, kind)
    figures: dict[str, Callable[[list[float]], float]] = {
        "median": statistics.median,
        "p95": _p95,
        "worst": max,
    }
    for name, students in came.items():
        failed = [why for *_, why in students if why]
        print(f"\n{name}: {len(students)} students, {len(failed)} failed {failed}")
        for what, of in figures.items():
            ready, answer = of([s[0] for s in students]), of([s[1] for s in students])
            print(f"{name}: {what} to ready {ready:.2f} s, to a first answer {answer:.2f} s")
    ratios = [
        _p95([s[n] for s in came["ours"]]) / _p95([s[n] for s in came["theirs"]]) for n in (0, 1)
    ]
    print(
        f"{kind}: p95 to ready, ours / theirs: {ratios[0]:.2f}; to a first answer: {ratios[1]:.2f}"
    )
    assert not [why for *_, why in came["ours"] if why]
    assert ratios[1] <= KERNELS[kind][2]
