"""The test cells of a question, read.

Source: otter-grader 7, "Otter Assign Format" and "Python Test Files".
"""

import ast
import re
from dataclasses import dataclass
from typing import Any

import yaml

from provision.guest.assignments.otter import points

_BEGIN = re.compile(r'(?:.\s*=\s*)?""?"?\s*#\s*BEGIN\s*TEST\s*CONFIG', re.IGNORECASE)
_END = re.compile(r'""?"?\s*#\s*END\s*TEST\s*CONFIG', re.IGNORECASE)
_HIDDEN = re.compile(r"\bhidden\b", re.IGNORECASE)
_KEYS = ("name", "hidden", "points", "success_message", "failure_message")


@dataclass(frozen=True)
class Case:
    """A test of a question.

    Args:
        code: a doctest, or a function.
        hidden: whether students do not see it.
        points: of its own; None: not said.
        call: the function's name; empty: it is a doctest.
        success, failure: what is said when it passes or does not.
    """

    code: str
    hidden: bool = False
    points: float | None = None
    call: str = ""
    success: str = ""
    failure: str = ""


def read_doctest(cell: dict[str, Any]) -> Case:
    """A cell whose statements are run, and show what they showed the teacher.

    Args:
        cell: with its outputs.

    Raises:
        ValueError: it is none; in words.
    """
    told, tree = _read(cell["source"])
    shown = "".join(map(_output, cell["outputs"]))
    if not tree.body:
        raise ValueError("the test is empty: write it, or leave the cell out")
    if isinstance(tree.body[-1], ast.Expr) and cell.get("execution_count") is None and not shown:
        raise ValueError("the test was never run: run the notebook and save it with its outputs")
    code = [line for statement in tree.body for line in _prompt(ast.unparse(statement))]
    return _test(told, "\n".join([*code, *shown.rstrip("\n").split("\n")]).rstrip("\n"))


def read_call(cell: dict[str, Any]) -> Case:
    """A cell with a function that raises an exception if the test fails.

    Raises:
        ValueError: it is none; in words.
    """
    told, tree = _read(cell["source"])
    first = tree.body[0] if tree.body else None
    if not isinstance(first, ast.FunctionDef) or len(tree.body) > 2:
        raise ValueError("a test is one function here, and a call of it: put all else into it")
    return _test(told, ast.unparse(first), first.name)


def _test(told: dict[str, Any], code: str, call: str = "") -> Case:
    given = told.get("points")
    return Case(
        code,
        bool(told.get("hidden")),
        None if given is None else points.number(given),
        call,
        str(told.get("success_message") or ""),
        str(told.get("failure_message") or ""),
    )


def _read(source: str) -> tuple[dict[str, Any], ast.Module]:
    """What a test says of itself, and its statements."""
    try:
        ast.parse(source)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        text = source.split("\n")[line - 1].strip()
        raise ValueError(f"line {line} of the test, {text!r}, is no Python: mend it") from None
    rows = source.split("\n")
    told: dict[str, Any] = {}
    if rows[0].lstrip().startswith("#"):
        told["hidden"] = bool(_HIDDEN.search(rows[0]))
    if _BEGIN.match(rows[0]):
        end = next((n for n, row in enumerate(rows) if _END.match(row)), None)
        if end is None:
            raise ValueError('BEGIN TEST CONFIG without \'""" # END TEST CONFIG\' after it')
        text = "\n".join(rows[1:end])
        try:
            found = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"its TEST CONFIG, {text!r}, is no YAML: {error}") from None
        if not isinstance(found, dict):
            raise ValueError(f"its TEST CONFIG says {found!r}: write keys, as 'points: 2'")
        for key in found:
            if key not in _KEYS:
                raise ValueError(f"there is no key {key!r} of a test; keys: {', '.join(_KEYS)}")
        told |= found
        rows = rows[end + 1 :]
    tree = ast.parse("\n".join(rows))
    for node in ast.walk(tree):  # what a type is called is not known where the test is run
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
    return told, tree


def _prompt(statement: str) -> list[str]:
    first, *rest = statement.split("\n")
    return [f">>> {first}", *(f"... {line}" for line in rest)]


def _output(output: dict[str, Any]) -> str:
    found = output.get("text") or output.get("data", {}).get("text/plain") or ""
    return found if isinstance(found, str) else "".join(found)
