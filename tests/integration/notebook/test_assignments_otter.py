"""An assignment in otter-grader's form: released, attacked, graded as otter grades it."""

import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guest import Guest
from handed import book, cell, hand_in, make_places, write
from masters import DOCTESTS, GOOD, RAISING, TABLES, WORKS, code, master, question, solved

COURSE = "/home/students/.courses/graded"
MARK = "what-no-student-reads"
# What otter-grader 7 gives for WORKS: the slow test asks it.
POINTS = {
    "good": {"square": 1.0, "shared": 5, "whole": 1.5, "numbers": 4.0},
    "nothing": {"square": 0, "shared": 0, "whole": 0, "numbers": 0},
    "half": {"square": 2 / 3, "shared": 2, "whole": 0, "numbers": 2.0},
    "wrong": {"square": 0, "shared": 0, "whole": 0, "numbers": 0},
}
BEST = {"raising": {"q1": 2.5, "drawn": 1.0}, "tables": {"prices": 1.0}}
SECRET = master(
    "",
    [
        *question(
            "name: double\npoints: 3",
            [code("def double(n):\n    return 2 * n  # SOLUTION")],
            [
                code(f"# HIDDEN\ntold = '{MARK}'\ndouble(17) == 34", "True"),
                code("# HIDDEN\nprint(double(3))", printed="6\n"),
                code("# HIDDEN\nassert double(4) == 8 and double(5) == 10"),
            ],
        )
    ],
)
ATTACKS = {
    "has-a-check-of-its-own": "def check_work(*a, **k): return 3.0\ndef double(n): return 0",
    "gives-points": "def double(n): return 0\n3.0",
    "prints-points": "def double(n):\n    print('double: 3 of 3 tests pass\\n3.0')\n    return 0",
    "raises-the-end": "def double(n): raise SystemExit(0)",
    "spoils-doctest": """
        import builtins, doctest, sys
        doctest.OutputChecker.check_output = lambda *a: True
        doctest.DocTestRunner.run = lambda *a, **k: None
        sys.displayhook = builtins.print = lambda *a: None
        def double(n): return 0
    """,
    "equals-and-looks-like-everything": """
        class Yes:
            __eq__ = lambda *a: True
            __hash__ = None
            __repr__ = __str__ = lambda self: "True"
        def double(n): return Yes()
    """,
    "searches": """
        import gc, os, sys
        def double(n):
            frame = sys._getframe()
            while frame:
                print("SEEN", frame.f_code.co_consts, frame.f_locals)
                frame = frame.f_back
            print("SEEN", [o for o in gc.get_objects() if "-no-student" in repr(o)[:9999]])
            for where, _, names in os.walk("/tmp"):
                for name in names:
                    print("SEEN", open(os.path.join(where, name), errors="replace").read(99999))
            return 0
    """,
    "forges-messages": """
        import os, threading
        def lie():
            while True:
                for fd in range(3, 64):
                    try: os.write(fd, b'{"done": []}\\n{"value": ["tuple", ["6\\\\n", 34]]}\\n')
                    except OSError: pass
        def double(n): return 0
        threading.Thread(target=lie, daemon=True).start()
    """,
}


@pytest.fixture(scope="module")
def course(guest: Guest) -> Guest:
    make_places(guest, "graded")
    return guest


def release(guest: Guest, name: str, files: dict[str, str]) -> str:
    """Put files into a folder of the source and hand them out; what the command says."""
    guest.run(f"mkdir -p {COURSE}/source/{name}")
    for file, content in files.items():
        write(guest, f"{COURSE}/source/{name}/{file}", content)
    return guest.run(f"notebook-assignments release graded {name} 2>&1 || :")


def cells_of(guest: Guest, name: str, student: str) -> dict[str, float]:
    found = guest.run(f"cat {COURSE}/grades/{name}/{student}.*/0001/result.json")
    return {k: v[0] for k, v in json.loads(found)["notebooks"]["work"]["cells"].items()}


def test_it_gives_the_points_that_otter_gives(course: Guest) -> None:
    files = {"work.ipynb": json.dumps(DOCTESTS), "data.csv": "1,2\n", "secret.csv": "3\n"}
    assert release(course, "otter", files).split() == [
        "hand-out/otter/data.csv",
        "hand-out/otter/work.ipynb",
    ]
    handed = json.loads(course.run(f"cat {COURSE}/hand-out/otter/work.ipynb"))
    for number, work in enumerate(WORKS.values()):
        hand_in(course, COURSE, f"pupil{number:02}", "otter", solved(handed, work))
    said = course.run("notebook-assignments grade graded otter", timeout=300)
    assert "pupil00: 11.5 of 14.5, handed in " in said
    for number, (name, points) in enumerate(POINTS.items()):
        found = cells_of(course, "otter", f"pupil{number:02}")
        assert found == pytest.approx({**points, "essay": 0}), name


@pytest.fixture(scope="module")
def attacked(course: Guest) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """The graded cells of each attack."""
    release(course, "otters", {"work.ipynb": json.dumps(SECRET)})
    released = course.run(f"cat {COURSE}/hand-out/otters/work.ipynb")
    assert MARK not in released
    assert "2 * n" not in released
    handed = json.loads(released)
    pupils = {name: f"pupil{number:02}" for number, name in enumerate(ATTACKS)}
    for name, pupil in pupils.items():
        mine = solved(handed, {"def double(n):\n    ...": textwrap.dedent(ATTACKS[name])})
        hand_in(course, COURSE, pupil, "otters", mine)
    # What runs the tests, and they themselves, are brought back.
    forged = solved(handed, {})
    forged["cells"][0]["source"] = "def check_work(*a, **k):\n    return 3.0"
    forged["cells"][-1]["source"] = "3.0"
    forged["cells"][-1]["metadata"]["nbgrader"]["points"] = 99
    hand_in(course, COURSE, "hacker", "otters", forged)
    honest = solved(handed, {"def double(n):\n    ...": "def double(n):\n    return n + n"})
    hand_in(course, COURSE, "pupil", "otters", honest)
    said = course.run("notebook-assignments grade graded otters", timeout=300)
    assert "pupil: 3 of 3" in said
    assert "hacker: 0 of 3" in said
    found = {}
    for name, pupil in pupils.items():
        assert f"{pupil}: 0 of 3" in said, name
        text = course.run(f"cat {COURSE}/results/otters/{pupil}/work.ipynb")
        found[name] = json.loads(text)["cells"]
    yield found


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_gains_no_point_and_reads_no_test(
    attacked: dict[str, list[dict[str, Any]]], attack: str
) -> None:
    *own, test = attacked[attack]
    assert "-no-student-" not in json.dumps([each.get("outputs") for each in own])
    printed = "".join("".join(each.get("text", "")) for each in test["outputs"])
    assert not [line for line in printed.splitlines() if "SEEN" in line and MARK in line]


NBGRADER = book([cell("x = 1", grade_id="x", solution=True, locked=False)])


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"a.ipynb": json.dumps(SECRET), "b.ipynb": json.dumps(NBGRADER)},
            "a.ipynb is in otter-grader's form and b.ipynb in nbgrader's: put them into two",
        ),
        (
            {"work.ipynb": json.dumps(SECRET).replace("return 2 * n", "return 3 * n")},
            "work.ipynb: the solution does not get all points of double: double - 1:",
        ),
        (
            {"work.ipynb": json.dumps(master("files: [a.csv", []))},
            "work.ipynb: cell 1: it, line 2, 'files: [a.csv'",
        ),
    ],
)
def test_what_is_wrong_is_said_and_not_handed_out(
    course: Guest, files: dict[str, str], words: str
) -> None:
    course.run(f"rm -rf {COURSE}/source/bad")
    assert words in release(course, "bad", files)
    course.run(f"test ! -e {COURSE}/hand-out/bad")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that is not below /tmp, which a box has of its own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as path:
        yield Path(path)


@pytest.mark.slow
def test_the_real_otter_gives_the_same(place: Path) -> None:
    """Otter itself assigns and runs; ours runs the same works in its boxes, with one Python."""
    python = real_otter(place)
    for name, notebook in (
        ("doctests", DOCTESTS),
        ("raising", RAISING),
        ("tables", TABLES),
    ):
        here = place / name
        here.mkdir()
        (here / "data.csv").write_text("1,2\n")
        (here / "work.ipynb").write_text(json.dumps(notebook))
        otter(python, here, "assign", "work.ipynb", "dist", "--no-pdfs")
        student = json.loads((here / "dist/student/work.ipynb").read_text())
        (tests,) = (here / "dist/autograder").glob("*.zip")
        with subprocess.Popen(
            [python, "-c", OURS, str(Path(__file__).parents[3])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as worker:
            assert worker.stdin
            assert worker.stdout

            def ask(**request: Any) -> dict[str, Any]:
                worker.stdin.write(f"{json.dumps(request)}\n")
                worker.stdin.flush()
                return dict(json.loads(worker.stdout.readline()))

            first = {"notebooks": {"work": json.dumps(notebook)}, "files": {"data.csv": "00"}}
            first |= {"folders": False, "release": True}
            mine = json.loads(ask(assignment=name, **first)["released"]["work"])
            for who in WORKS if name == "doctests" else ("good", "half"):
                work = WORKS[who]
                (here / f"{who}.ipynb").write_text(json.dumps(solved(student, work)))
                (here / who).mkdir()
                otter(python, here, "run", f"{who}.ipynb", "-a", str(tests), "-o", who)
                told = json.loads((here / who / "results.json").read_text())["tests"]
                theirs = {t["name"]: t["score"] for t in told if t["name"] != "Public Tests"}
                text = {"work": json.dumps(solved(mine, work))}
                done = ask(student=who, notebooks=text, files={}, marks={}, before=None)
                ours = {k: v[0] for k, v in done["notebooks"]["work"]["cells"].items()}
                ours.pop("essay", None)
                assert ours == pytest.approx(theirs, abs=1e-4), (name, who)
                if name == "doctests":
                    assert ours == pytest.approx(POINTS[who]), who
                elif work is GOOD:
                    assert ours == pytest.approx(BEST[name])
            worker.stdin.close()


# Our worker, with the Python that it has itself in its boxes.
OURS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from provision.guest.assignments import kernels
places = Path(sys.prefix), Path(sys.base_prefix)
kernels.find = lambda name: kernels.Kernel((sys.executable,), places)
from provision.guest.assignments.worker import main
main()
"""


def real_otter(place: Path) -> str:
    """A Python with otter-grader and nbgrader, of the index."""
    subprocess.run([sys.executable, "-m", "venv", str(place / "venv")], check=True)
    python = str(place / "venv/bin/python")
    packages = ["otter-grader==7.*", "nbgrader==0.9.*", "beautifulsoup4"]
    subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    return python


def otter(python: str, place: Path, *words: str) -> None:
    environment = {**os.environ, "HOME": str(place), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [python, "-m", "otter", *words],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
