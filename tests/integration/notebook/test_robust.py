"""What a virtual machine goes through: pauses, clocks that jump, no memory, power cuts.

Slow: the appliance's disks are made and booted in QEMU, mostly without KVM.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from guest import Guest
from handed import book, cell, hand_in, make_places, write
from student import Kernel, Student, await_
from virtual import COURSES, STUDENTS, machine, make_disks, pause, switched_on, tell

from provision.guest.assignments.course import Course
from provision.guest.pool.exams import Exams, read_exams
from provision.machine.qemu import QemuMachine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def disks(course_layers: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_disks(course_layers, tmp_path_factory.mktemp("disks"))


@pytest.fixture(scope="module")
def vm(disks: list[Path]) -> Iterator[QemuMachine]:
    vm = machine(disks)
    yield vm
    vm.cut()


@pytest.fixture(scope="module")
def guest(vm: QemuMachine) -> Iterator[Guest]:
    with switched_on(vm) as guest:
        guest.wait(600)
        yield guest


@pytest.fixture(scope="module")
def bystander(guest: Guest) -> Kernel:
    """Somebody who works on, whatever happens."""
    kernel = Student(guest.url, "bystander").sign_in().start(600).kernel()
    kernel.run("x = 41", 300)
    return kernel


def test_a_paused_machine_goes_on(vm: QemuMachine, bystander: Kernel) -> None:
    pause(vm, 20)
    assert bystander.run("x + 1", 300) == "42"


def test_a_clock_that_jumps_ends_no_session(guest: Guest, bystander: Kernel) -> None:
    """Neither a machine that slept nor a clock that is set makes a session idle or old."""
    guest.run("systemctl stop systemd-timesyncd; date -s '+2 days'")
    guest.run("sleep 30", 300)
    assert bystander.student.ready()
    assert bystander.run("x + 1", 300) == "42"
    guest.run("date -s '-2 days'")
    assert bystander.run("x + 1", 300) == "42"


def test_a_full_disk_of_students_stops_nobody(guest: Guest, bystander: Kernel) -> None:
    guest.run("fallocate -l $(df --output=avail -B1 /home | tail -1) /home/full", 300)
    try:
        assert "No space left" in bystander.shell("echo x | dd of=more oflag=sync; true", 300)
        assert bystander.run("x + 1", 300) == "42"
    finally:
        guest.run("rm /home/full")
    assert bystander.shell("echo fine > small && cat small", 300) == "fine\n"


def test_a_machine_out_of_memory_ends_the_greediest_session_only(
    guest: Guest, bystander: Kernel
) -> None:
    """As where more sessions run than the memory promises: here one whose limit was lifted."""
    units = "notebook notebook-proxy sshd-pool"
    before = guest.run(f"systemctl show -P MainPID {units}")
    greedy = Student(guest.url, "greedy").sign_in().start(600)
    kernel = greedy.kernel()
    place = next(n for n in guest.run("notebook-sessions").splitlines() if n.endswith(" greedy"))
    uid = guest.run(f"id -u {place.partition('@')[0]}").strip()
    guest.run(f"systemctl set-property --runtime user-{uid}.slice MemoryMax=infinity")
    # Before the kernel acts, the emulated machine stands still for two minutes, after which the
    # server takes the connection for dead. A browser connects again; here a file tells.
    everything = "python3 -c '[bytearray(1 << 26) for _ in range(200)]'; echo status $?"
    kernel.shell(f"({{ {everything}; }} > ended 2>&1 &)", 300)
    ended = f"{STUDENTS}/greedy/ended"
    told = guest.run(f"until grep -s ^status {ended}; do sleep 5; done", 1200)
    assert told == "status 137\n"
    assert guest.run("journalctl -qkb -g 'Out of memory: Killed process .*python3'")
    assert guest.run(f"systemctl show -P MainPID {units}") == before
    assert bystander.run("x + 1", 300) == "42"
    greedy.stop(300)


# Pages of all that fork share, given back: no process's account has them.
HIDDEN = """
import mmap
taken = []
for _ in range(32):  # 2 GiB, of which half of this machine is less
    taken.append(mmap.mmap(-1, 64 << 20))
    taken[-1][:: mmap.PAGESIZE] = bytes((64 << 20) // mmap.PAGESIZE)
    taken[-1].madvise(mmap.MADV_DONTNEED)
x = 1
"""


def test_a_notebook_that_hides_its_memory_is_its_workers_own_trouble(guest: Guest) -> None:
    """And what a worker has begun ends with it, whatever session it has made itself."""
    unit = "notebook-workers.service"
    place = f"/sys/fs/cgroup/system.slice/{unit}"
    work = {"cuts": ("examinee", HIDDEN), "sets": ("bystander", "x = 1")}
    cells = [cell("x = 1", grade_id="s", solution=True, locked=False)]
    cells.append(cell("assert x == 1", grade_id="t", grade=True, locked=True, points=1))
    for course, (student, answer) in work.items():
        where = f"{STUDENTS}/.courses/{course}"
        make_places(guest, course)
        guest.run(f"mkdir -p {where}/source/hidden")
        write(guest, f"{where}/source/hidden/work.ipynb", json.dumps(book(cells)))
        guest.run(f"notebook-assignments release {course} hidden", 900)
        handed = json.loads(guest.run(f"cat {where}/hand-out/hidden/work.ipynb"))
        handed["cells"][0]["source"] = answer
        hand_in(guest, where, student, "hidden", handed)
    process = guest.run(f"systemctl show -P MainPID {unit}")
    grade = "notebook-assignments grade {} hidden > /root/{} 2>&1"
    guest.run(" & ".join(grade.format(each, each) for each in work) + "; wait", 1800)
    assert "examinee: 0 of 1" in guest.run("cat /root/cuts")
    assert "bystander: 1 of 1" in guest.run("cat /root/sets")
    assert guest.run(f"systemctl show -P MainPID {unit}") == process
    # The limit of all was not reached, where Linux might have ended the other's.
    local = dict(map(str.split, guest.run(f"cat {place}/memory.events.local").splitlines()))
    told = guest.run(f"grep -rho 'evalue.*' {STUDENTS}/.courses/cuts/results | head -5")
    counted = max(map(int, guest.run(f"cat {place}/worker-*/memory.peak").split()))
    assert counted > 1 << 30, told  # far more than the process had at any time
    assert local["oom"] == "0", (local, told)

    (worker, *_) = guest.run(f"ls -d {place}/worker-*").split()
    first = guest.run(f"head -1 {worker}/cgroup.procs").strip()
    guest.run(f"setsid sleep 5000 > /dev/null 2>&1 & echo $! > {worker}/cgroup.procs")
    guest.run(f"kill -9 {first}; timeout 60 sh -c 'while [ -e {worker} ]; do sleep 0.5; done'", 120)
    assert guest.run("pgrep -fx 'sleep 5000' || true") == ""


def test_a_power_cut_loses_no_file_and_no_lease(
    guest: Guest, vm: QemuMachine, disks: list[Path], bystander: Kernel
) -> None:
    cell = {"cell_type": "code", "source": "6 * 7", "outputs": [], "metadata": {}}
    book = {"cells": [cell | {"execution_count": None}], "metadata": {}, "nbformat": 4}
    content = {"type": "notebook", "content": book | {"nbformat_minor": 2}}
    bystander.student.server("PUT", "contents/saved.ipynb", content)
    vm.cut()
    again = machine(disks)
    try:
        with switched_on(again) as other:
            other.wait(600)
            assert other.run("notebook-sessions") == ""
            assert other.run("ps -u nb1,nb2 -o pid= || true").strip() == ""
            assert other.run("find /home/nb1 /home/nb2 -mindepth 1 ! -name '.*'") == ""
            student = Student(other.url, "bystander").sign_in().start(600)
            saved = student.server("GET", "contents/saved.ipynb")["content"]
            assert saved["cells"][0]["source"] == "6 * 7", json.dumps(saved)
            assert student.kernel().run("6 * 7", 300) == "42"
            assert other.run("systemctl --failed --plain --no-legend").strip() == ""
    finally:
        again.cut()


CUTS = f"{STUDENTS}/.courses/cuts"
GIVEN = "# YOUR CODE HERE\nraise NotImplementedError()"  # by nbgrader, for a solution


def exam_of(guest: Guest) -> dict[str, Any]:
    """What was said of the exam."""
    told: dict[str, Any] = json.loads(guest.run(f"cat {CUTS}/grades/test/assignment.json"))
    return told


def versions(guest: Guest) -> list[str]:
    """Of what was handed in, each as it was saved."""
    place = f"{CUTS}/grades/test/examinee.*/0*/handed/work.ipynb"
    files = guest.run(f"ls {place} 2> /dev/null || true").split()
    return [first_cell(guest.run(f"cat {each}")) for each in files]


def save(student: Student, source: str) -> None:
    """Save an answer as the page does."""
    content = student.server("GET", "contents/work.ipynb")["content"]
    content["cells"][0]["source"] = source
    student.server("PUT", "contents/work.ipynb", {"type": "notebook", "content": content})


def test_an_exam_that_loses_power_goes_on_and_is_handed_in_once(
    vm: QemuMachine, disks: list[Path], tmp_path: Path
) -> None:
    """Three cuts: as soon as it has begun, as soon as something is saved, and at its end.

    A machine boots after the last. Of the others, the disk is as they leave it, and what the
    service does with it is done here: a boot of its own takes an emulated machine minutes.
    """
    vm.cut()
    with running(disks) as (again, guest):
        guest.wait(600)
        make_places(guest, "cuts")
        guest.run(f"mkdir -p {CUTS}/source/test")
        cells = [cell("# answer", grade_id="a", grade=True, points=1, solution=True, locked=False)]
        write(guest, f"{CUTS}/source/test/work.ipynb", json.dumps(book(cells)))
        times = [guest.run(f"date -d '{m} minutes' +%FT%T").strip() for m in (-1, 60)]
        guest.run("notebook-assignments release cuts test --from {} --due {}".format(*times), 300)
        exam = exam_of(guest)
        student = Student(guest.url, "examinee").sign_in().start(600)
        begun = cut(again, disks, tmp_path / "begun")
        save(student, "1 + 1")
        press_hand_in(guest)
        save(student, "1 + 1 + 1")
        saved = cut(again, disks, tmp_path / "saved")
        guest.run("notebook-assignments extra cuts test examinee -61", 300)
        last = exam_of(guest)
        await_(lambda: len(versions(guest)) > 1, 300)
    for home, source, handed in ((begun, GIVEN, []), (saved, "1 + 1 + 1", ["1 + 1"])):
        with mounted(home, tmp_path / "home") as directory:
            assert read_exams(directory, ["cuts"]) == Exams({"cuts": {"test": exam}}, {})
            (work,) = directory.glob(".courses/cuts/exam/test/examinee.*/work.ipynb")
            assert first_cell(work.read_text()) == source
            course = Course(directory, "cuts", COURSES["cuts"])
            assert handed_in(course) == handed
            course.allow("test", "examinee", -61)
            told, done = read_exams(directory, ["cuts"]).told["cuts"], set[tuple[str, ...]]()
            for _ in range(2):
                assert [trouble for _, trouble in course.finish(told, (), done) if trouble] == []
                assert handed_in(course) == [*handed, source]
            assert course.differences("test") == []
    with running(disks) as (_, guest):
        guest.wait(600)
        assert exam_of(guest) == last
        await_(lambda: len(versions(guest)) > 1, 300)
        guest.run("sleep 10")
        assert versions(guest) == ["1 + 1", "1 + 1 + 1"]
        guest.run("notebook-assignments check cuts test", 300)
        assert "2 versions" in guest.run("notebook-assignments show cuts test", 300)
        student = Student(guest.url, "examinee").sign_in().start(600)  # with the own files again
        assert "work.ipynb" not in {
            each["name"] for each in student.server("GET", "contents")["content"]
        }
        assert guest.run("systemctl --failed --plain --no-legend").strip() == ""


def cut(vm: QemuMachine, disks: list[Path], place: Path) -> Path:
    """The disk of /home as it is if the power goes now; the machine goes on."""
    tell(vm, "stop")
    subprocess.run(["cp", "--sparse=always", disks[1], place], check=True)
    tell(vm, "cont")
    return place


@contextmanager
def mounted(disk: Path, place: Path) -> Iterator[Path]:
    """The directory of all students on a disk of /home, mended as a boot does it."""
    place.mkdir(exist_ok=True)
    assert subprocess.run(["e2fsck", "-p", disk], check=False).returncode in (0, 1)  # 1: mended
    # Where the host's kernel counts no quota it mounts no disk that has some.
    subprocess.run(["tune2fs", "-O", "^quota", disk], check=True)
    subprocess.run(["mount", "-o", "loop", disk, place], check=True)
    try:
        yield place / "students"
    finally:
        subprocess.run(["umount", place], check=True)


def first_cell(notebook: str) -> str:
    """Its source."""
    return "".join(json.loads(notebook)["cells"][0]["source"])


def handed_in(course: Course) -> list[str]:
    """What is in each version of the examinee's, as it was saved."""
    files = sorted(course.place.glob("grades/test/examinee.*/0*/handed/work.ipynb"))
    return [first_cell(path.read_text()) for path in files]


@contextmanager
def running(disks: list[Path]) -> Iterator[tuple[QemuMachine, Guest]]:
    """The machine, until its power is cut."""
    vm = machine(disks)
    try:
        with switched_on(vm) as guest:
            yield vm, guest
            vm.cut()  # before the connection is closed in order
    finally:
        vm.cut()


def press_hand_in(guest: Guest) -> None:
    """As by the page."""
    ask = (
        "from provision.guest.assignments.desk import answer; "
        "answer('hand-in', 'examinee', 'cuts', 'test')"
    )
    guest.run(f'umask 077; /opt/notebook/bin/python -I -c "{ask}"')
