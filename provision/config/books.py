"""The books of the documentation: what each is about, and where it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from provision.config.model import Config

Name = Literal["python", "packages", "sage", "r", "octave"]
PLACE = (
    "/usr/local/share/documentation"  # of what is known of all, and of books that are nobody else's
)
_SAGE = "/opt/sage-current/share/documentation"  # that Sage's: a later one has its own


@dataclass(frozen=True)
class Book:
    """A book.

    Args:
        title: what it is called.
        key: the key of ``appliance.yml`` without which there is nothing that it is about.
        kind: how it is read: ``sphinx`` and ``manual`` of packages, ``docstrings`` of a Python's
            packages, ``r`` of R's own help.
        place: its directory; a pattern where packages number theirs.
        packages: of the distribution, that bring it.
        kept: what dpkg keeps of these, which else leaves out all documentation; patterns.
        left: what it leaves out of that nevertheless: the same in other forms.
    """

    title: str
    key: str
    kind: Literal["sphinx", "manual", "docstrings", "r"]
    place: str
    packages: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


BOOKS: Mapping[str, Book] = {
    "python": Book(
        "Python",
        key="",
        kind="sphinx",
        place="/usr/share/doc/python3.*/html",
        packages=("python3-doc",),
        kept=("/usr/share/doc/python3*/html*",),
        left=tuple(
            f"/usr/share/doc/python3*/html/{name}"
            for name in ("_sources/*", "*.devhelp.gz", "genindex-all.html")
        ),
    ),
    "packages": Book(
        "Python's packages",
        key="kernels.python.packages",
        kind="docstrings",
        place="/opt/python/share/documentation",
    ),
    "sage": Book("SageMath", key="sage.source", kind="docstrings", place=_SAGE),
    "r": Book("R", key="kernels.r", kind="r", place=f"{PLACE}/r", packages=("r-doc-html",)),
    "octave": Book(
        "GNU Octave",
        key="kernels.octave",
        kind="manual",
        place="/usr/share/doc/octave/octave.html",
        packages=("octave-doc",),
        kept=("/usr/share/doc/octave/octave.html*",),
        left=("/usr/share/doc/octave/octave.html/XREF*",),
    ),
}


def possible(config: "Config") -> tuple[str, ...]:
    """The books about what an appliance has."""
    there = {
        "": True,
        "kernels.python.packages": bool(config.kernels.python.packages),
        "sage.source": config.sage.source != "none",
        "kernels.r": config.kernels.r,
        "kernels.octave": config.kernels.octave,
    }
    return tuple(name for name, book in BOOKS.items() if there[book.key])


def selection(config: "Config") -> tuple[str, ...]:
    """The books that go into an appliance, in the order in which they are shown."""
    asked = config.documentation
    return tuple(each for each in possible(config) if asked is None or each in asked)


def descriptions(config: "Config") -> list[dict[str, Any]]:
    """The same in the terms of the role documentation."""
    return [_describe(config, name, BOOKS[name]) for name in selection(config)]


def _describe(config: "Config", name: str, book: Book) -> dict[str, Any]:
    place, of = book.place, tuple[str, ...]()
    if name == "packages":
        of = config.kernels.python.packages
    elif name == "sage":
        of = ("sage",)
        if config.sage.source == "debian":
            place = f"{PLACE}/sage"
    return {
        "name": name,
        "title": book.title,
        "kind": book.kind,
        "place": place,
        "of": list(of),
        "packages": list(book.packages),
        "kept": list(book.kept),
        "left": list(book.left),
    }
