"""Which hand-ins of an assignment are alike: a hint to teachers, in a process without rights.

As MOSS does it (Schleimer, Wilkerson and Aiken, "Winnowing", SIGMOD 2003): of each hand-in the runs
of a few tokens, without comments and with every name as good as any other; what was given to all,
and what half of the class has written, is no likeness. Pygments knows what tokens are.

A request is a line of JSON on standard input, the answer one on standard output.
"""

import difflib
import itertools
import json
import re
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
LARGEST = 200_000  # characters of a hand-in that are looked at
_WORD = re.compile(r"\w+|[^\w\s]")
Notebooks = Mapping[str, str]


def alike(given: Notebooks, handed: Mapping[str, Notebooks]) -> list[dict[str, Any]]:
    """The pairs that have most in common.

    Args:
        given: what was handed out, by notebook.
        handed: what each student has handed in, likewise; what is no notebook counts for nothing.

    Returns:
        ``students``, two names, and ``share``, of 1, of what the smaller one has of its own;
        the most alike first.
    """
    known = _runs(given)
    runs = {student: _runs(notebooks) - known for student, notebooks in handed.items()}
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
    return sorted(found, key=lambda pair: -float(pair["share"]))[:SHOWN]


def beside(one: Notebooks, other: Notebooks) -> list[dict[str, Any]]:
    """Two hand-ins side by side, notebook by notebook.

    Returns:
        ``notebook``, and ``rows`` of what each has there and whether it is the same; a row is one
        line, or an empty text where one of them has nothing.
    """
    return [
        {"notebook": name, "rows": _rows(_lines(one.get(name, "")), _lines(other.get(name, "")))}
        for name in sorted({*one, *other})
    ]


def _rows(left: list[str], right: list[str]) -> list[list[Any]]:
    rows: list[list[Any]] = []
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        pairs = itertools.zip_longest(left[a:b], right[c:d], fillvalue="")
        rows += [[one, other, kind == "equal"] for one, other in pairs]
    return rows


def _lines(text: str) -> list[str]:
    return [line for _, source in _cells(text) for line in [*source.splitlines(), ""]][:-1]


def _cells(text: str) -> Iterator[tuple[str, str]]:
    """Language and text of each cell that a student may write; none of what is no notebook."""
    try:
        notebook = json.loads(text)
        metadata = notebook.get("metadata", {})
        language = metadata.get("kernelspec", {}).get("language") or "python"
        for cell in notebook["cells"]:
            if cell.get("metadata", {}).get("nbgrader", {}).get("locked"):
                continue
            source = cell.get("source", "")
            source = source if isinstance(source, str) else "".join(source)
            yield (str(language) if cell["cell_type"] == "code" else ""), source[:LARGEST]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return


def _runs(notebooks: Notebooks) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for text in notebooks.values():
        for language, source in _cells(text):
            tokens = list(_tokens(language, source))
            found.update(zip(*(tokens[start:] for start in range(RUN)), strict=False))
    return found


def _tokens(language: str, source: str) -> Iterator[str]:
    """The tokens of a program, without what says nothing; the words of a text."""
    try:
        lexer = get_lexer_by_name("python" if language in ("sage", "") else language)
    except ClassNotFound:
        lexer = None
    if not language or lexer is None:
        yield from (word.casefold() for word in _WORD.findall(source))
        return
    for kind, value in lexer.get_tokens(source):
        if kind in Comment or not value.strip():
            continue
        yield "name" if kind in Name and kind not in Name.Builtin else value


def main() -> None:
    """Answer one request: ``given`` and ``handed``, or ``one`` and ``other``."""
    request = json.loads(sys.stdin.readline())
    told = alike(**request) if "handed" in request else beside(**request)
    print(json.dumps(told))  # noqa: T201 - a program's answer


if __name__ == "__main__":
    main()
