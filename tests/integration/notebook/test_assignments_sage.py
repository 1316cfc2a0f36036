"""Notebooks of Sage, graded in boxes that have Sage. Slow: Sage is 4 GB."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import Guest, notebook_guest, sage_layer
from handed import book, cell, hand_in, make_places, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

COURSE = "/home/students/.courses/calculus"
KERNEL = {"name": "sagemath", "display_name": "SageMath", "language": "sage"}
MARK = "what-no-student-reads"
SOLUTION = """
def twice(n):
    return 2 * n

def slope(f):
    return diff(f, x)

def half(n):
    return n / 2

def turned(m):
    return m.transpose()

def roots(p):
    return [r for r, _ in p.roots(QQ)]

area(r) = pi * r^2
R.<t> = QQ[]
square = (t + 1)^2
"""
TESTS = f"""
assert twice(21) == 42 and twice(2^70) == 2^71, "{MARK}"
assert slope(x^3 + sin(x)) == 3*x^2 + cos(x)
assert half(3) == 3/2 and half(0.5) == 0.25
assert turned(matrix([[1, 2], [3, 4]])) == matrix([[1, 3], [2, 4]])
S.<y> = QQ[]
assert sorted(roots(y^2 - 1)) == [-1, 1]
assert area(2) == 4*pi
assert str(square) == "t^2 + 2*t + 1"
assert factor(12).value() == 12 and [1..3] == [1, 2, 3]
"""
NOTHING = SOLUTION.replace("return ", "return 7 #")
# What gets no point. SEEN is what it found and shows.
ATTACKS = {
    "sage00": f"{NOTHING}",
    # Names of Sage's and Python's are the test's own, whatever a notebook makes of them.
    "sage01": f"""{NOTHING}
import builtins, sage.all
class Yes:
    def __getattr__(self, name): return Yes()
    def __eq__(self, other): return True
    def __call__(self, *a): return Yes()
Integer = factor = diff = cos = matrix = sorted = str = lambda *a: Yes()
sage.all.Integer = sage.all.factor = builtins.str = builtins.sorted = Integer
twice = slope = half = turned = roots = area = square = Yes()
""",
    # A formula is no program.
    "sage02": f"""{NOTHING}
import provision.guest.assignments.algebra as a
a._SCALARS["Expression"] = lambda v: ["system('touch /tmp/task/x') + eval('quit()')"]
def slope(f): return x
def twice(n): return x
""",
    "sage03": f"""{NOTHING}
import sys
def twice(n):
    frame = sys._getframe()
    while frame:
        print("SEEN", frame.f_code.co_consts, list(frame.f_locals.items()))
        frame = frame.f_back
    return 0
""",
}


@pytest.fixture(scope="module")
def calculus(
    layers: list[Path], course_layers: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guest]:
    scratch = tmp_path_factory.mktemp("sage")
    course = {"members": ["sage-emmy", *ATTACKS], "teachers": ["hilbert"], "quota": 50 << 20}
    variables = {
        "pool_accounts": ["nb1"],
        "notebook_accounts": True,
        "notebook_record": {"courses": {"calculus": course}},
    }
    found = [*course_layers, sage_layer(layers, scratch)]
    with notebook_guest(found, scratch, variables) as guest:
        make_places(guest, "calculus")
        yield guest


def test_sage_notebooks_are_graded_by_sage(calculus: Guest) -> None:
    cells = [
        cell(SOLUTION, grade_id="all", solution=True, locked=False),
        cell("twice(1/2)"),
        cell("plot(sin, 0, 1)"),
        cell(TESTS, grade_id="test", grade=True, points=3, locked=True),
    ]
    calculus.run(f"mkdir {COURSE}/source/task")
    write(calculus, f"{COURSE}/source/task/work.ipynb", json.dumps(book(cells, KERNEL)))
    calculus.run("notebook-assignments release calculus task")
    released = json.loads(calculus.run(f"cat {COURSE}/hand-out/task/work.ipynb"))
    assert "raise NotImplementedError()" in released["cells"][0]["source"]
    for student, solution in {"sage-emmy": SOLUTION, **ATTACKS}.items():
        released["cells"][0]["source"] = solution
        hand_in(calculus, COURSE, student, "task", released)
    said = calculus.run("notebook-assignments grade calculus task", timeout=900)
    lines = dict(line.split(": ", 1) for line in said.splitlines() if " of 3" in line)
    graded = calculus.run(f"cat {COURSE}/results/task/sage-emmy/work.ipynb")
    assert lines["sage-emmy"].startswith("3 of 3"), graded
    outputs = [each["outputs"] for each in json.loads(graded)["cells"]]
    assert outputs[1][0]["data"]["text/plain"] == ["1"]
    assert "image/png" in outputs[2][0]["data"]
    for student in ATTACKS:
        assert lines[student].startswith("0 of 3"), student
        text = calculus.run(f"cat {COURSE}/results/task/{student}/work.ipynb")
        own = [each for each in json.loads(text)["cells"] if MARK not in "".join(each["source"])]
        assert MARK not in json.dumps(own)
        shown = json.loads(text)["cells"][-1]["outputs"]
        assert shown[-1]["output_type"] == "error", shown
    assert "no function system" in calculus.run(f"cat {COURSE}/results/task/sage02/work.ipynb")
