"""What may be looked up in the books: python3 names.py BOOKS, as root, once they are there.

BOOKS is JSON, as ``provision/config/books.py`` describes them. Of each book that brings no list of
names, one is made: a line has the name, where it is, the address below the book, and how far down
it belongs among those of the same name. ``books.json`` says where all of this is; without a book
there is none. The same books give the same bytes.
"""

import html
import json
import re
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

KNOWN = Path("/usr/local/share/documentation")
NAMES = "names.tsv"
INVENTORY = b"# Sphinx inventory version 2"
ENTRY = re.compile(r"(.+?)\s+(\S+):(\S+)\s+(-?\d+)\s+(\S*)\s+(.*)")
TITLES = ("label", "doc", "term")
# GNU Texinfo's pages: what is defined, and chapters with their numbers.
DEFINED = re.compile(
    r'<dt class="def[^"]*" id="([^"]+)">.*?<strong class="def-name">(.*?)</strong>'
)
CHAPTER = re.compile(
    r'<h[1-5] class="(?:chapter|section|subsection|appendix|unnumbered)[^"]*" id="([^"]+)">'
    r"<span>(.*?)<a class"
)
TAG = re.compile(r"<[^>]*>")
NUMBER = re.compile(r"^(?:Appendix )?[\dA-Z]+(?:\.\d+)*\.? (?=\S)")


class BookError(Exception):
    """A book that is not what it should be; the message says why."""


def main() -> None:
    """Write the lists of the books that the command line names."""
    try:
        write(json.loads(sys.argv[1]))
    except (BookError, OSError) as error:
        sys.exit(f"names.py: {error}")


def write(books: Sequence[Mapping[str, Any]], known: Path = KNOWN) -> None:
    """Write what is known of the books, in the place of what was.

    Args:
        books: each with ``name``, ``title``, ``kind`` and ``place``.
        known: the directory for it.

    Raises:
        BookError: one is not there, or has no name.
    """
    if not books:
        (known / "books.json").unlink(missing_ok=True)
        return
    known.mkdir(parents=True, exist_ok=True)
    told = []
    for book in books:
        place, names = _place(book), known / f"{book['name']}.tsv"
        if (place / NAMES).exists():
            names = place / NAMES
        else:
            found = sorted(set(names_of(book["kind"], place)))
            if not found:
                raise BookError(f"{book['name']}: {place} has no name that could be looked up")
            names.write_text("".join("\t".join(each) + "\n" for each in found), encoding="utf-8")
        told.append(
            {"name": book["name"], "title": book["title"], "place": str(place), "names": str(names)}
        )
    (known / "books.json").write_text(json.dumps(told, indent=1) + "\n")


def _place(book: Mapping[str, Any]) -> Path:
    pattern = Path(book["place"])
    # The highest number is what the distribution's newest is called: 3.9 is before 3.13.
    found = [
        path for path in pattern.parent.parent.glob("/".join(pattern.parts[-2:])) if path.is_dir()
    ]
    if not found:
        raise BookError(
            f"{book['name']}: there is no {pattern}: dpkg left it out, or no package has it"
        )
    return max(found, key=lambda path: [int(part) for part in re.findall(r"\d+", str(path))])


def names_of(kind: str, place: Path) -> Iterator[tuple[str, str, str, str]]:
    """The names of a book, by the way in which it was written."""
    if kind == "sphinx":
        yield from inventory((place / "objects.inv").read_bytes())
    else:
        for path in sorted(place.glob("*.html")):
            yield from manual(path.read_text(encoding="utf-8", errors="replace"), path.name)


def inventory(content: bytes) -> Iterator[tuple[str, str, str, str]]:
    """The names of a book that Sphinx wrote: https://sphobjinv.readthedocs.io/en/stable/syntax.html.

    Raises:
        BookError: it is of another form.
    """
    head, *_ = content.split(b"\n", 1)
    if head != INVENTORY:
        raise BookError(f"objects.inv begins with {head[:40]!r}, not with {INVENTORY.decode()!r}")
    try:
        text = zlib.decompress(content.split(b"\n", 4)[4]).decode()
    except (zlib.error, IndexError, UnicodeDecodeError) as error:
        raise BookError(f"objects.inv is damaged: {error}") from error
    for line in text.splitlines():
        if not (found := ENTRY.fullmatch(line)):
            continue
        name, domain, role, _, address, shown = found.groups()
        shown = name if shown == "-" else shown
        address = address[:-1] + name if address.endswith("$") else address
        if domain == "py":
            yield name, role, address, "0"
        elif role in TITLES:
            yield shown, "", address, "1"
        elif domain == "std" and role in ("cmdoption", "envvar", "pdbcommand", "opcode"):
            yield shown, role, address, "1"
        elif domain == "c" and role in ("function", "macro", "type", "struct"):
            yield name, "C", address, "2"


def manual(text: str, page: str) -> Iterator[tuple[str, str, str, str]]:
    """The names on a page that GNU Texinfo wrote.

    Args:
        text: the page.
        page: its address.
    """
    title = ""
    for anchor, found in CHAPTER.findall(text):
        told = _plain(NUMBER.sub("", _plain(found)))
        title = title or told
        yield told, "", f"{page}#{anchor}", "1"
    seen = set()
    for anchor, found in DEFINED.findall(text):
        name = _plain(found)
        if name not in seen:  # one for each way to call it
            seen.add(name)
            yield name, title, f"{page}#{anchor}", "0"


def _plain(text: str) -> str:
    return " ".join(html.unescape(TAG.sub("", text)).split())


if __name__ == "__main__":
    main()
