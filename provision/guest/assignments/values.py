"""Values that cross between two processes, as JSON: what is plain is copied, all else is named.

Nothing here runs code that the other side sent.
"""

import base64
import contextlib
import decimal
import fractions
import sys
from collections.abc import Callable, Mapping
from typing import Any

from provision.guest.assignments import algebra, tables

DEEPEST = 50
_WORD = 1 << 62


class Handles:
    """The objects of this side that the other side has a name for."""

    def __init__(self) -> None:
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}

    def number(self, value: object) -> int:
        """A name for an object, which is kept."""
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._objects)
            self._objects.append(value)
        return self._numbers[id(value)]

    def __getitem__(self, number: object) -> Any:
        if not isinstance(number, int) or not 0 <= number < len(self._objects):
            raise ValueError("there is no such object")
        return self._objects[number]


def encode(  # noqa: PLR0911 - a case each
    value: Any, named: Callable[[Any], list[Any]], depth: int = 0
) -> Any:
    """A value as JSON's types.

    Args:
        value: any; only of exactly the types that Python has is it copied.
        named: what stands for one that is not copied.
        depth: how deep it is in another.
    """
    kind = type(value)
    if value is None or kind in (bool, str, float):
        return value
    if kind is int:
        return value if -_WORD < value < _WORD else ["int", hex(value)]
    if depth > DEEPEST:
        raise ValueError("a value is too deep, or holds itself")
    if kind in _SEQUENCES:
        return [_SEQUENCES[kind], [encode(each, named, depth + 1) for each in value]]
    if kind is dict:
        pairs = [[encode(part, named, depth + 1) for part in pair] for pair in value.items()]
        return ["dict", pairs]
    if kind in (bytes, bytearray):
        return [kind.__name__, base64.b64encode(value).decode()]
    if kind is complex:
        return ["complex", value.real, value.imag]
    if kind in (range, slice):
        parts = (value.start, value.stop, value.step)
        return [kind.__name__, [encode(part, named, depth + 1) for part in parts]]
    if kind is fractions.Fraction:
        return ["fraction", hex(value.numerator), hex(value.denominator)]
    if kind is decimal.Decimal:
        return ["decimal", str(value)]
    return (
        _encode_array(value)
        or algebra.encode(value, lambda part: encode(part, named, depth + 1))
        or tables.encode(value, lambda part: encode(part, named, depth + 1))
        or named(value)
    )


def decode(node: Any, named: Callable[[list[Any]], Any]) -> Any:
    """A value from JSON's types.

    Args:
        node: from ``encode`` of the other side, or whatever it sends.
        named: what stands for one that was not copied.

    Raises:
        ValueError, TypeError, IndexError, KeyError: it is nothing that ``encode`` makes.
    """
    if node is None or type(node) in (bool, int, str, float):
        return node
    if type(node) is not list:
        raise ValueError("no value")
    tag, *rest = node
    if tag in _MAKERS:
        return _MAKERS[tag](decode(each, named) for each in rest[0])
    if tag in _DECODERS:
        return _DECODERS[tag](rest, named)
    if tag in algebra.TAGS:
        return algebra.decode(tag, rest, lambda part: decode(part, named))
    if tag in tables.TAGS:
        return tables.decode(tag, rest, lambda part: decode(part, named))
    return named(node)


def exception_names(kind: type) -> list[str]:
    """The names of an exception's class and of those above it."""
    return [f"{each.__module__}.{each.__qualname__}" for each in kind.__mro__[:DEEPEST]]


def here(module: str, name: str) -> Any:
    """What a module of this side has by a name of the other's; a stand-in is not asked for it."""
    return getattr(sys.modules.get(module), "__dict__", {}).get(name)


_made: dict[tuple[str, ...], type[BaseException]] = {}


def exception_class(names: list[str]) -> type[BaseException]:
    """The class of that name where this side has it, else one that stands for it."""
    key = tuple(map(str, names))
    if key not in _made:
        found = [each for name in key if (each := _exception(name))]
        base = found[0] if found else Exception
        same = bool(found) and _exception(key[0]) is base
        name = key[0].rpartition(".")[2] if key else "Exception"
        _made[key] = base if same else type(name, (base,), {})
    return _made[key]


def _exception(name: str) -> type[BaseException] | None:
    module, _, last = name.rpartition(".")
    if last.startswith("_"):  # by one of unittest's own a test would end, and pass
        return None
    found = here(module, last)
    ours = isinstance(found, type) and issubclass(found, BaseException)
    return found if ours and module != "__main__" else None


def _encode_array(value: Any) -> list[Any] | None:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    with contextlib.suppress(Exception):
        plain = type(value) is numpy.ndarray or (
            isinstance(value, numpy.generic) and type(value).__module__ == "numpy"
        )
        if plain and value.dtype.kind in "biufcSUmM":
            kind = "array" if type(value) is numpy.ndarray else "scalar"
            content = base64.b64encode(numpy.ascontiguousarray(value).tobytes()).decode()
            return [kind, value.dtype.str, list(value.shape), content]
    return None


def _decode_array(rest: list[Any], _: object) -> Any:
    import numpy  # noqa: PLC0415 - only where there is one

    dtype, shape, content = rest
    kind = numpy.dtype(str(dtype))
    if kind.kind not in "biufcSUmM":
        raise ValueError("no plain array")
    return numpy.frombuffer(base64.b64decode(content), kind).reshape(shape).copy()


_SEQUENCES: Mapping[type, str] = {list: "list", tuple: "tuple", set: "set", frozenset: "frozenset"}
_MAKERS: Mapping[str, Callable[..., Any]] = {name: kind for kind, name in _SEQUENCES.items()}
_DECODERS: Mapping[str, Callable[[list[Any], Any], Any]] = {
    "int": lambda rest, _: int(str(rest[0]), 16),
    "dict": lambda rest, named: {decode(k, named): decode(v, named) for k, v in rest[0]},
    "bytes": lambda rest, _: base64.b64decode(rest[0]),
    "bytearray": lambda rest, _: bytearray(base64.b64decode(rest[0])),
    "complex": lambda rest, _: complex(*rest),
    "range": lambda rest, named: range(*(decode(part, named) for part in rest[0])),
    "slice": lambda rest, named: slice(*(decode(part, named) for part in rest[0])),
    "fraction": lambda rest, _: fractions.Fraction(*(int(str(part), 16) for part in rest)),
    "decimal": lambda rest, _: decimal.Decimal(str(rest[0])),
    "array": _decode_array,
    "scalar": lambda rest, _: _decode_array(rest, _)[()],
}
