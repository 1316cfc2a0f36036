"""Notebooks of R from hand-out to grade, and the points that nbgrader gives. Slow: R.

What tests see, and what attacks gain, is in tests/integration/assignments.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import Guest, further_layer, notebook_guest
from handed import book, cell, hand_in, make_places, write

from provision import resources
from provision.config import languages

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

COURSE = "/home/students/.courses/statistics"
KERNEL = {"name": "ir", "display_name": "R", "language": "R"}
MARK = "what-no-student-reads"
DOUBLE = """
double <- function(n) {
  ### BEGIN SOLUTION
  2 * n
  ### END SOLUTION
}
"""
SPREAD = """
spread <- function(x) {
  ### BEGIN SOLUTION
  if (!is.numeric(x)) stop("no numbers")
  max(x) - min(x)
  ### END SOLUTION
}
"""
TESTS = {
    "test-double": f"""
stopifnot(double(2) == 4)
### BEGIN HIDDEN TESTS
told <- "{MARK}"
stopifnot(identical(double(c(1.5, NA)), c(3, NA)), told != "")
### END HIDDEN TESTS
""",
    "test-spread": """
stopifnot(close_to(spread(c(3, 1, 2)), 2))
stopifnot(inherits(try(spread("a"), silent = TRUE), "try-error"))
""",
    "test-quiet": "stopifnot(double(4) == 8)\n0.5",
}
SPREADS = "spread <- function(x) { stopifnot(is.numeric(x)); diff(range(x)) }"
# What honest students write, and what somebody tries.
WORK = {
    "ada": ("double <- function(n) n + n", SPREADS),
    "bo": ("double <- function(n) 2 * n", "spread <- function(x) max(x)"),
    "cy": ("double <- function(n) { warning('so'); 2 * n }", SPREADS),
    "di": ("double <- function(n) { cat('n is', n, '\\n'); n * 2 }", "spread <- 7"),
    "eve": ("double <- function(n) 3 *", SPREADS),
}
ATTACKS = {
    "mal": ("stopifnot <- function(...) TRUE; double <- function(n) 0", "quit(status = 0)"),
}


@pytest.fixture(scope="module")
def statistics(
    course_layers: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guest]:
    scratch = tmp_path_factory.mktemp("r")
    inputs = [Path(languages.__file__), resources.playbooks() / "roles/kernels/tasks/main.yml"]
    kernels = languages.Kernels.model_validate({"r": True})
    told = {"kernels_languages": languages.further(kernels)}
    layer = further_layer("r", course_layers, inputs, told, scratch)
    course = {"members": [*WORK, *ATTACKS, "fay"], "teachers": ["pearson"], "quota": 50 << 20}
    variables = {
        "pool_accounts": ["nb1"],
        "notebook_accounts": True,
        "notebook_record": {"courses": {"statistics": course}},
    }
    with notebook_guest([*course_layers, layer], scratch, variables) as guest:
        make_places(guest, "statistics")
        yield guest


def test_notebooks_of_r_get_the_points_that_nbgrader_gives(statistics: Guest) -> None:
    cells = [
        cell(DOUBLE, grade_id="double", solution=True, locked=False),
        cell(SPREAD, grade_id="spread", solution=True, locked=False),
        cell("close_to <- function(a, b) abs(a - b) < 1e-9", grade_id="given", locked=True),
        cell("plot(double(1:3))"),
        *(
            cell(test, grade_id=name, grade=True, points=2, locked=True)
            for name, test in TESTS.items()
        ),
        cell("# Why?", grade_id="why", grade=True, points=1, solution=True, locked=False),
    ]
    statistics.run(f"mkdir {COURSE}/source/task")
    source = json.dumps(book(cells, KERNEL))
    write(statistics, f"{COURSE}/source/task/work.ipynb", source)
    statistics.run("notebook-assignments release statistics task")
    text = statistics.run(f"cat {COURSE}/hand-out/task/work.ipynb")
    assert MARK not in text
    assert "max(x)" not in text
    released = json.loads(text)
    assert "# YOUR CODE HERE" in "".join(released["cells"][0]["source"])
    hand_in(statistics, COURSE, "fay", "task", released)  # and has written nothing
    statistics.run("mkdir -p /root/nbgrader/source/task /root/nbgrader/submitted")
    for student, (double, spread) in {**WORK, **ATTACKS}.items():
        released["cells"][0]["source"], released["cells"][1]["source"] = double, spread
        released["cells"][-1]["source"] = f"# {student} says why"
        hand_in(statistics, COURSE, student, "task", released)
        if student in WORK:
            theirs = f"/root/nbgrader/submitted/{student}"
            statistics.run(f"mkdir {theirs}; cp -r {COURSE}/hand-in/{student}/task {theirs}/")
    said = statistics.run("notebook-assignments grade statistics task", timeout=900)
    ours = {}
    for student in (*WORK, *ATTACKS, "fay"):
        found = statistics.run(f"cat {COURSE}/grades/task/{student}.*/0001/result.json")
        ours[student] = json.loads(found)["notebooks"]["work"]["auto"]
    assert ours["ada"] | {"why": None} == {**dict.fromkeys(TESTS, 2), "why": None}, said
    assert all(sum(ours[name].get(test) or 0 for test in TESTS) == 0 for name in (*ATTACKS, "fay"))
    graded = statistics.run(f"cat {COURSE}/results/task/ada/work.ipynb")
    assert "image/png" in json.loads(graded)["cells"][3]["outputs"][0]["data"]
    hers = json.loads(statistics.run(f"cat {COURSE}/results/task/mal/work.ipynb"))["cells"]
    assert MARK not in json.dumps([each for each in hers if each["cell_type"] == "code"][:4])
    statistics.run("notebook-assignments feedback statistics task")
    page = statistics.run(f"cat {COURSE}/hand-in/bo/feedback/task/work.html")
    assert "close_to(spread(c(3, 1, 2)), 2)" in page
    assert "is not TRUE" in page

    listed = (
        "import json; from nbgrader.api import Gradebook; "
        "book = Gradebook('sqlite:///gradebook.db'); "
        "print(json.dumps({s.student.id: {g.name: g.auto_score for n in s.notebooks "
        "for g in n.grades} for s in book.assignment_submissions('task')}))"
    )
    write(statistics, "/root/nbgrader/source/task/work.ipynb", source)
    nbgraders = statistics.run(
        "cd /root/nbgrader && export HOME=/root PATH=/opt/notebook/bin:$PATH "
        "PYTHONPATH=/opt/nbgrader PYTHONWARNINGS=ignore && "
        "echo \"get_config().CourseDirectory.course_id = 'x'\" > nbgrader_config.py && "
        "python -m nbgrader generate_assignment task >log 2>&1 && "
        f'python -m nbgrader autograde task >>log 2>&1 && python -c "{listed}"',
        timeout=600,
    )
    assert {name: ours[name] for name in WORK} == json.loads(nbgraders)
