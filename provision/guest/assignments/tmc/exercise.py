"""An exercise, read: what students get, its tests, and the notebook that grading makes of it."""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from provision.guest.assignments import cells
from provision.guest.assignments.tmc.text import strip

PROJECT = ".tmcproject.yml"
NOTEBOOK = "exercise"  # the name of what is graded
SHOWN = 500_000  # characters of a student's files; to make a page of megabytes takes long
_RUNNER, _TESTS, _SOURCE = "tmc/", "test/", "src/"
_REFUSED = {
    "no-tests": "points come of tests here: leave it out",
    "extra_student_files": "what students write is below src: put it there",
}
_PUPILS = """# Reaches what was handed in.
def open_module(name, again=False):
    import importlib, sys
    if again and name in sys.modules:
        return importlib.reload(sys.modules[name])
    return importlib.import_module(name)


def take_input(function):
    import builtins
    builtins.input = function
"""


class ExerciseError(Exception):
    """An exercise that cannot be used; the message says why."""


@dataclass(frozen=True)
class Exercise:
    """An exercise.

    Args:
        handed: what students get, by path.
        solved: the teacher's own programs, as if handed in.
        beside: the teacher's data, for the pupil's box; students have them.
        tests: the texts of the tests and of what they import, by path.
        points: which points each of these may give, by path.
    """

    handed: dict[str, bytes]
    solved: dict[str, bytes]
    beside: dict[str, bytes]
    tests: dict[str, str]
    points: dict[str, list[str]]

    def source(self) -> dict[str, list[str]]:
        """What ``Source`` is made of: the classes that the teacher knows."""
        programs = [each for name, each in self.solved.items() if name.endswith(".py")]
        return {"cells": [each.decode() for each in programs], "locked": []}

    def notebook(self, files: Mapping[str, bytes]) -> dict[str, Any]:
        """What is graded of a student's files, from ``theirs``, as a notebook."""
        found, room = [cells.cell("code", _PUPILS)], SHOWN
        for name in sorted({*theirs(self.handed), *self.solved, *files}):
            text = files.get(name, b"").decode(errors="replace").replace("```", "` ` `")
            text, room = text[:room], max(0, room - len(text))
            found.append(cells.cell("markdown", f"**{name}**\n\n```python\n{text}\n```"))
        lines = [
            f"    {name!r}: [{cells.literal(text)}, {self.points[name]!r}],"
            for name, text in self.tests.items()
        ]
        tests = [
            "# The tests, and the points that they give.",
            "from provision.guest.assignments.tmc.exam import check_point",
            *("tests = {", *lines, "}"),
        ]
        known = {"nbgrader": cells.about("tests", grade=True, points=0, locked=True)}
        found.append(cells.cell("code", "\n".join(tests), known))
        for point in sorted({point for each in self.points.values() for point in each}):
            known = {"nbgrader": cells.about(point, grade=True, points=1, locked=True)}
            found.append(cells.cell("code", f"check_point(globals(), {point!r}, tests)", known))
        return cells.book(found, {"kernelspec": {"name": "python3", "display_name": "Python 3"}})


def theirs(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """What of a folder that was handed in counts."""
    return {name: each for name, each in files.items() if name.startswith(_SOURCE)}


def read(files: Mapping[str, bytes]) -> Exercise:
    """Read an exercise.

    Args:
        files: all of its folder, by path.

    Raises:
        ExerciseError: it has a mistake, or what cannot be carried over; file and line are named.
    """
    for name in files:
        if name.endswith(".ipynb"):
            raise ExerciseError(
                f"{name} is a notebook, in an exercise of TMC's form ({_TESTS}, {PROJECT}): put"
                " them into two folders, which are two assignments"
            )
    _check_project(files.get(PROJECT, b""))
    handed, solved, beside, tests = {}, {}, {}, {}
    for name, content in files.items():
        text = _text(name, content)
        try:
            left = content if text is None else strip(name, text)
        except ValueError as error:
            raise ExerciseError(str(error)) from None
        if left is not None and "hidden" not in name.lower():
            handed[name] = left if isinstance(left, bytes) else left.encode()
        if name.startswith(_TESTS) and name.endswith(".py"):
            tests[name] = text or ""
        elif name.startswith(_SOURCE):
            solved[name] = content
        elif name in handed and not name.startswith(_RUNNER) and name != PROJECT:
            beside[name] = handed[name]  # programs of students can read it
    if not any(name.endswith(".py") for name in solved):
        raise ExerciseError(f"there is no program in {_SOURCE}: put the solution there")
    points = {name: list(_points(name, text)) for name, text in tests.items()}
    if not any(points.values()):
        raise ExerciseError(f"no test in {_TESTS} gives points: write @points('1.1') above one")
    _check_names(point for each in points.values() for point in each)
    return Exercise(handed, solved, beside, tests, points)


def _check_names(points: Iterable[str]) -> None:
    known: dict[str, str] = {}
    for point in points:
        if known.setdefault(cells.identity(point), point) != point:
            raise ExerciseError(
                f"the points {known[cells.identity(point)]!r} and {point!r} are told apart by"
                " letters, digits, - and _ only: rename one"
            )


def _text(name: str, content: bytes) -> str | None:
    """A file's text, which an editor's copy of a program has, too; None: it has none."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        if name.endswith(".py"):
            raise ExerciseError(f"{name} is no UTF-8: save it so") from None
        return None
    # Python knows this end of a line, too.
    return re.sub("\r\n?", "\n", text) if name.endswith(".py") else text


def _check_project(project: bytes) -> None:
    try:
        told = yaml.safe_load(project) or {}
    except yaml.YAMLError as error:
        at = getattr(error, "problem_mark", None)
        line = at.line + 1 if at else 1
        why = getattr(error, "problem", error)
        raise ExerciseError(f"{PROJECT}, line {line}: {why}; write it as 'key: value'") from None
    if not isinstance(told, dict):
        raise ExerciseError(f"{PROJECT} says {told!r}: write it as 'key: value'")
    for key, why in _REFUSED.items():
        if told.get(key):
            raise ExerciseError(f"{PROJECT}: {key}: {told[key]!r}: {why}")


def _points(name: str, text: str) -> Iterator[str]:
    """The points that a file of tests may give."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise ExerciseError(f"{name}, line {line}: {error.args[0]}: it is no Python") from None
    for kind in (each for each in tree.body if isinstance(each, ast.ClassDef)):
        yield from _names_at(name, kind)
        before: dict[str, int] = {}
        for test in (each for each in kind.body if isinstance(each, ast.FunctionDef)):
            if test.name.startswith("test") and test.name in before:
                raise ExerciseError(
                    f"{name}, line {test.lineno}: {kind.name} has {test.name} in line"
                    f" {before[test.name]}, too, which never runs: rename one"
                )
            before[test.name] = test.lineno
            yield from _names_at(name, test)


def _names_at(name: str, what: ast.ClassDef | ast.FunctionDef) -> Iterator[str]:
    for each in what.decorator_list:
        called = each.func if isinstance(each, ast.Call) else each
        if getattr(called, "id", getattr(called, "attr", "")) != "points":
            continue
        given = each.args if isinstance(each, ast.Call) else []
        if not given:
            raise ExerciseError(f"{name}, line {each.lineno}: @points has no name: write '1.1'")
        for point in given:
            value = point.value if isinstance(point, ast.Constant) else None
            if not isinstance(value, str) or not value.split():
                said = ast.unparse(point)
                raise ExerciseError(
                    f"{name}, line {each.lineno}: points({said}) is no name of points: write it"
                    " as points('1.1')"
                )
            yield from value.split()
