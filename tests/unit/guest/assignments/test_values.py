"""What crosses between pupil and examiner: plain values are the same there, all else is named."""

import decimal
import fractions
import io
import json
import unittest
from typing import Any

import pytest

from provision.guest.assignments.examiner import StandIn
from provision.guest.assignments.peer import GoneError, Peer
from provision.guest.assignments.source import Source
from provision.guest.assignments.values import decode, encode, exception_class, exception_names

PLAIN = [
    *(None, True, 0, -1, 1 << 200, 0.1, float("inf"), "ä\udc80", b"\0", 1 + 2j, range(3)),
    *([1, [2]], (1, (2,)), {1: (2, "x")}, {1, 2}, frozenset({1}), bytearray(b"x"), slice(1, None)),
    *(fractions.Fraction(1, 3), decimal.Decimal("0.10")),
]


def named(value: Any) -> list[Any]:
    return ["mine", 0, {}]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_what_is_plain_comes_across(value: Any) -> None:
    came = decode(json.loads(json.dumps(encode(value, named))), named)
    assert (came, type(came)) == (value, type(value))


class Number(int):
    pass


@pytest.mark.parametrize("value", [Number(4), object(), len, type("List", (list,), {})()])
def test_what_only_looks_plain_is_named(value: Any) -> None:
    assert encode(value, named) == ["mine", 0, {}]


def test_what_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="holds itself"):
        encode(endless, named)


@pytest.mark.parametrize("node", [{}, ["array", "O", [1], ""], ["int", "x"], ["list"], [[]]])
def test_what_is_no_value_is_refused(node: Any) -> None:
    def refused(_: Any) -> None:
        raise ValueError

    with pytest.raises((ValueError, TypeError, IndexError, KeyError, ImportError)):
        decode(node, refused)


def test_an_exception_keeps_its_class_where_it_is_known() -> None:
    own = type("TooSmallError", (ValueError,), {})
    assert exception_class(exception_names(KeyError)) is KeyError
    stands = exception_class(exception_names(own))
    assert issubclass(stands, ValueError)
    assert stands is exception_class(exception_names(own))
    assert stands.__name__ == "TooSmallError"


def answered(*messages: dict[str, Any]) -> Any:
    lines = b"".join(json.dumps(message).encode() + b"\n" for message in messages)
    peer = Peer(io.BytesIO(lines), io.BytesIO(), len, lambda *_: None, lambda _: None)
    return peer.ask("get", "double")


def test_an_answer_is_taken_and_an_end_is_no_exception_that_a_test_expects() -> None:
    assert answered({"value": 4}) == 4
    with pytest.raises(ZeroDivisionError):
        answered({"raise": {"names": ["builtins.ZeroDivisionError"], "args": []}})
    for end in ({"gone": "killed"}, {"raise": {"names": ["builtins.TimeoutError"], "args": []}}):
        with pytest.raises(GoneError):
            answered(end)
    with pytest.raises(GoneError):
        answered()
    assert not issubclass(GoneError, Exception)


def test_a_teachers_notebook_tells_what_a_test_has_of_its_own() -> None:
    source = Source(
        cells=["import numpy as np, os.path\nfrom math import sqrt, pi\nx = 1", "def sqrt(n): ..."],
        locked=["def close(a): ...\ndef sqrt(n): ...", "from sys import *\nclass Point: ...", "%%"],
    )
    assert source.imports == {
        **{"np": "import numpy as np", "os": "import os.path"},
        **{"pi": "from math import pi"},
    }
    assert source.defined == {"x", "sqrt", "close", "Point"}
    assert {*source.classes} == {"Point"}
    assert source.given == ["def close(a):\n    ...", "from sys import *"]


def test_an_exception_of_a_module_s_own_is_not_made_by_its_name() -> None:
    """By this one a test of unittest's would end, and pass."""
    kind = exception_class(["unittest.case._ShouldStop", "builtins.ValueError"])
    assert kind is not unittest.case._ShouldStop  # type: ignore[attr-defined]
    assert issubclass(kind, ValueError)


POINTS = """
class Plain: ...
class Point(Plain):
    def __eq__(self, other): ...
    def __rsub__(self, other): ...
    __contains__ = __eq__
class Further(Point): ...
class Number(int): ...
"""


class Book:
    """Stands for an examiner whose teacher knows a class."""

    source = Source([POINTS])

    ask = staticmethod(lambda verb, *_: verb)


@pytest.mark.parametrize("compare", [lambda r: r == 4, lambda r: 4 - r, lambda r: 4 in r])
def test_an_object_is_not_compared_by_its_own_word(compare: Any) -> None:
    with pytest.raises(TypeError, match="which only it can compare"):
        compare(StandIn(Book(), 1, "__main__", "Yes"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="which only it can compare"):  # the teacher's cannot
        compare(StandIn(Book(), 1, "__main__", "Plain"))  # type: ignore[arg-type]
    for name in ("Point", "Further", "Number"):
        assert compare(StandIn(Book(), 1, "__main__", name))  # type: ignore[arg-type]


@pytest.mark.parametrize("compare", [lambda r: r < 4, lambda r: r - 4, lambda r: r + 4])
def test_of_a_class_of_the_teachers_only_what_it_defines_is_believed(compare: Any) -> None:
    with pytest.raises(TypeError, match="which only it can compare"):
        compare(StandIn(Book(), 1, "__main__", "Point"))  # type: ignore[arg-type]
    compare(StandIn(Book(), 1, "__main__", "Number"))  # type: ignore[arg-type]
