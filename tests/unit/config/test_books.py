"""The books of the documentation: of what is there, and nothing twice."""

from fnmatch import fnmatchcase
from typing import get_args

import pytest

from provision.config import Config, books

KEPT = (
    "/usr/share/doc/python3.13/html/library/math.html",
    "/usr/share/doc/python3.13/html/searchindex.js",
    "/usr/share/doc/python3.13-doc/html",
    "/usr/share/doc/octave/octave.html/index.html",
)
LEFT = (  # the same in other forms, which would break the size that docs/notebook.md names
    "/usr/share/doc/python3.13/html/_sources/library/math.rst.txt",
    "/usr/share/doc/python3.13/html/python3.13.devhelp.gz",
    "/usr/share/doc/python3.13/html/genindex-all.html",
    "/usr/share/doc/python3.13/changelog.gz",
    "/usr/share/doc/octave/octave.pdf",
    "/usr/share/doc/octave/octave.html/XREFquad.html",
    "/usr/share/doc/octave/liboctave.html/index.html",
    "/usr/share/doc/bash/README",
)


def config(**values: object) -> Config:
    return Config.model_validate(values)


def test_each_book_has_a_name_in_the_model() -> None:
    assert set(get_args(books.Name)) == set(books.BOOKS)


@pytest.mark.parametrize(
    ("values", "there"),
    [
        ({}, ("python", "packages", "sage")),
        ({"sage": {"source": "none"}}, ("python", "packages")),
        ({"kernels": {"python": {"packages": ()}}}, ("python", "sage")),
        ({"kernels": {"r": True, "octave": True}}, tuple(books.BOOKS)),
        ({"documentation": ()}, ()),
        ({"documentation": ("sage", "python")}, ("python", "sage")),
    ],
)
def test_books_are_about_what_is_there(values: dict[str, object], there: tuple[str, ...]) -> None:
    assert books.selection(config(**values)) == there


def test_sages_book_goes_with_that_sage() -> None:
    places = {
        source: books.descriptions(config(sage=told, documentation=("sage",)))[0]["place"]
        for source, told in {
            "passagemath": {"source": "passagemath"},
            "debian": {"source": "debian"},
        }.items()
    }
    assert places["passagemath"].startswith("/opt/sage-current/")
    assert places["debian"].startswith(books.PLACE)


def kept(path: str) -> bool:
    """What dpkg does with a file, as dpkg(1) says: the last pattern decides."""
    result = not fnmatchcase(path, "/usr/share/doc/*")
    for book in books.BOOKS.values():
        for pattern in book.kept:
            result = result or fnmatchcase(path, pattern)
        for pattern in book.left:
            result = result and not fnmatchcase(path, pattern)
    return result


@pytest.mark.parametrize("path", KEPT)
def test_dpkg_keeps_books(path: str) -> None:
    assert kept(path)


@pytest.mark.parametrize("path", LEFT)
def test_dpkg_keeps_no_more_than_books(path: str) -> None:
    assert not kept(path)
