"""Notebooks of R and Octave from hand-out to grade, and the points that nbgrader gives. Slow: both.

What tests see, and what attacks gain, is in tests/integration/assignments.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from guest import Guest, further_layer, notebook_guest
from handed import book, cell, hand_in, make_places, write

from provision import resources
from provision.config import languages

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

COURSES = "/home/students/.courses"
R = {"name": "ir", "display_name": "R", "language": "R"}
OCTAVE = {"name": "octave", "display_name": "Octave", "language": "octave"}
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


# The same in Octave, where comments may be either kind.
OCTAVE_DOUBLE = """
function y = double_it (n)
  %%% BEGIN SOLUTION
  y = 2 * n;
  %%% END SOLUTION
end
"""
OCTAVE_SPREAD = """
function y = spread (x)
  ### BEGIN SOLUTION
  if (! isnumeric (x)), error ("our:text", "no numbers"); end
  y = max (x) - min (x);
  ### END SOLUTION
end
"""
OCTAVE_TESTS = {
    "test-double": f"""
assert (double_it (2) == 4)
% BEGIN HIDDEN TESTS
told = "{MARK}";
assert (double_it ([1.5, NaN]), [3, NaN]); assert (! isempty (told))
% END HIDDEN TESTS
""",
    "test-spread": """
assert (close_to (spread ([3 1 2]), 2))
try, spread ("a"); error ("none"); catch e, assert (e.identifier, "our:text"); end
""",
    "test-quiet": "assert (double_it (4) == 8)\n0.5",
}
OCTAVE_SPREADS = """
function y = spread (x)
  if (ischar (x)), error ("our:text", "no"); end
  y = range_of (x);
end
function y = range_of (x), y = sort (x)(end) - sort (x)(1); end
"""
OCTAVE_WORK = {
    "ada": ("double_it = @(n) n + n;", OCTAVE_SPREADS),
    "bo": ("function y = double_it (n), y = 2 * n; end", "function y = spread (x), y = 0; end"),
    "cy": ("function y = double_it (n)\n  warning ('so'); y = 2 * n;\nend", OCTAVE_SPREADS),
    "di": ("function y = double_it (n)\n  n, y = n * 2\nend", "spread = 7"),
    "eve": ("function y = double_it (n)\n  y = 3 *;\nend", OCTAVE_SPREADS),
}
OCTAVE_ATTACKS = {
    "mal": ("function assert (varargin), end\nfunction y = double_it (n), y = 0; end", "exit (0)"),
}


@pytest.fixture(scope="module")
def university(
    course_layers: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guest]:
    scratch = tmp_path_factory.mktemp("languages")
    inputs = [Path(languages.__file__), resources.playbooks() / "roles/kernels/tasks/main.yml"]
    kernels = languages.Kernels.model_validate({"r": True, "octave": True})
    told = {"kernels_languages": languages.further(kernels)}
    layer = further_layer("languages", course_layers, inputs, told, scratch)
    course = {"members": [*WORK, *ATTACKS, "fay"], "teachers": ["pearson"], "quota": 50 << 20}
    variables = {
        "pool_accounts": ["nb1"],
        "notebook_accounts": True,
        "notebook_record": {"courses": {"statistics": course, "numerics": course}},
    }
    with notebook_guest([*course_layers, layer], scratch, variables) as guest:
        for name in ("statistics", "numerics"):
            make_places(guest, name)
        yield guest


Points = dict[str, dict[str, float | None]]


def grade(
    guest: Guest,
    course: str,
    notebook: dict[str, Any],
    work: Mapping[str, tuple[str, str]],
    stub: str,
) -> tuple[Points, Points]:
    """Hand out, hand in, grade and return; the points of each, and those that nbgrader gives.

    Args:
        guest: where.
        course: its name.
        notebook: as its teacher has it, whose first two cells are to be solved.
        work: what each student, and an attacker, writes there; ``fay`` writes nothing.
        stub: what stands in the place of a solution.
    """
    place = f"{COURSES}/{course}"
    guest.run(f"mkdir {place}/source/task")
    source = json.dumps(notebook)
    write(guest, f"{place}/source/task/work.ipynb", source)
    guest.run(f"notebook-assignments release {course} task")
    text = guest.run(f"cat {place}/hand-out/task/work.ipynb")
    assert MARK not in text
    assert "max" not in text
    assert "HIDDEN" not in text
    released = json.loads(text)
    assert all(stub in "".join(each["source"]) for each in released["cells"][:2])
    hand_in(guest, place, "fay", "task", released)  # and has written nothing
    nbgrader = f"/root/nbgrader-{course}"
    guest.run(f"mkdir -p {nbgrader}/source/task {nbgrader}/submitted")
    for student, (double, spread) in work.items():
        released["cells"][0]["source"], released["cells"][1]["source"] = double, spread
        released["cells"][-1]["source"] = f"# {student} says why"
        hand_in(guest, place, student, "task", released)
        if student in WORK:
            theirs = f"{nbgrader}/submitted/{student}"
            guest.run(f"mkdir {theirs}; cp -r {place}/hand-in/{student}/task {theirs}/")
    said = guest.run(f"notebook-assignments grade {course} task", timeout=900)
    ours = {}
    for student in (*work, "fay"):
        found = guest.run(f"cat {place}/grades/task/{student}.*/0001/result.json")
        ours[student] = json.loads(found)["notebooks"]["work"]["auto"]
    assert ours["ada"] | {"why": None} == {**dict.fromkeys(TESTS, 2), "why": None}, said
    assert all(sum(ours[name].get(test) or 0 for test in TESTS) == 0 for name in (*ATTACKS, "fay"))
    graded = guest.run(f"cat {place}/results/task/ada/work.ipynb")
    assert "image/png" in json.loads(graded)["cells"][3]["outputs"][0]["data"]
    hers = json.loads(guest.run(f"cat {place}/results/task/mal/work.ipynb"))["cells"]
    assert MARK not in json.dumps([each for each in hers if each["cell_type"] == "code"][:4])
    guest.run(f"notebook-assignments feedback {course} task")

    listed = (
        "import json; from nbgrader.api import Gradebook; "
        "book = Gradebook('sqlite:///gradebook.db'); "
        "print(json.dumps({s.student.id: {g.name: g.auto_score for n in s.notebooks "
        "for g in n.grades} for s in book.assignment_submissions('task')}))"
    )
    write(guest, f"{nbgrader}/source/task/work.ipynb", source)
    nbgraders = guest.run(
        f"cd {nbgrader} && export HOME=/root PATH=/opt/notebook/bin:$PATH "
        "PYTHONPATH=/opt/nbgrader PYTHONWARNINGS=ignore && "
        "echo \"get_config().CourseDirectory.course_id = 'x'\" > nbgrader_config.py && "
        "python -m nbgrader generate_assignment task >log 2>&1 && "
        f'python -m nbgrader autograde task >>log 2>&1 && python -c "{listed}"',
        timeout=600,
    )
    return ours, json.loads(nbgraders)


def written(solutions: Sequence[str], given: str, plot: str, tests: Mapping[str, str]) -> list[Any]:
    """The cells of a teacher's notebook."""
    names = ("double", "spread")
    return [
        *(
            cell(text, grade_id=name, solution=True, locked=False)
            for name, text in zip(names, solutions, strict=True)
        ),
        cell(given, grade_id="given", locked=True),
        cell(plot),
        *(
            cell(test, grade_id=name, grade=True, points=2, locked=True)
            for name, test in tests.items()
        ),
        cell("# Why?", grade_id="why", grade=True, points=1, solution=True, locked=False),
    ]


def test_notebooks_of_r_get_the_points_that_nbgrader_gives(university: Guest) -> None:
    given = "close_to <- function(a, b) abs(a - b) < 1e-9"
    cells = written((DOUBLE, SPREAD), given, "plot(double(1:3))", TESTS)
    stub = "# YOUR CODE HERE"
    ours, nbgraders = grade(university, "statistics", book(cells, R), {**WORK, **ATTACKS}, stub)
    page = university.run(f"cat {COURSES}/statistics/hand-in/bo/feedback/task/work.html")
    assert "close_to(spread(c(3, 1, 2)), 2)" in page
    assert "is not TRUE" in page
    assert {name: ours[name] for name in WORK} == nbgraders


def test_notebooks_of_octave_get_points_where_nbgrader_takes_errors_for_output(
    university: Guest,
) -> None:
    """Octave's kernel says an error as it says all else: nbgrader gives points for every test."""
    given = "function is = close_to (a, b), is = abs (a - b) < 1e-9; end"
    solutions = (OCTAVE_DOUBLE, OCTAVE_SPREAD)
    cells = written(solutions, given, "plot (double_it (1:3))", OCTAVE_TESTS)
    work = {**OCTAVE_WORK, **OCTAVE_ATTACKS}
    stub = "% YOUR CODE HERE"
    ours, nbgraders = grade(university, "numerics", book(cells, OCTAVE), work, stub)
    page = university.run(f"cat {COURSES}/numerics/hand-in/bo/feedback/task/work.html")
    assert "failed" in page
    right = {
        **{"ada": (2, 2, 2), "bo": (2, 0, 2), "cy": (2, 2, 2), "di": (2, 0, 2)},
        "eve": (0, 2, 0),
    }
    whole = dict.fromkeys(OCTAVE_TESTS, 2)
    for name, points in right.items():
        assert ours[name] | {"why": None} == dict(zip(whole, points, strict=True)) | {"why": None}
        assert nbgraders[name] | {"why": None} == whole | {"why": None}
