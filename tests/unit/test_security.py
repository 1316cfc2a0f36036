"""docs/security.md names tests and rows of `verify`: all of them are there."""

import re
from collections.abc import Iterator
from pathlib import Path

from provision.config import Config
from provision.verify.registry import judge

ROOT = Path(__file__).parents[2]
TESTS = [path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py")]
DEFINED = {path: re.findall(r"^def (test_\w+)", (ROOT / path).read_text(), re.M) for path in TESTS}
NAMED = re.compile(r"`([\w/]+\.py|…|)(?:::(test_\w+)(…?))?`")


def rows() -> Iterator[list[str]]:
    """The tables' rows that say what is promised and which test proves it."""
    for line in (ROOT / "docs/security.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if line.startswith("| ") and len(cells) > 2 and "test_" in cells[2]:
            yield cells


def test_every_test_that_it_names_is_there() -> None:
    lost, named = [], 0
    for promise, _, tests, *_ in rows():
        files: list[Path] = []
        for file, test, cut in NAMED.findall(tests):
            if file.endswith(".py"):
                files = [path for path in TESTS if f"/{path}".endswith(f"/{file}")]
            there = [each for path in files for each in DEFINED[path]]
            found = any(each.startswith(test) if cut else each == test for each in there)
            named += 1
            if not files or (test and not found):
                lost.append(f"{promise}: {file}::{test}")
    assert lost == []
    assert named > 90


def test_every_row_of_verify_that_it_names_is_there() -> None:
    there = {row.name for row in judge(Config(), {})}
    named = {
        name for _, _, _, *last in rows() for name in re.findall(r"`([\w-]+)`", *last[:1] or [""])
    }
    assert named - there == set()
    assert len(named) > 30
