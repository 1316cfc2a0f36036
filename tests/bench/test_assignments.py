"""Assignments graded in boxes beside nbgrader, which has none, in one guest; the teachers' page.

`pytest -s -m slow tests/bench/test_assignments.py` prints the table.
"""

import json
import statistics
import sys
import textwrap
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "notebook"))

from guest import Guest, further_layer, installed_layers, notebook_guest, sage_layer
from handed import PYTHON, book, cell, hand_in_all, make_places, write
from student import Student
from test_assignments import ATTACKS, HONEST, MARK, SOURCE, notebook

from provision import resources

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3 * 3600)]
CLASS = [f"pupil{number:02}" for number in range(30)]
SCHOOL = [f"many{number:03}" for number in range(300)]
HOSTILE = [f"hostile{number:03}" for number in range(500)]
MEMBERS = {"bench": CLASS, "large": SCHOOL, "hostile": [*SCHOOL, *HOSTILE]}
COURSES = {
    name: {"members": members, "teachers": ["marker"], "quota": 500 << 20}
    for name, members in MEMBERS.items()
}
SAGE = {"name": "sagemath", "display_name": "SageMath", "language": "sage"}
PLACE = "/home/students/.courses"
NBGRADER = (
    "export HOME=/root PATH=/opt/notebook/bin:$PATH PYTHONPATH=/opt/nbgrader; "
    "cd /root/nbgrader; python -W ignore -m nbgrader"
)
SAGES, ONE = 0.4, 0.3  # of nbgrader's time: thirty of Sage's, and one to its feedback
PAGE = 2.0  # a school's page over a class's, at most
MEMORY = 1.1  # of the grader, in the last tenth of a school over that in the first, at most


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    scratch = tmp_path_factory.mktemp("assignments")
    layers = installed_layers(scratch)
    role = resources.playbooks() / "roles" / "extensions"
    inputs = [role / "tasks/main.yml", role / "files/courses.lock"]
    courses = further_layer("courses", layers, inputs, {"extensions_names": ["courses"]}, scratch)
    variables = {
        "pool_accounts": ["nb1"],
        "notebook_accounts": True,
        "notebook_record": {"courses": COURSES},
    }
    found = [*layers, courses, sage_layer(layers, scratch)]
    with notebook_guest(found, scratch, variables) as guest:
        guest.run("systemctl start notebook-assignments.socket")
        for course in COURSES:
            make_places(guest, course)
        yield guest


def ten_cells(sage: bool) -> list[dict[str, object]]:
    """A notebook of ten cells, three of which are tests."""
    given = ["integrate(x * sin(x), x)", "factor(2^67 - 1)"] if sage else ["sum(range(9))", "2**67"]
    tests = ["assert double(2) == 4", "assert double(3) == 6", "assert double(1.5) == 3"]
    return [
        cell("def double(n):\n    return n + n", grade_id="double", solution=True, locked=False),
        *(cell(text) for text in (*given, "double(1)", "double(2)", "double(3)", "double(4)")),
        *(
            cell(text, grade_id=f"test{n}", grade=True, points=1, locked=True)
            for n, text in enumerate(tests)
        ),
    ]


def timed(guest: Guest, command: str) -> float:
    begun = time.monotonic()
    guest.run(command, timeout=3 * 3600)
    return time.monotonic() - begun


@pytest.mark.parametrize("language", ["python", "sage"])
def test_thirty_notebooks_and_one(guest: Guest, language: str) -> None:
    name = f"thirty-{language}"
    text = json.dumps(book(ten_cells(language == "sage"), SAGE if language == "sage" else PYTHON))
    guest.run(f"mkdir -p {PLACE}/bench/source/{name} /root/nbgrader/source/{name}")
    for place in (f"{PLACE}/bench/source/{name}", f"/root/nbgrader/source/{name}"):
        write(guest, f"{place}/work.ipynb", text)
    left_out = "raise NotImplementedError()"
    config = (
        "c = get_config(); c.CourseDirectory.course_id = 'x'; "
        f"c.ClearSolutions.code_stub = {{'python': '{left_out}', 'sage': '{left_out}'}}"
    )
    write(guest, "/root/nbgrader/nbgrader_config.py", config)
    guest.run(f"notebook-assignments release bench {name}")
    guest.run(f"{NBGRADER} generate_assignment {name} --force >log 2>&1")
    for pupil in CLASS:
        theirs, ours = f"/root/nbgrader/submitted/{pupil}/{name}", f"{PLACE}/bench/hand-in/{pupil}"
        guest.run(f"mkdir -p {theirs} {ours}/{name}")
        guest.run(f"cp {PLACE}/bench/source/{name}/* {theirs}/; cp {theirs}/* {ours}/{name}/")
    ours = timed(guest, f"notebook-assignments grade bench {name}")
    theirs = timed(guest, f"{NBGRADER} autograde {name} >log 2>&1")
    print(f"\n30 {language} notebooks: {ours:.1f} s, nbgrader {theirs:.1f} s, {ours / theirs:.2f}")
    assert language != "sage" or ours <= SAGES * theirs
    shown = guest.run(f"notebook-assignments show bench {name}")
    assert shown.count("3 of 3") == len(CLASS)

    one = f"--student {CLASS[0]}"
    guest.run(f"notebook-assignments grade bench {name} --again {one}", 600)  # it is warm
    ours = timed(
        guest,
        f"notebook-assignments grade bench {name} --again {one} && "
        f"notebook-assignments feedback bench {name} {one}",
    )
    theirs = timed(
        guest,
        f"{NBGRADER} autograde {name} --force {one} >log 2>&1 && "
        f"python -W ignore -m nbgrader generate_feedback {name} --force {one} >log 2>&1",
    )
    print(f"one to feedback: {ours:.1f} s, nbgrader {theirs:.1f} s, {ours / theirs:.2f}")
    assert ours <= ONE * theirs


def hand_in(guest: Guest, course: str, name: str, work: dict[str, str]) -> None:
    """Let each of a course hand in a solution."""
    guest.run(f"mkdir -p {PLACE}/{course}/source/{name}")
    write(guest, f"{PLACE}/{course}/source/{name}/work.ipynb", json.dumps(notebook(SOURCE)))
    guest.run(f"notebook-assignments release {course} {name}")
    fresh = json.loads(guest.run(f"cat {PLACE}/{course}/hand-out/{name}/work.ipynb"))
    texts = {}
    for student, solution in work.items():
        fresh["cells"][0]["source"] = textwrap.dedent(solution)
        texts[student] = json.dumps(fresh)
    hand_in_all(guest, f"{PLACE}/{course}", name, texts)


def in_memory(guest: Guest, over: threading.Event) -> list[int]:
    """KiB that the processes which understand notebooks have, now and again."""
    count = "ps -eo rss=,args= | awk '/[a]ssignments.worker/ {sum += $1} END {print sum + 0}'"
    found = []
    while not over.wait(1):
        if size := int(guest.run(count)):
            found.append(size)
    return found


def test_a_school_takes_as_long_as_its_classes_and_no_more_memory(guest: Guest) -> None:
    hand_in(guest, "bench", "few", dict.fromkeys(CLASS, HONEST))
    hand_in(guest, "large", "many", dict.fromkeys(SCHOOL, HONEST))
    few = timed(guest, "notebook-assignments grade bench few")
    over, found = threading.Event(), []
    watching = threading.Thread(target=lambda: found.extend(in_memory(guest, over)))
    watching.start()
    many = timed(guest, "notebook-assignments grade large many")
    over.set()
    watching.join()
    tenth = len(found) // 10
    first, last = statistics.median(found[tenth : 2 * tenth]), statistics.median(found[-tenth:])
    print(f"\n300 notebooks: {many:.1f} s, 30: {few:.1f} s, {many / few / 10:.2f} for each")
    print(
        f"the grader's memory: {first / 1024:.0f} MiB, then {last / 1024:.0f}, {last / first:.2f}"
    )
    assert many <= 10 * few
    assert last <= MEMORY * first


def test_five_hundred_hostile_ones_among_three_hundred(guest: Guest) -> None:
    attacks = [*ATTACKS.values()]
    work = {name: attacks[at % len(attacks)] for at, name in enumerate(HOSTILE)}
    # Among them: each second or third one is honest.
    honest = iter(SCHOOL)
    mixed = {}
    for at, (name, solution) in enumerate(work.items()):
        mixed[name] = solution
        if at % 5 < 3:
            mixed[next(honest)] = HONEST
    hand_in(guest, "hostile", "task", mixed)
    seconds = timed(guest, "notebook-assignments grade hostile task")
    said = guest.run("notebook-assignments show hostile task").splitlines()
    points = {line.partition(":")[0]: line.partition(": ")[2].partition(" of")[0] for line in said}
    gained = [name for name in HOSTILE if points[name] != "0"]
    disturbed = [name for name in SCHOOL if points[name] != "3"]
    found = (
        f"cd {PLACE}/hostile/results/task; python3 -c '"
        "import glob, json\n"
        'for path in glob.glob("hostile*/work.ipynb"):\n'
        '    cells = json.load(open(path))["cells"]\n'
        f'    own = [c for c in cells if "{MARK}" not in "".join(c["source"])]\n'
        '    if "-no-student-" in json.dumps([c.get("outputs") for c in own]): print(path)'
        "'"
    )
    read = guest.run(found).split()
    print(f"\n500 hostile among 300: {seconds:.0f} s; points {gained}, read {read}, {disturbed}")
    assert (gained, read, disturbed) == ([], [], [])


def test_the_page_of_a_school_beside_a_classs(guest: Guest) -> None:
    """300 students and 20 assignments, all graded, beside 30 and 2."""
    text = json.dumps(book(ten_cells(sage=False)))
    for course, count in (("bench", 2), ("large", 20)):
        first = MEMBERS[course][0]
        for number in range(count):
            name = f"page{number}"
            source = f"{PLACE}/{course}/source/{name}"
            guest.run(f"mkdir -p {source}")
            write(guest, f"{source}/work.ipynb", text)
            guest.run(f"notebook-assignments release {course} {name}")
            guest.run(
                f"cd {PLACE}/{course}/hand-in; for each in *; do mkdir $each/{name}; "
                f"cp {source}/work.ipynb $each/{name}; done; "
                f"notebook-assignments collect {course} {name}; "
                f"notebook-assignments grade {course} {name} --student {first}; "
                f"cd ../grades/{name}; for each in */0001; do "
                f"[ -e $each/result.json ] || cp {first}.*/0001/*.* $each; done",
                timeout=600,
            )
    marker = Student(guest.url, "marker").sign_in()
    marker.token = ""

    def seconds(**query: str) -> float:
        found = []
        for _ in range(9):
            begun = time.monotonic()
            page = marker.request("GET", f"/hub/assignments?{urllib.parse.urlencode(query)}")
            found.append(time.monotonic() - begun)
            assert page.count("3.0 of 3.0") == len(MEMBERS[query["course"]]) if query else True
        return statistics.median(found)

    small, large = (seconds(course=name, assignment="page1") for name in ("bench", "large"))
    print(f"\npage of an assignment: 30 {small:.2f} s, 300 {large:.2f} s, {large / small:.2f}")
    print(f"all assignments: {seconds():.2f} s")
    assert large / small <= PAGE
