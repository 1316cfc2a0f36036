"""The page of books: what is found first, in which language, and what it may do."""

import json
from pathlib import Path

import pytest

from provision.guest.documentation.shelf import Volume, books, page, policy, search

NAMES = """\
Expression.integrate\tsage.symbolic.expression\te.html#Expression.integrate\t2
integrate\tsage.calculus.functional\tc.html#integral\t1
integrate\tsage.misc.functional\tm.html#integral\t0
integrate_numerically\tsage.calculus\tn.html#x\t1
Integrate\tother\to.html#x\t1
sin\tnumpy\tnumpy.html#sin\t0
sin\tsympy\tsympy.html#sin\t0
a b\t\tx y.html#"><script>\t1
"""


@pytest.fixture
def shelf(tmp_path: Path) -> list[Volume]:
    (tmp_path / "names.tsv").write_text(NAMES)
    return [Volume("sage", "SageMath", tmp_path, tmp_path / "names.tsv")]


def test_what_is_at_hand_comes_first(shelf: list[Volume]) -> None:
    found = [each.address for each in search(shelf[0], "integrate")]
    expected = ["m.html#integral", "c.html#integral", "o.html#x", "e.html#Expression.integrate"]
    assert found == [*expected, "n.html#x"]
    assert [each.address for each in search(shelf[0], "integrate", 1)] == ["m.html#integral"]


@pytest.mark.parametrize(
    ("asked", "where"),
    [("np.sin", "numpy"), ("numpy.sin", "numpy"), ("SYMPY.sin", "sympy"), ("sin", "numpy")],
)
def test_a_name_may_say_where_it_is(shelf: list[Volume], asked: str, where: str) -> None:
    assert search(shelf[0], asked)[0].where == where


@pytest.mark.parametrize("asked", ["", "   ", "nothing.of.this", "\t", "x" * 100_000, "\0"])
def test_what_is_not_there_is_not_found(shelf: list[Volume], asked: str) -> None:
    assert search(shelf[0], asked) == []


def test_a_book_that_this_session_does_not_see_is_not_shown(tmp_path: Path) -> None:
    known = tmp_path / "books.json"
    assert books(known) == []
    told = {"name": "sage", "title": "S", "place": str(tmp_path / "sage"), "names": "n"}
    known.write_text(json.dumps([told]))
    assert books(known) == []
    (tmp_path / "sage").mkdir()
    (tmp_path / "sage/index.html").write_text("")
    assert [book.name for book in books(known)] == ["sage"]


def test_what_was_asked_and_found_is_text(shelf: list[Volume]) -> None:
    said = page('"><script>', shelf, "/user/a/appliance/documentation/", "/user/a/lab").decode()
    assert "<script" not in said
    said = page("a b", shelf, "/d/", "/lab").decode()
    assert "<script" not in said
    assert 'href="/d/sage/x%20y.html#%22%3E%3Cscript%3E"' in said


@pytest.mark.parametrize("host", ["a.b:8443", "127.0.0.1:1", "[::1]:8443"])
def test_scripts_are_the_books_own(host: str) -> None:
    said = policy(host, "/user/emmy%40b/appliance/documentation/")
    assert f"script-src {host}/user/emmy%40b/appliance/documentation/;" in said
    assert "default-src 'none'" in said


@pytest.mark.parametrize("host", ["", "a; script-src *", "a b", "a\n", "*", "a,b"])
def test_no_host_opens_more(host: str) -> None:
    assert "script-src 'none';" in policy(host, "/d/")
