"""What is wrong with a configuration, drawn into the user's own text."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from provision.errors import ConfigError

Key = tuple[str | int, ...]
"""A key's way from the top: ``("disks", "root", "size")``; a number for an item of a list."""

_CLIP = 120


@dataclass(frozen=True)
class Spot:
    """A place in something that the user wrote.

    Args:
        source: the file, environment variable or option.
        text: the whole line.
        line: from 1; 0 where lines mean nothing, as in an environment variable.
        column: from 1.
        width: length of the value, in characters.
    """

    source: str
    text: str
    line: int
    column: int
    width: int

    def __str__(self) -> str:
        """``file:line:column``, as editors open it."""
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source

    @property
    def value(self) -> str:
        """The text that is pointed at."""
        return self.text[self.column - 1 : self.column - 1 + self.width]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Args:
        key: the key concerned.
        message: what is wrong with it.
        mend: what to write instead.
        others: further keys that could be changed to mend it.
        spot: where it was written; None as long as that is not known.
    """

    key: Key
    message: str
    mend: str = ""
    others: tuple[Key, ...] = ()
    spot: Spot | None = None

    def draw(self) -> str:
        """The place, what is wrong, the user's line and the mend below the value."""
        name = dotted_key(self.key)
        header = ": ".join(part for part in (str(self.spot or ""), name, self.message) if part)
        if self.spot is None:
            return f"{header}\n  {self.mend}" if self.mend else header
        gutter = f"{self.spot.line} | " if self.spot.line else "| "
        start = max(0, self.spot.column - 1 - _CLIP // 2)
        shown = _visible(_mask(self.spot.text))[start : start + _CLIP]
        before = shown[: self.spot.column - 1 - start]
        under = shown[len(before) : len(before) + self.spot.width]
        carets = "^" * max(1, cell_len(under))
        blank = " " * (len(gutter) - 2) + "| " + " " * cell_len(before)
        return f"{header}\n  {gutter}{shown}\n  {blank}{carets} {self.mend}".rstrip()


class InvalidConfigError(ConfigError):
    """A configuration with problems; all of them are told at once.

    Args:
        problems: at least one.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        ordered = sorted(problems, key=_reading_order)
        count = "1 problem" if len(ordered) == 1 else f"{len(ordered)} problems"
        drawn = "\n\n".join(problem.draw() for problem in ordered)
        super().__init__(f"{count} in the configuration\n\n{drawn}\n")
        self.problems = tuple(ordered)


def dotted_key(key: Key) -> str:
    """``disks.root.size``, ``packages[2]``."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{_visible(part)}"
    return text.removeprefix(".")


def split(text: str) -> tuple[str, str]:
    """A sentence ``what is wrong; what to write`` as its two halves."""
    message, _, mend = text.partition("; ")
    return message, mend


def enumeration(words: Iterable[object]) -> str:
    """``a, b or c``."""
    *head, last = [str(word) for word in words]
    return f"{', '.join(head)} or {last}" if head else last


def _reading_order(problem: Problem) -> tuple[bool, str, int, int]:
    spot = problem.spot
    if spot is None:
        return (True, "", 0, 0)
    return (not spot.line, spot.source, spot.line, spot.column)


def _mask(text: str) -> str:
    """As long as before, without what may be the user and password of a URL."""
    return re.sub(r"(?<=://)\S+(?=@)", lambda found: "*" * len(found[0]), text)


def _visible(text: str) -> str:
    """One cell or more for each character: nothing that a terminal would obey."""
    return "".join(
        "→" if c == "\t" else c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text
    )
