"""What is left of a cell's text for students, by otter-grader's words at the ends of its lines.

Source: otter-grader 7, "Otter Assign Format", solution removal.
"""

import re

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
    inside = False
    for line in text.split("\n"):
        bare = line.rstrip()
        if bare.endswith(_IGNORE_END):
            if not inside:
                raise ValueError(f"{bare.strip()!r} without BEGIN IGNORE before it")
            inside = False
        elif _IGNORE.match(line):
            if inside:
                raise ValueError("BEGIN IGNORE stands within another")
            inside = True
        elif not inside and not bare.endswith(_IGNORED) and not _OTTER.match(line):
            found.append(line)
    if inside:
        raise ValueError(f"BEGIN IGNORE without {_IGNORE_END!r} after it")
    return "\n".join(found)


def drop_solution(text: str) -> str:
    """A cell without its solution.

    Raises:
        ValueError: a solution has no beginning or no end; in words.
    """
    found: list[str] = []
    inside = False
    for line in text.split("\n"):
        bare = line.rstrip()
        if bare.endswith(_END):
            if not inside:
                raise ValueError(f"{bare.strip()!r} without BEGIN SOLUTION before it")
            inside = False
        elif begin := _BEGIN.match(line):
            if inside:
                raise ValueError("BEGIN SOLUTION stands within another")
            inside = True
            if not begin[2]:
                found.append(f"{begin[1]}...")
        elif inside or bare.endswith(_WORDS):
            continue
        elif assigned := _ASSIGNED.match(line):
            found.append(f"{assigned[1]} ...")
        elif solved := _LINE.match(line):
            found.append(f"{solved[1]}...")
        else:
            found.append(line)
    if inside:
        raise ValueError(f"BEGIN SOLUTION without {_END!r} after it")
    return "\n".join(found)
