"""A book of docstrings: what has a place in it, how it is set, and that it is the same twice."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.guest.documentation.docstrings import modules_of, places, render, roots, write

INIT = '''"""A plaything.

EXAMPLES::

    sage: double(2)
    4
"""
from plaything.inner import Box, double
from plaything._hidden import buried
'''
INNER = '''"""What is inside."""
import os

def double(number, *, by=object()):
    """Twice a number.

    TESTS::

        sage: double("never")

    EXAMPLES::

        sage: double(2)
        4

        sage: double(3)
        6
    """

twice = double

class Box:
    """Holds `things`.

    Parameters
    ----------
    size : int
        How many.
    """

    def open(self):
        """Open it: <b> & all."""

    def _close(self):
        """Nobody's."""

class Function_sin:
    """The sine."""

sin = Function_sin()
'''
FILES = {
    "__init__.py": INIT,
    "inner.py": INNER,
    "_hidden.py": 'def buried():\n    """Is deep down."""\n',
    "broken.py": "raise SystemExit('no')",
    "tests/__init__.py": "",
    "tests/test_all.py": "raise AssertionError",
}


@pytest.fixture
def plaything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in FILES.items():
        path = tmp_path / "site/plaything" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "site")
    importlib.invalidate_caches()
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "plaything"]:
        del sys.modules[name]


def names_of(book: Path) -> list[list[str]]:
    return [line.split("\t") for line in (book / "names.tsv").read_text().splitlines()]


def test_a_book_has_a_page_for_each_module_and_its_names(plaything: Path) -> None:
    write(plaything / "book", "Toy", ["plaything"])
    assert {path.name for path in (plaything / "book").iterdir()} == {
        *("index.html", "names.tsv", "style.css", "plaything.html", "plaything.inner.html")
    }
    assert ["double", "plaything.inner", "plaything.inner.html#double", "0"] in names_of(
        plaything / "book"
    )
    assert ["twice", "plaything.inner", "plaything.inner.html#double", "1"] in names_of(
        plaything / "book"
    )
    assert ["Box.open", "plaything.inner", "plaything.inner.html#Box.open", "2"] in names_of(
        plaything / "book"
    )
    assert ["sin", "plaything.inner", "plaything.inner.html#Function_sin", "1"] in names_of(
        plaything / "book"
    )
    # What is written where nobody looks is where it is offered.
    assert ["buried", "plaything", "plaything.html#buried", "0"] in names_of(plaything / "book")
    page = (plaything / "book/plaything.inner.html").read_text()
    for _, where, address, _ in names_of(plaything / "book"):
        if where == "plaything.inner":
            assert f'id="{address.partition("#")[2]}"' in page
    assert "&lt;b&gt; &amp; all" in page
    assert "<b>" not in page
    assert "Nobody" not in page


def test_a_page_says_nothing_of_this_run(plaything: Path) -> None:
    for book in ("one", "two"):
        write(plaything / book, "Toy", ["plaything"])
    pages = [(plaything / book / "plaything.inner.html").read_text() for book in ("one", "two")]
    assert pages[0] == pages[1]
    assert "0x" not in pages[0]
    assert "never" not in pages[0]  # Sage's tests are for those who change it


def test_a_book_takes_the_place_of_the_one_before(plaything: Path) -> None:
    (plaything / "book").mkdir()
    (plaything / "book/old.html").write_text("")
    write(plaything / "book", "Toy", ["plaything"])
    assert not (plaything / "book/old.html").exists()
    assert not list(plaything.glob(".*"))


def test_nothing_to_write_about_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="nothing of no-such-package can be imported"):
        write(tmp_path / "book", "None", ["no-such-package"])


def test_modules_that_end_or_are_tests_are_left_out(plaything: Path) -> None:
    assert [name for name, _ in modules_of(["plaything"])] == ["plaything", "plaything.inner"]


def test_each_thing_has_one_place(plaything: Path) -> None:
    found = places(dict(modules_of(["plaything"])))
    assert [thing.name for thing in found["plaything"]] == ["buried"]
    assert [thing.name for thing in found["plaything.inner"]] == ["Box", "Function_sin", "double"]


def test_a_distribution_is_known_by_what_is_imported_of_it() -> None:
    assert roots("ruamel.yaml==0.18") == ["ruamel"]
    assert roots("sage") == ["sage"]
    assert "pytest" in roots("pytest>=8")


@pytest.mark.parametrize(
    ("doc", "page"),
    [
        ("One\ntwo.", "<p>One\ntwo.</p>"),
        ("``a<b`` and :class:`~x.Y`", "<p><code>a&lt;b</code> and <code>x.Y</code></p>"),
        ("Say::\n\n    a\n\n    b\n\nend", "<p>Say:</p>\n<pre>a\n\nb</pre>\n<p>end</p>"),
        ("::\n\n    a", "<pre>a</pre>"),
        (">>> 1 + 1\n2", "<pre>&gt;&gt;&gt; 1 + 1\n2</pre>"),
        ("Notes\n-----\nIt is.", "<p><strong>Notes</strong></p>\n<p>It is.</p>"),
        ("- one\n  more\n- two", "<ul><li>one\nmore</li><li>two</li></ul>"),
        ("x : int\n    A number.", '<pre class="text">x : int\n    A number.</pre>'),
        (".. NOTE::\n\n    Beware.", "<p><strong>Note</strong> </p>\n<p>Beware.</p>"),
        ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>"),
        ("", ""),
    ],
)
def test_a_docstring_is_set(doc: str, page: str) -> None:
    assert render(doc) == page
