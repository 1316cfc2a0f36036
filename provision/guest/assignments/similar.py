"""Which hand-ins of an assignment are alike: a hint to teachers, in a process without rights.

As MOSS does it (Schleimer, Wilkerson and Aiken, "Winnowing", SIGMOD 2003): of each hand-in the runs
of a few tokens, without comments and with every name as good as any other; what was given to all,
and what half of the class has written, is no likeness. Pygments knows what tokens are.

Nothing that a student's notebook says of itself is believed: its language and what was locked are
those of what was handed out. One that takes too long is left out, and named.

A request is a line of JSON on standard input, the answer one on standard output.
"""

import contextlib
import difflib
import itertools
import json
import re
import resource
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]
from pygments.token import Comment, Name  # type: ignore[import-untyped]
from pygments.util import ClassNotFound  # type: ignore[import-untyped]

RUN = 6  # tokens
FEWEST = 12  # runs of a hand-in's own: with fewer, all that is right is alike
LEAST = 0.6  # of the runs of the smaller one
SHOWN = 100  # pairs
LARGEST = 100_000  # characters of a notebook's cells; the rest is not looked at
LINES, WIDEST = 1500, 400  # of a notebook that is shown, characters of a line
SECONDS = 1.0  # for one student
MEMORY = 2 << 30
_WORD = re.compile(r"\w+|[^\w\s]")
Notebooks = Mapping[str, str]


def alike(given: Notebooks, handed: Mapping[str, Notebooks]) -> dict[str, Any]:
    """The pairs that have most in common.

    Args:
        given: what was handed out, by notebook.
        handed: what each student has handed in, likewise; what is no notebook counts for nothing.

    Returns:
        ``pairs``: of each two names, ``students``, and ``share``, of 1, of what the smaller one
        has of its own; the most alike first. ``unread``: who could not be compared.
    """
    known = _runs(given, given)
    runs, unread = {}, []
    for student, notebooks in handed.items():
        try:
            with _within(SECONDS):
                runs[student] = _runs(notebooks, given) - known
        except TimeoutError:
            unread.append(student)
    common = Counter(itertools.chain.from_iterable(runs.values()))
    most = max(2, len(runs) // 2)
    own = {
        student: kept
        for student, each in runs.items()
        if len(kept := {run for run in each if common[run] <= most}) >= FEWEST
    }
    found: list[dict[str, Any]] = []
    for one, other in itertools.combinations(sorted(own), 2):
        share = len(own[one] & own[other]) / min(len(own[one]), len(own[other]))
        if share >= LEAST:
            found.append({"students": [one, other], "share": round(share, 3)})
    found.sort(key=lambda pair: -float(pair["share"]))
    return {"pairs": found[:SHOWN], "unread": sorted(unread)}


def beside(given: Notebooks, one: Notebooks, other: Notebooks) -> dict[str, Any]:
    """Two hand-ins side by side, notebook by notebook, without the cells that were given.

    Returns:
        ``notebooks``, each with its ``notebook`` and ``rows`` of what each has there and whether it
        is the same; a row is one line, or an empty text where one of them has nothing. ``cut``:
        there is more than is shown.
    """
    shown = [
        {"notebook": name, "rows": _rows(*(_lines(each.get(name, ""), given.get(name, ""))
                                           for each in (one, other)))}
        for name in sorted({*one, *other})
    ]  # fmt: skip
    cut = any(len(each["rows"]) >= LINES for each in shown)
    return {"notebooks": shown, "cut": cut}


@contextlib.contextmanager
def _within(seconds: float) -> Iterator[None]:
    """End what takes longer; a pattern that is at work looks for signals, too.

    Raises:
        TimeoutError: it did.
    """

    def over(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _rows(left: list[str], right: list[str]) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, left, right).get_opcodes():
        pairs = itertools.zip_longest(left[a:b], right[c:d], fillvalue="")
        rows += [[one, other, kind == "equal"] for one, other in pairs]
    return rows[:LINES]


def _lines(text: str, given: str) -> list[str]:
    known = {source for _, source in _cells(given)}
    cells = [source for _, source in _cells(text) if source not in known]
    lines = [line[:WIDEST] for source in cells for line in (*_compact(source).splitlines(), "")]
    return lines[:LINES]


def _compact(source: str) -> str:
    """A text without empty lines and what follows its lines: many of them cost time, no tokens."""
    return "\n".join(line.rstrip() for line in source.splitlines() if line.strip())


def _cells(text: str) -> Iterator[tuple[bool, str]]:
    """Whether it is code, and the text of each cell; none of what is no notebook."""
    try:
        cells = list(json.loads(text)["cells"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return
    left = LARGEST
    for cell in cells:
        with contextlib.suppress(LookupError, TypeError, AttributeError):
            source = cell["source"]
            source = source if isinstance(source, str) else "".join(source)
            source = source[:left].encode(errors="replace").decode()  # half a character is none
            left -= len(source)
            yield cell["cell_type"] == "code", source


def _language(given: str) -> str:
    """The language of a notebook that was handed out."""
    with contextlib.suppress(ValueError, LookupError, AttributeError):
        told = json.loads(given)["metadata"]["kernelspec"]
        return str(told.get("language") or "python")
    return "python"


def _runs(notebooks: Notebooks, given: Notebooks) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for name, text in notebooks.items():
        language = _language(given.get(name, ""))
        for code, source in _cells(text):
            tokens = list(_tokens(language if code else "", _compact(source)))
            found.update(zip(*(tokens[start:] for start in range(RUN)), strict=False))
    return found


def _tokens(language: str, source: str) -> Iterator[str]:
    """The tokens of a program, without what says nothing; the words of a text."""
    lexer = None
    with contextlib.suppress(ClassNotFound):
        lexer = get_lexer_by_name("python" if language == "sage" else language)
    if not language or lexer is None:
        yield from (word.casefold() for word in _WORD.findall(source))
        return
    for kind, value in lexer.get_tokens(source):
        if kind in Comment or not value.strip():
            continue
        yield "name" if kind in Name and kind not in Name.Builtin else value


def main() -> None:
    """Answer one request: ``given``, and ``handed`` or ``one`` and ``other``."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    request = json.loads(sys.stdin.readline())
    told = alike(**request) if "handed" in request else beside(**request)
    print(json.dumps(told))  # noqa: T201 - a program's answer


if __name__ == "__main__":
    main()
