"""Exercises in TMC's form, read; no program is run."""

from pathlib import Path

import pytest

from provision.guest.assignments.places import folder, put, take
from provision.guest.assignments.tmc.exercise import SHOWN, ExerciseError, read, theirs
from provision.guest.assignments.tmc.text import strip

TEST = """import unittest
from tmc import points

@points("1.1")
class One(unittest.TestCase):
    @points("1.2", "1.3 2.1")
    def test_one(self): ...
"""
FILES = {
    ".tmcproject.yml": "",
    "tmc/__init__.py": "",
    "src/work.py": "x = 1\n# BEGIN SOLUTION\ny = 2\n# END SOLUTION\n",
    "src/model.py": "# SOLUTION FILE\n",
    "test/test_work.py": TEST,
    "test/test_hidden.py": "",
    "data.csv": "1",
}


def files(**changes: str | None) -> dict[str, bytes]:
    whole = {**FILES, **{k.replace("__", "/", 1) + ".py": v for k, v in changes.items()}}
    return {name: text.encode() for name, text in whole.items() if text is not None}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a\n  # BEGIN SOLUTION\n  b\n  # END SOLUTION\nc", "a\nc"),
        ("def f():\n    # STUB: return 0\n    #STUB:x", "def f():\n    return 0\n    x"),
        ("# BEGIN SOLUTION\n# STUB: a\n# END SOLUTION", ""),
        ("a\n# BEGIN HIDDEN\nb\n# END HIDDEN", "a"),
        ("# SOLUTION FILE\nx", None),
        ("x\n  # HIDDEN FILE", None),
        ("x = 1  # the SOLUTION FILE", "x = 1  # the SOLUTION FILE"),
    ],
)
def test_students_get_no_solution_and_no_hidden_test(text: str, left: str | None) -> None:
    assert strip("a.py", text) == left


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\n# BEGIN SOLUTION\nb", "a.py, line 2: BEGIN SOLUTION without END SOLUTION after it"),
        ("# END HIDDEN", "a.py, line 1: '# END HIDDEN' without BEGIN HIDDEN before it"),
        ("# BEGIN SOLUTION\n# BEGIN SOLUTION", "line 2: '# BEGIN SOLUTION' without END SOLUTION"),
        ("# BEGIN SOLUTION\n# END HIDDEN", "line 2: '# END HIDDEN' without BEGIN SOLUTION"),
    ],
)
def test_what_has_no_end_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="line") as told:
        strip("a.py", text)
    assert said in str(told.value)


def test_an_exercise_is_what_students_get_and_what_they_do_not() -> None:
    found = read(files())
    assert sorted(found.handed) == [
        *(".tmcproject.yml", "data.csv", "src/work.py", "test/test_work.py", "tmc/__init__.py"),
    ]
    assert found.handed["src/work.py"] == b"x = 1\n"
    assert sorted(found.solved) == ["src/model.py", "src/work.py"]
    assert sorted(found.beside) == ["data.csv"]
    assert found.points["test/test_work.py"] == ["1.1", "1.2", "1.3", "2.1"]
    assert theirs({"src/a.py": b"", "test/a.py": b"", "a.py": b""}) == {"src/a.py": b""}
    cells = found.notebook({"src/work.py": b"mine ```", "src/more.py": b""})["cells"]
    graded = [each["metadata"].get("nbgrader", {}) for each in cells]
    points = {each["grade_id"]: each["points"] for each in graded if each}
    assert points == {"tests": 0, "1-1": 1, "1-2": 1, "1-3": 1, "2-1": 1}
    shown = [each["source"] for each in cells if each["cell_type"] == "markdown"]
    assert shown[1] == "**src/more.py**\n\n```python\n\n```"
    assert "mine ` ` `" in shown[2]


def test_nothing_hidden_is_handed_out_in_data_or_in_an_editor_s_copy() -> None:
    program = FILES["src/work.py"]
    more = {
        **{"test/hidden_cases.csv": "1", "test/hidden/cases.bin": "\xff"},
        **{"src/work.py~": program, "notes.txt": "# HIDDEN FILE", "help.py": program},
        "src/old.py": program.replace("\n", "\r"),
    }
    binary = {"test/hidden.bin": b"\xff", "picture.png": b"\xff", "src/picture.png": b"\xff"}
    found = read({**files(), **{k: v.encode() for k, v in more.items()}, **binary})
    names = {*found.handed, *found.beside}
    assert not names & {"test/hidden.bin", "notes.txt"} and "picture.png" in names
    assert not [name for name in names if "hidden" in name]
    for told in (found.handed, found.beside):
        assert not [name for name, content in told.items() if b"y = 2" in content]
    assert found.handed["src/old.py"] == b"x = 1\n"
    assert len(found.source()["cells"]) == 3  # programs


def test_of_what_a_student_writes_a_page_shows_so_much() -> None:
    found = read(files()).notebook({"src/work.py": b"x" * SHOWN, "src/work2.py": b"y" * SHOWN})
    shown = [cell["source"] for cell in found["cells"] if cell["cell_type"] == "markdown"]
    assert sum(map(len, shown)) < SHOWN + 1000


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"test__test_work": "import unittest"}, "no test in test/ gives points: write @points"),
        ({"test__test_work": TEST.replace('"1.1"', "1")}, "test/test_work.py, line 4: points(1)"),
        ({"test__test_work": TEST.replace('("1.1")', "()")}, "line 4: @points has no name"),
        (
            {"test__test_work": f"{TEST}    def test_one(self): ...\n"},
            "test/test_work.py, line 8: One has test_one in line 7, too, which never runs: rename",
        ),
        ({"test__test_work": TEST.replace("1.2", "1-1")}, "the points '1.1' and '1-1' are told"),
        ({"test__test_work": "class"}, "test/test_work.py, line 1: "),
        ({"src__work": None, "src__model": None}, "there is no program in src/: put the solution"),
        ({"src__work": "# BEGIN SOLUTION"}, "src/work.py, line 1: BEGIN SOLUTION without END"),
    ],
)
def test_what_cannot_be_used_is_said(changes: dict[str, str | None], said: str) -> None:
    with pytest.raises(ExerciseError) as told:
        read(files(**changes))
    assert said in str(told.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (".tmcproject.yml", b"a: [1", ".tmcproject.yml, line 1: expected ',' or ']'"),
        (".tmcproject.yml", b"just words", ".tmcproject.yml says 'just words': write it as"),
        (".tmcproject.yml", b"no-tests: {points: [a]}", "no-tests: {'points': ['a']}: points come"),
        (".tmcproject.yml", b"extra_student_files: [a]", "extra_student_files: ['a']: what"),
        ("src/work.ipynb", b"{}", "src/work.ipynb is a notebook, in an exercise of TMC's form"),
        ("src/work.py", b"\xff", "src/work.py is no UTF-8: save it so"),
    ],
)
def test_what_is_no_exercise_is_said(name: str, content: bytes, said: str) -> None:
    with pytest.raises(ExerciseError) as told:
        read({**files(), name: content})
    assert said in str(told.value)


def test_folders_are_taken_and_put_as_they_are_and_no_link_in_them(tmp_path: Path) -> None:
    (tmp_path / "from/src/deep/deeper/deepest").mkdir(parents=True)
    (tmp_path / "from/src/__pycache__").mkdir()
    for name in ("a.py", "src/b.py", "src/deep/c.py", "src/deep/deeper/d.py", ".kept", ".not"):
        (tmp_path / "from" / name).write_text(name)
    (tmp_path / "from/src/link").symlink_to("/etc")
    with folder(tmp_path / "from") as descriptor:
        taken = take(descriptor, kept=(".kept",), deep=2)
    assert sorted(taken.files) == [".kept", "a.py", "src/b.py", "src/deep/c.py"]
    assert taken.problems == {"src/deep/deeper": "it is a folder", "src/link": "it is a link"}
    (tmp_path / "to").mkdir()
    with folder(tmp_path / "to") as descriptor:
        put(taken.files, ["x"], descriptor, (tmp_path / "to").stat().st_uid)
    assert (tmp_path / "to/x/src/deep/c.py").read_text() == "src/deep/c.py"
