"""Which hand-ins count as alike: copies, renamed or not; not what all have, or can hardly avoid."""

import json
import re
from typing import Any

import pytest

from provision.guest.assignments import similar
from provision.guest.assignments.similar import alike, beside

COPIED = """
def mean(numbers):
    total = 0
    for each in numbers:
        total += each
    if not numbers:
        raise ValueError("nothing to take a mean of")
    return total / len(numbers)
"""
RENAMED = COPIED.replace("numbers", "xs").replace("total", "s").replace("each", "x") + "# my own"
OWN = """
from functools import reduce
def mean(values):
    while len(values) == 0:
        return None
    return reduce(lambda a, b: a + b, values) * (1 / len(values))
"""


def notebook(*sources: Any, locked: str = "", language: str = "python") -> dict[str, str]:
    cells = [{"cell_type": "code", "source": source, "metadata": {}} for source in sources]
    about = {"nbgrader": {"locked": True}}
    cells.append({"cell_type": "code", "source": locked, "metadata": about})
    kernel = {"kernelspec": {"name": "k", "language": language}}
    return {"work": json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4})}


def pairs(handed: dict[str, Any], given: dict[str, str] | None = None) -> list[tuple[Any, ...]]:
    told = alike(given or notebook(), handed)
    return [(*pair["students"], pair["share"]) for pair in told["pairs"]]


def test_a_copy_is_found_though_all_is_renamed() -> None:
    handed = {"a": notebook(COPIED), "b": notebook(RENAMED), "c": notebook(OWN)}
    assert pairs(handed) == [("a", "b", 1.0)]


def test_lists_of_lines_are_read_too() -> None:
    lines = COPIED.splitlines(keepends=True)
    assert pairs({"a": notebook(lines), "b": notebook(COPIED)}) == [("a", "b", 1.0)]


def test_what_was_handed_out_or_is_locked_is_no_likeness() -> None:
    handed = {name: notebook(COPIED, f"{name} = 1", locked=OWN) for name in "ab"}
    assert pairs(handed, notebook(COPIED, locked=OWN)) == []


def test_what_half_of_the_class_writes_is_no_likeness() -> None:
    handed = {f"s{number}": notebook(COPIED) for number in range(6)}
    assert pairs(handed) == []


def test_short_answers_are_alike_by_themselves() -> None:
    assert pairs({"a": notebook("return 2 * n"), "b": notebook("return 2 * n")}) == []


def test_texts_and_unknown_languages_count_by_their_words() -> None:
    text = "A group is a set with one operation that is associative, and each has its inverse."
    given = notebook(language="no-such-language")
    assert pairs({name: notebook(text) for name in "ab"}, given) == [("a", "b", 1.0)]


CELL = {"cell_type": "code", "source": COPIED}


@pytest.mark.parametrize(
    "hidden",
    [
        notebook(COPIED, language="javascript"),
        notebook(COPIED, language="text"),
        notebook(locked=COPIED),
        {"work": json.dumps({"cells": [{"source": 5, "cell_type": "code"}, CELL]})},
        {"work": json.dumps({"cells": [{**CELL, "metadata": []}], "metadata": 7})},
    ],
)
def test_a_copier_cannot_hide_by_what_a_notebook_says_of_itself(hidden: dict[str, str]) -> None:
    assert pairs({"a": notebook(RENAMED), "b": hidden, "c": notebook(OWN)}) == [("a", "b", 1.0)]


def test_who_takes_too_long_is_named_and_stops_nobody() -> None:
    slow = notebook("\n".join("'" * number for number in range(400)) + "\\" * 50_000)
    handed = {
        "a": notebook(COPIED),
        "b": notebook(RENAMED),
        "blank": notebook(" \n" * 40_000 + "x"),
    }
    told = alike(notebook(), {**handed, "slow": slow})
    assert [pair["students"] for pair in told["pairs"]] == [["a", "b"]]
    assert "blank" not in told["unread"]
    with pytest.raises(TimeoutError), similar._within(0.1):
        re.fullmatch(r"(a+)+b", "a" * 40)


def test_what_is_shown_has_an_end() -> None:
    told = beside(
        notebook(), notebook("x\n" * 9000 + "\ud800" + "y" * 10_000), notebook("x\n" * 9000)
    )
    (shown,) = told["notebooks"]
    assert told["cut"]
    assert len(shown["rows"]) == similar.LINES
    json.dumps(told).encode()


def test_what_is_no_notebook_stops_nobody() -> None:
    broken = {"cells": [5, {"cell_type": "code", "source": 7, "metadata": {}}]}
    handed: dict[str, Any] = {
        **{"a": notebook(COPIED), "b": notebook(RENAMED)},
        **{"x": {"work": "no JSON"}, "y": {"work": "[" * 100_000}, "z": {"work": "[1]"}},
        **{"u": {"work": json.dumps(broken)}, "v": {"work": "{}"}, "w": {}},
    }
    assert pairs(handed) == [("a", "b", 1.0)]
    shown = beside(notebook(), handed["a"], handed["y"])
    assert shown["notebooks"][0]["rows"][1][1:] == ["", False]


def test_the_most_alike_come_first() -> None:
    half = COPIED.partition("    if not")[0] + OWN
    handed = {
        "a": notebook(COPIED),
        "b": notebook(RENAMED),
        "c": notebook(half),
        "d": notebook(OWN),
    }
    handed |= {f"s{number}": notebook(f"print({number})") for number in range(4)}
    found = pairs(handed)
    assert found[0] in (("a", "b", 1.0), ("c", "d", 1.0))
    assert [share for *_, share in found] == sorted((share for *_, share in found), reverse=True)


def test_two_are_shown_line_by_line() -> None:
    told = beside(notebook("given"), notebook("given", "a\nb\nc"), notebook("given", "a\nB\nc\nd"))
    (shown,) = told["notebooks"]
    assert not told["cut"]
    assert shown["notebook"] == "work"
    assert shown["rows"][:4] == [
        ["a", "a", True],
        ["b", "B", False],
        ["c", "c", True],
        ["", "d", False],
    ]
