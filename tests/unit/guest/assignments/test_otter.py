"""otter-grader's form of an assignment, read; no notebook is run."""

import contextlib
import io
import json
from typing import Any

import pytest

from provision.guest.assignments.cells import forget_unseen
from provision.guest.assignments.otter import check, lines, points
from provision.guest.assignments.otter.master import FormError, is_master, read

QUESTION = ("# BEGIN QUESTION\nname: q1", "# BEGIN SOLUTION", "# END SOLUTION", "# END QUESTION")


def cell(text: str, kind: str = "raw", shown: str = "", count: int | None = 1) -> dict[str, Any]:
    found: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": text}
    if kind == "code":
        outputs = [{"output_type": "stream", "name": "stdout", "text": shown}] if shown else []
        found |= {"execution_count": count, "outputs": outputs}
    return found


def code(text: str, shown: str = "", count: int | None = 1) -> dict[str, Any]:
    return cell(text, "code", shown, count)


def book(*cells: dict[str, Any] | str) -> dict[str, Any]:
    whole = [cell(each) if isinstance(each, str) else each for each in cells]
    return {"cells": whole, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def asked(
    *tests: dict[str, Any], about: str = "name: q1", solution: str = "x = 2  # SOLUTION"
) -> list[dict[str, Any] | str]:
    begin, solving, solved, end = QUESTION
    block = ["# BEGIN TESTS", *tests, "# END TESTS"] if tests else []
    begin = f"# BEGIN QUESTION\n{about}"
    return [begin, cell("What?", "markdown"), solving, code(solution), solved, *block, end]


TEST = code("x == 2", "True\n")
HIDDEN = code("# HIDDEN\nassert x == 2")


def test_what_students_get_has_neither_solutions_nor_what_is_the_teachers() -> None:
    told = read(book("# ASSIGNMENT CONFIG\nfiles: [a.csv]", *asked(TEST, HIDDEN)), {"a.csv": b""})
    handed = [each["source"] for each in told.handed["cells"]]
    assert handed[1:3] == ["What?", "x = ..."]
    assert "x = 2" in [each["source"].split("  #")[0] for each in told.whole["cells"]]
    about = [each["metadata"].get("nbgrader", {}) for each in told.handed["cells"]]
    assert [each.get("grade_id") for each in about] == ["otter-tests", None, "q1-answer-1", "q1"]
    assert (about[3]["points"], about[3]["locked"], about[2]["solution"]) == (1, True, True)
    shown, _, rest = handed[3].partition("### BEGIN HIDDEN TESTS")
    assert ">>> x == 2\nTrue" in shown
    assert "assert x == 2" in rest.partition("### END HIDDEN TESTS")[0]
    assert told.files == ("a.csv",)


def test_an_answer_in_words_is_graded_by_hand_and_a_question_may_give_nothing() -> None:
    words = ["# BEGIN SOLUTION", cell("Because.", "markdown"), "# END SOLUTION", "# END QUESTION"]
    manual = ["# BEGIN QUESTION\nname: why\nmanual: true\npoints: 3", *words]
    told = read(book("# ASSIGNMENT CONFIG\nshow_question_points: true", *manual, *asked()), {})
    first = told.handed["cells"][0]
    assert first["source"].startswith("_Type your answer here")
    assert first["metadata"]["nbgrader"]["points"] == 3
    assert first["metadata"]["nbgrader"]["grade"]
    assert [each["source"] for each in told.handed["cells"][1:]] == [
        "What?\n\n_Points:_ 0",
        "x = ...",
    ]


def test_blocks_may_stand_in_text() -> None:
    fence = "Words\n```otter\n# BEGIN QUESTION\nname: q1\n```\nmore"
    notebook = book(cell(fence, "markdown"), *asked(TEST)[1:])
    assert is_master(notebook)
    sources = [each["source"] for each in read(notebook, {}).handed["cells"]]
    assert sources[1:3] == ["Words", "more"]
    assert not is_master(book(cell("```python\n# BEGIN QUESTION\n```", "markdown"), code("x")))


CONFIG = "# ASSIGNMENT CONFIG\n"
RAISES = CONFIG + "tests: {ok_format: false}"


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (
            asked(about="name: q1\npoints: 2"),
            "cell 6, question q1: it has no tests: write them in BEGIN TESTS, or 'manual: true'",
        ),
        (
            [*asked(TEST), *asked(TEST)],
            "cell 10: the name 'q1' has the question of cell 1, too: rename one",
        ),
        (asked(TEST, about="points: 1"), "cell 1: the question has no name: write 'name: q1'"),
        (
            asked(TEST, about="name: q1\npoints: many"),
            "cell 1, question q1: points: 'many' is no number of points: write one, as 2 or 0.5",
        ),
        (
            asked(TEST, about="name: q1\npoints: -1"),
            "cell 9, question q1: points: -1 is no number of points",
        ),
        (asked(TEST, about="name: q1\npoints: [1, 2]"), "points: [1, 2] are 2, and there are 1"),
        (asked(TEST, about="name: q1\nponits: 1"), "there is no key 'ponits': write 'points'"),
        (
            asked(TEST, about="name: q1\npoints: [1"),
            "cell 1: it, line 3, 'points: [1': expected ',' or ']'",
        ),
        (asked(TEST, about="q1"), "cell 1: it says 'q1': write keys and values, as 'points: 2'"),
        (
            asked(TEST, about="name: q1\nmanual: true"),
            "it is manual and has tests: make two questions of it",
        ),
        (asked(code("x ==", "True")), "line 1 of the test, 'x ==', is no Python: mend it"),
        (asked(code("x == 2", count=None)), "the test was never run: run the notebook and save"),
        (
            asked(code('""" # BEGIN TEST CONFIG\npoint: 1\n""" # END TEST CONFIG\nx')),
            "cell 7, question q1: there is no key 'point' of a test; keys: name, hidden, points",
        ),
        (
            asked(code('""" # BEGIN TEST CONFIG\npoints: x\n""" # END TEST CONFIG\nx')),
            "points: 'x' is no number of points",
        ),
        (
            asked(
                code('""" # BEGIN TEST CONFIG\npoints: 3\n""" # END TEST CONFIG\nassert x'),
                about="name: q1\npoints: 2",
            ),
            "points: 2, and its tests have 3",
        ),
        ([RAISES, *asked(TEST)], "a test is one function here, and a call of it"),
        (asked(cell("x", "markdown")), "cell 7, question q1: is of markdown, among tests"),
        (
            asked(TEST, solution="# BEGIN SOLUTION\nx = 2"),
            "BEGIN SOLUTION without '# END SOLUTION'",
        ),
        (asked(TEST, solution="x = 2 # END SOLUTION"), "without BEGIN SOLUTION before it"),
        (asked(TEST)[:-1], "cell 1, question q1: BEGIN QUESTION without its END: write it"),
        ([*asked(TEST), "# END TESTS"], "cell 10: END TESTS without its BEGIN: write it, or leave"),
        (["# BEGIN TESTS"], "cell 1: BEGIN TESTS stands outside of a question"),
        (["# BEGIN QUESTION\nname: a", "# BEGIN QUESTION\nname: b"], "within the question 'a'"),
        ([CONFIG + "filse: [a]"], "cell 1: there is no key 'filse': write 'files'"),
        ([CONFIG + "files: [a/b.csv]"], "files: there is no file 'a/b.csv' beside the notebook"),
        ([CONFIG + "files: a.csv"], "files: 'a.csv' is no list of names"),
        ([CONFIG + "config_file: a.yml"], "config_file: there is no file 'a.yml' beside"),
        ([CONFIG + "autograder_files: [a]"], "autograder_files: a test sees no files"),
        ([CONFIG + "generate: {plugins: [x]}"], "generate.plugins: there are no plug-ins here"),
        ([CONFIG + "seed: {autograder_value: x}"], "seed:  'x' is no name and whole number"),
        (["# BEGIN PLUGIN", code("# BEGIN PLUGIN\n# END PLUGIN")], "BEGIN PLUGIN: there are no"),
        (
            ["# BEGIN QUESTION\nname: a", code("### BEGIN HIDDEN TESTS")],
            "cell 2, question a: has what is nbgrader's, in a notebook of otter-grader's form",
        ),
        ([CONFIG, code("def check_work(): ...")], "cell 2: has the name check_work"),
    ],
)
def test_what_cannot_be_carried_over_is_said(cells: list[Any], said: str) -> None:
    with pytest.raises(FormError) as told:
        read(book(*cells), {})
    assert said in str(told.value)


@pytest.mark.parametrize(
    ("told", "own", "shares"),
    [
        (None, [None, None], [0.5, 0.5]),
        (None, [2, None], [2, 0.0]),
        (None, [0, None], [0, 1.0]),
        (5, [2, None, None], [2, 1.5, 1.5]),
        (3, [1, 2], [1, 2]),
        ([1, None], [7, 7], [1, 0.0]),
        ({"each": 2}, [None, None], [2.0, 2.0]),
        ({}, [None, None], [1.0, 1.0]),
        (0, [None], [0.0]),
    ],
)
def test_points_are_shared_as_otter_shares_them(told: Any, own: list[Any], shares: Any) -> None:
    assert points.share(told, own) == shares


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("x = 2 # SOLUTION", "x = ..."),
        ("a, b = 1, 2  #SOLUTION", "a, b = ..."),
        ("d['k'] = f(x)  # SOLUTION", "d['k'] = ..."),
        ("    return x == 2 # SOLUTION", "    ..."),
        ("x == 2 # SOLUTION", "..."),
        ("x = 1 # SOLUTION NO PROMPT\ny = 2 # SEED\nz", "z"),
        ("if x:\n    # BEGIN SOLUTION\n    y = 1\n    # END SOLUTION\nz", "if x:\n    ...\nz"),
        ("# BEGIN SOLUTION NO PROMPT\nx\n# END SOLUTION\ny", "y"),
        ('""" # BEGIN PROMPT\nx = ...\n"""; # END PROMPT', "x = ..."),
    ],
)
def test_solutions_are_taken_out_of_lines(text: str, left: str) -> None:
    assert lines.drop_solution(text) == left


def test_lines_that_are_the_teachers_are_taken_out() -> None:
    text = "import otter\ngrader = otter.Notebook()\nx\n# BEGIN IGNORE\ny\n# END IGNORE\nz # IGNORE"
    assert lines.drop_own(text) == "x"


def run(cells: list[Any], names: str) -> tuple[float, str]:
    """The points of a question's cell, in a notebook of one's own, and what it prints."""
    told = read(book(*cells), {}).handed["cells"]
    space: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(check.text(), space)  # noqa: S102
        exec(names, space)  # noqa: S102
        body, _, call = told[-1]["source"].partition("check_work(")
        assert not body.strip(" \n#").startswith("check"), body
        score = eval(f"check_work({call}", space)  # noqa: S307
    return score, printed.getvalue()


def test_a_question_gives_the_points_of_the_tests_that_pass() -> None:
    cells = asked(TEST, code("print(x)", "2\n"), code("assert y"), about="name: q1\npoints: 3")
    assert run(cells, "x = 2") == (2, run(cells, "x = 2")[1])
    assert run(cells, "x, y = 2, 1")[0] == 3
    assert "q1: 2 of 3 tests pass" in run(cells, "x = 2")[1]
    assert run(asked(TEST, code("assert y"), about="name: q1\nall_or_nothing: true"), "x=2")[0] == 0


def test_names_of_pythons_that_a_notebook_has_otherwise_decide_nothing() -> None:
    names = "sum = len = any = all = zip = print = exec = globals = list = lambda *a: 99\nx = 3"
    assert run(asked(TEST, HIDDEN), names)[0] == 0


def test_a_function_is_given_what_it_names_and_none_for_what_is_not_there() -> None:
    test = code("def test(x, gone, env):\n    assert (x, gone, env['x']) == (2, None, 2)\ntest()")
    assert run([RAISES, *asked(test)], "x = 2")[0] == 1
    score, said = run([RAISES, *asked(code("def test(x):\n    assert x == 2, 'no'"))], "x = 3")
    assert (score, said) == (0, "q1 - 1: \nAssertionError: no\nq1: 0 of 1 tests pass\n")


def test_what_is_read_is_a_notebook() -> None:
    assert json.loads(json.dumps(read(book(*asked(TEST)), {}).handed))["nbformat"] == 4


def test_pictures_of_what_is_handed_out_come_along_and_no_other() -> None:
    pictures = {"a.png": {"image/png": "AA=="}, "solved.png": {"image/png": "AA=="}}
    text = cell("![](attachment:a.png)", "markdown") | {"attachments": pictures}
    bare = cell("Words", "markdown") | {"attachments": pictures}
    handed = read(book(*asked(TEST)[:1], text, bare, *asked(TEST)[1:]), {}).handed
    handed["metadata"]["widgets"] = {"state": "solved"}
    forget_unseen(handed)
    assert [{*each.get("attachments", {})} for each in handed["cells"]][1:3] == [{"a.png"}, set()]
    assert handed["metadata"] == {}
