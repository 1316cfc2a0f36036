"""What may be looked up in books that others wrote."""

import json
import zlib
from pathlib import Path

import pytest

from provision.guest.documentation.names import BookError, inventory, manual, write

HEAD = b"# Sphinx inventory version 2\n# Project: P\n# Version: 1\n# zlib\n"
TEXT = """\
math.sin py:function 1 library/math.html#$ -
tut-lists std:label -1 tutorial/x.html#$ List Comprehensions
list comprehension std:term -1 glossary.html#term-$ -
Py_Foo c:function 1 c-api/x.html#c.$ -
Py_Foo.arg c:functionParam 1 c-api/x.html#c.$ -
nonsense
"""
PAGE = """\
<h3 class="section" id="One-1"><span>23.1 One &amp; Only<a class="copiable-link" href="#One-1"> \
&para;</a></span></h3>
<dt class="deftypefn" id="index-quad"><span>: <strong class="def-name">quad</strong></span></dt>
<dt class="deftypefnx" id="index-quad-1"><span>: <strong class="def-name">quad</strong></span></dt>
"""


def test_of_a_book_of_sphinx_names_and_titles_are_known() -> None:
    assert list(inventory(HEAD + zlib.compress(TEXT.encode()))) == [
        ("math.sin", "function", "library/math.html#math.sin", "0"),
        ("List Comprehensions", "", "tutorial/x.html#tut-lists", "1"),
        ("list comprehension", "", "glossary.html#term-list comprehension", "1"),
        ("Py_Foo", "C", "c-api/x.html#c.Py_Foo", "2"),
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"# Sphinx inventory version 3\n", "begins with"),
        (HEAD + b"torn", "damaged"),
        (HEAD + zlib.compress(TEXT.encode())[:40], "damaged"),
        (b"", "begins with"),
    ],
)
def test_an_inventory_that_is_none_is_named(content: bytes, says: str) -> None:
    with pytest.raises(BookError, match=says):
        list(inventory(content))


def test_of_a_manual_functions_and_chapters_are_known() -> None:
    assert list(manual(PAGE, "a.html")) == [
        ("One & Only", "", "a.html#One-1", "1"),
        ("quad", "One & Only", "a.html#index-quad", "0"),
    ]


def book(name: str, kind: str, place: Path) -> dict[str, str]:
    return {"name": name, "title": name, "kind": kind, "place": str(place)}


def test_the_newest_of_numbered_places_is_taken(tmp_path: Path) -> None:
    for number in ("3.9", "3.13"):
        place = tmp_path / f"doc/python{number}/html"
        place.mkdir(parents=True)
        (place / "objects.inv").write_bytes(HEAD + zlib.compress(TEXT.encode()))
    write([book("python", "sphinx", tmp_path / "doc/python3.*/html")], tmp_path / "known")
    (told,) = json.loads((tmp_path / "known/books.json").read_text())
    assert told["place"] == f"{tmp_path}/doc/python3.13/html"
    assert "math.sin\tfunction\t" in (tmp_path / "known/python.tsv").read_text()
    write([], tmp_path / "known")
    assert not (tmp_path / "known/books.json").exists()


def test_a_book_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BookError, match=r"octave: there is no .*: dpkg left it out"):
        write([book("octave", "manual", tmp_path / "a/octave.html")], tmp_path / "known")
    (tmp_path / "a/octave.html").mkdir(parents=True)
    with pytest.raises(BookError, match=r"octave: .* has no name"):
        write([book("octave", "manual", tmp_path / "a/octave.html")], tmp_path / "known")
