"""The notebook of ten appliances renewed while five students of each are at work.

`pytest -s -n 0 -m "" tests/bench/test_renewals.py` prints the table: half an hour, some 12 GiB of
memory. Beside it, in the same guests and under the same students, the way of before `upgrade
notebook`: all wheels to the appliance, an environment made anew by pip, the playbook's roles, and
the hub again. It proves nothing, and ends every session.
"""

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "fleet"))

from guests import Fleet, Guest, base, fleet, variables
from lists import OLDER, OURS, older_list
from student import Kernel, RefusedError, Student
from test_newest_ansible import PLAY

from provision.build.playbook import run_playbook

pytestmark = [pytest.mark.slow, pytest.mark.timeout(5400)]
HOSTS, SESSIONS, PEERS = 10, 5, 2
PLACES = SESSIONS + 2  # one comes, and one is the proof's
WHOLE, WAIT = 600, 60  # seconds: for all, and that somebody new waits
BYTES, TIME = 0.35, 0.5  # of the way by pip
CELL = "import os, time\nwhile not os.path.exists('bell'): time.sleep(0.2)\nprint('over', kept)"
BELL = {"type": "file", "format": "text", "content": ""}
INSTALL = (
    "rm -rf /opt/peer && python3 -m venv /opt/peer && /opt/peer/bin/pip install --quiet --no-index"
    " --find-links /opt/wheels --require-hashes -r /opt/wheels/all.lock"
)


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    shared = base(tmp_path_factory.mktemp("base"), PLACES)
    with fleet(shared, tmp_path_factory.mktemp("ten"), HOSTS) as running:
        yield running


def renew(ten: Fleet, *words: str) -> list[dict[str, object]]:
    done = ten.appliance("upgrade", "notebook", "--json", *words, timeout=3000)
    assert done.code == 0, done
    return list(json.loads(done.out)["hosts"])


def begin(guest: Guest) -> list[tuple[Student, Kernel]]:
    """A class at work: each has something in memory, and a cell that runs until the bell."""
    guest.run("mountpoint -q /home/students || mount -t tmpfs -o mode=0711 tmpfs /home/students")
    found = []
    for number in range(SESSIONS + 1):
        guest.run(f"notebook-accounts add pupil{number}")  # its first password counts
    for number in range(SESSIONS):
        student = Student(guest.host.url, f"pupil{number}").sign_in().start(240)
        kernel = student.kernel()
        assert kernel.run(f"kept = {number} + 36") == ""
        found.append((student, kernel))
    Student(guest.host.url, f"pupil{SESSIONS}").sign_in()
    return found


def arrivals(guest: Guest, over: threading.Event) -> list[float]:
    """Seconds that somebody waits who signs in again and again, until it succeeds."""
    waited = []
    while not over.is_set():
        begun = time.monotonic()
        while True:
            try:
                Student(guest.host.url, f"pupil{SESSIONS}").sign_in()
                break
            except (OSError, RefusedError):  # nobody answers, or not yet
                time.sleep(0.2)
        waited.append(time.monotonic() - begun)
        over.wait(3)
    return waited


def peers(ten: Fleet, place: Path) -> tuple[float, int]:
    """Seconds for one host, and bytes, of the way by pip; as many at once as there are cores."""
    python = ten.guests[0].base.python.removeprefix("python")
    platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in (17, 27, 28, 34)]
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:",
         "--python-version", python, *platforms, "--platform=manylinux2014_x86_64",
         "--require-hashes", "-r", OURS, "-d", place],
        check=True,
    )  # fmt: skip
    wheels = sorted(place.glob("*.whl"))

    play = place / "play.yml"
    play.write_text(PLAY)

    def install(guest: Guest) -> None:
        guest.run("mkdir -p /opt/wheels")
        assert guest.root is not None
        with guest.root.open_sftp() as sftp:
            for file in (*wheels, OURS):
                name = "all.lock" if file == OURS else file.name
                sftp.put(str(file), f"/opt/wheels/{name}")
        guest.run(INSTALL, 1800)
        key = guest.run("cat /etc/ssh/authorized_keys.d/sageadm").strip()
        assert guest.endpoint is not None
        told = variables(key, PLACES)
        run_playbook(play, guest.endpoint, told, log=place / f"{guest.name}.log")
        guest.run("systemctl restart notebook")
        guest.wait()
        guest.run("rm -rf /opt/peer /opt/wheels")

    begun = time.monotonic()
    with ThreadPoolExecutor(PEERS) as threads:
        list(threads.map(install, ten.guests[:PEERS]))
    return (time.monotonic() - begun) / PEERS, sum(file.stat().st_size for file in wheels)


def test_ten_classes_notice_nothing(ten: Fleet, tmp_path: Path) -> None:
    older = older_list(tmp_path / "older.lock")
    renew(ten, "--lock", str(older), "--parallel", "2")
    for guest in ten.guests:
        guest.wait()
    with ThreadPoolExecutor(4) as threads:
        classes = list(threads.map(begin, ten.guests))
    over = threading.Event()
    everybody = [kernel for each in classes for _, kernel in each]
    with ThreadPoolExecutor(HOSTS * (SESSIONS + 1)) as threads:
        cells = [threads.submit(kernel.run, CELL, WHOLE + 600) for kernel in everybody]
        coming = [threads.submit(arrivals, guest, over) for guest in ten.guests]
        begun = time.monotonic()
        rows = renew(ten, "--parallel", "2")
        whole = time.monotonic() - begun
        time.sleep(10)
        over.set()
        waited = [seconds for each in coming for seconds in each.result()]
        over.clear()
        coming = [threads.submit(arrivals, guest, over) for guest in ten.guests]
        seconds, size = peers(ten, tmp_path)
        over.set()
        for again in coming:
            again.result()
        for each in classes:
            for student, _ in each:
                student.server("PUT", "contents/bell", BELL)
        said = [cell.result() for cell in cells]
    lost_cells = sum(not told.startswith("over") for told in said)
    kept = [kernel.run("print(kept)") for kernel in everybody]
    lost_kernels = sum(told != f"{at % SESSIONS + 36}\n" for at, told in enumerate(kept))
    for guest, each in zip(ten.guests, classes, strict=True):
        late = Student(guest.host.url, f"pupil{SESSIONS}").sign_in().start(240)
        versions = {str(who.json("GET", f"/user/{who.name}/api/")["version"]) for who, _ in each}
        assert versions == {OLDER[0]}  # they keep what they began with
        assert late.json("GET", f"/user/{late.name}/api/")["version"] != OLDER[0]
        for who in (late, *(student for student, _ in each)):
            who.stop()
    sent = statistics.mean(int(row["facts"]["sent"]) for row in rows)  # type: ignore[index,call-overload]
    print("\n| ten appliances, five sessions each | | |\n|---|---|---|")
    print(f"| kernels lost, cells lost | {lost_kernels}, {lost_cells} | 0, 0 |")
    print(f"| whole | {whole:.0f} s | {WHOLE} s |")
    print(f"| longest that somebody new waited | {max(waited):.1f} s | {WAIT} s |")
    print(f"| bytes to each, of pip's {size / 1e6:.0f} MB | {sent / size:.3f} | {BYTES} |")
    print(f"| time for each, of pip's {seconds:.0f} s | {whole / HOSTS / seconds:.2f} | {TIME} |")
    assert (lost_kernels, lost_cells) == (0, 0)
    assert whole <= WHOLE
    assert max(waited) <= WAIT
    assert sent <= BYTES * size
    assert whole / HOSTS <= TIME * seconds
