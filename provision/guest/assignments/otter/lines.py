"""What is left of a cell's text for students, by otter-grader's words at the ends of its lines.

Source: otter-grader 7, "Otter Assign Format", solution removal.
"""

import re
from collections.abc import Iterator

_WORDS = ("# SOLUTION NO PROMPT", "# BEGIN PROMPT", "# END PROMPT", "# SEED")
_BEGIN = re.compile(r"(\s*)# BEGIN SOLUTION( NO PROMPT)?")
_END = "# END SOLUTION"
_PLACE = r"[\w.]+(?:\[[^\]]*\])*"
_ASSIGNED = re.compile(rf"(\s*{_PLACE}(?:\s*,\s*{_PLACE})*\s*=)(?!=).*# ?SOLUTION")
_LINE = re.compile(r"(\s*).*# ?SOLUTION")
_IGNORE = re.compile(r"\s*#\s*BEGIN\s*IGNORE\b", re.IGNORECASE)
_IGNORED = "# IGNORE"
_IGNORE_END = "# END IGNORE"
# What otter's own notebooks begin and end with: here tests need no package.
_OTTER = re.compile(r"\s*(import otter|grader\s*=\s*otter\.Notebook\(.*\)|grader\.\w+\(.*\))\s*$")


def drop_own(text: str) -> str:
    """A cell without what nobody but the teacher has, as of the lines that say ``# IGNORE``.

    Raises:
        ValueError: a block of lines has no beginning or no end; in words.
    """
    found: list[str] = []
    for line, begin, inside in _blocks(text, "IGNORE", _IGNORE, _IGNORE_END):
        if not (begin or inside or line.rstrip().endswith(_IGNORED) or _OTTER.match(line)):
            found.append(line)
    return "\n".join(found)


def drop_solution(text: str) -> str:
    """A cell without its solution.

    Raises:
        ValueError: a solution has no beginning or no end; in words.
    """
    found: list[str] = []
    for line, begin, inside in _blocks(text, "SOLUTION", _BEGIN, _END):
        if begin:
            if not begin[2]:
                found.append(f"{begin[1]}...")
        elif inside or line.rstrip().endswith(_WORDS):
            continue
        elif assigned := _ASSIGNED.match(line):
            found.append(f"{assigned[1]} ...")
        elif solved := _LINE.match(line):
            found.append(f"{solved[1]}...")
        else:
            found.append(line)
    return "\n".join(found)


def _blocks(
    text: str, name: str, beginning: re.Pattern[str], end: str
) -> Iterator[tuple[str, re.Match[str] | None, bool]]:
    """The lines but those that end a block: how one begins a block, and whether it is inside."""
    inside = False
    for line in text.split("\n"):
        bare = line.rstrip()
        if bare.endswith(end):
            if not inside:
                raise ValueError(f"{bare.strip()!r} without BEGIN {name} before it")
            inside = False
            continue
        begin = beginning.match(line)
        if begin and inside:
            raise ValueError(f"BEGIN {name} stands within another")
        yield line, begin, inside
        inside = inside or begin is not None
    if inside:
        raise ValueError(f"BEGIN {name} without {end!r} after it")
