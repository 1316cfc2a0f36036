"""The books that a session shows, what can be found in them, and the page that offers both.

All of it are root's files. The lists of names are read anew for each search and not kept: they are
larger than what a session should hold, and the system keeps them in memory once for all.
"""

import heapq
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tornado.template import Template

from provision.guest.words import language, say

KNOWN = Path("/usr/local/share/documentation/books.json")
MOST = 15  # of each book
LONGEST = 100  # characters that are looked for
# No script or style but the books' own, nothing from elsewhere: {own} is where they are.
POLICY = (
    "default-src 'none'; script-src {own}; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'self'"
)
SHORT = {"np": "numpy", "pd": "pandas", "plt": "matplotlib.pyplot", "sp": "sympy"}
HOST = re.compile(r"[A-Za-z0-9.:\[\]-]+")
PATH = re.compile(r"[\w@%./~+-]*", re.ASCII)


@dataclass(frozen=True)
class Volume:
    """A book that is there.

    Args:
        name: in addresses.
        title: for people.
        place: its directory.
        names: the file of what may be looked up in it.
    """

    name: str
    title: str
    place: Path
    names: Path


@dataclass(frozen=True, order=True)
class Hit:
    """A name that was looked for; the first in order is the best.

    Args:
        rank: how near it is to what was asked, and how far down it belongs.
        name: of a function, say, or of a chapter.
        where: a module, say.
        address: below the book.
    """

    rank: tuple[int, int, int]
    name: str
    where: str
    address: str


def books(known: Path = KNOWN) -> list[Volume]:
    """The books that this session sees: an exam's sees none of a Sage that it has not."""
    try:
        told = json.loads(known.read_text())
    except OSError:
        return []
    found = (Volume(b["name"], b["title"], Path(b["place"]), Path(b["names"])) for b in told)
    return [book for book in found if (book.place / "index.html").exists()]


def policy(host: str, base: str) -> str:
    """What the books' pages may do, as ``Content-Security-Policy`` has it.

    Args:
        host: as the browser has asked for it.
        base: the path of the documentation, with a slash at its end.
    """
    own = f"{host}{base}" if HOST.fullmatch(host) and PATH.fullmatch(base) else "'none'"
    return POLICY.format(own=own)


def search(book: Volume, query: str, most: int = MOST) -> list[Hit]:
    """What a book has of a name, the best first.

    Args:
        book: the book.
        query: the name or a part of it.
        most: how many.
    """
    wanted = " ".join(query[:LONGEST].split())
    if not wanted:
        return []
    try:
        with book.names.open(encoding="utf-8") as lines:
            return heapq.nsmallest(most, _matches(lines, wanted))
    except OSError:
        return []


def _matches(lines: Iterable[str], wanted: str) -> Iterator[Hit]:
    """Of ``numpy.sin``, say, the last part is a name, and the rest is where it is."""
    low, (head, _, last) = wanted.lower(), wanted.rpartition(".")
    head, last = SHORT.get(head, head).lower(), last.lower()
    for line in lines:
        if last not in line.lower():
            continue
        name, where, address, weight = line.rstrip("\n").split("\t")
        near = _nearness(name, wanted, low)
        if near is None and head and name.lower() == last and head in where.lower():
            near = 0 if head == where.lower() else 2
        if near is not None:
            yield Hit((near, int(weight), len(name)), name, where, address)


def _nearness(name: str, wanted: str, low: str) -> int | None:
    """How far a name is from what was asked; None: it is another."""
    lower = name.lower()
    if name == wanted:
        return 0
    if lower == low:
        return 1
    if lower.endswith(f".{low}"):
        return 2
    if lower.startswith(low):
        return 3
    return 4 if low in lower else None


def page(query: str, shelf: Sequence[Volume], base: str, lab: str) -> bytes:
    """The page: a field, what it has found, and the books.

    Args:
        query: what was asked; empty: nothing yet.
        shelf: from ``books``.
        base: its own address, with a slash at its end.
        lab: the address of the notebook.
    """
    found = [(book, search(book, query)) for book in shelf] if query.strip() else []
    found = sorted((each for each in found if each[1]), key=lambda each: each[1][0].rank[:2])
    told = say("Nothing has this name. Try a part of it.")
    if found:
        told = say("Found: {count}", count=sum(len(names) for _, names in found))
    return _PAGE.generate(
        **{"query": query, "shelf": shelf, "found": found, "base": base, "lab": lab},
        language=language(),
        quote=lambda text: quote(text, safe="/#.,:+$()=~"),
        title=say("Documentation"),
        back=say("Back to the notebook"),
        ask=say("Name of a function, a module or a chapter"),
        go=say("Search"),
        told=told,
        all_books=say("Books"),
        none=say("There are none in this session."),
    )


_PAGE = Template("""\
<!DOCTYPE html>
<html lang="{{ language }}"><head><meta charset="utf-8">
<title>{% if query %}{{ query }} – {% end %}{{ title }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
  :root { color-scheme: light dark; }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 0 auto; padding: 1rem; }
  input, button { font: inherit; padding: .4rem .7rem; } input { flex: 1; min-width: 8rem; }
  .field { display: flex; gap: .5rem; flex-wrap: wrap; } li { margin: .3rem 0; overflow-wrap: anywhere; }
  h2 { margin: 1.5rem 0 .3rem; font-size: 1.1rem; } ul { margin: 0; padding-left: 1.2rem; }
  a { text-decoration: underline; padding: .15rem 0; } :focus-visible { outline: 3px solid #b84a00; outline-offset: 2px; }
</style></head><body>
<nav><a href="{{ lab }}">{{ back }}</a></nav>
<main><h1>{{ title }}</h1>
<form role="search" action="{{ base }}" method="get">
<label for="q">{{ ask }}</label>
<div class="field"><input id="q" name="q" type="search" value="{{ query }}" maxlength="100"{% if not query %} autofocus{% end %}>
<button>{{ go }}</button></div></form>
{% if query %}<p role="status">{{ told }}</p>
{% for book, names in found %}<section><h2>{{ book.title }}</h2><ul>
{% for each in names %}<li><a href="{{ base }}{{ book.name }}/{{ quote(each.address) }}">{{ each.name }}</a> {{ each.where }}</li>
{% end %}</ul></section>{% end %}{% end %}
<h2>{{ all_books }}</h2>
{% if shelf %}<ul>{% for book in shelf %}<li><a href="{{ base }}{{ book.name }}/index.html">{{ book.title }}</a></li>
{% end %}</ul>{% else %}<p>{{ none }}</p>{% end %}
</main></body></html>
""")  # noqa: E501
