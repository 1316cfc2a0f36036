"""Sage in the boxes: its syntax, its names, and its plain values as they cross the wire.

Loads Sage only where something else has. A value is made again from its parts, and no text of the
other side's is run: a formula is read by a parser that knows functions of mathematics alone.
"""

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any

_RINGS = ("ZZ", "QQ", "RR", "RDF", "SR")  # of matrices, vectors, polynomials
_CONSTANTS = ("pi", "e", "I", "euler_gamma", "golden_ratio", "log2", "catalan")

Part = Callable[[Any], Any]


def names() -> dict[str, Any]:
    """What ``from sage.all import *`` gives."""
    found: dict[str, Any] = {}
    exec("from sage.all import *", found)  # noqa: S102 - as a session does it
    return found


def speak(shell: Any) -> None:
    """Let a shell of IPython read Sage's language, know its names and show its pictures."""
    from sage.repl.ipython_extension import (  # type: ignore[import-not-found]  # noqa: PLC0415
        load_ipython_extension,
    )
    from sage.repl.rich_output.backend_ipython import (  # type: ignore[import-not-found]  # noqa: PLC0415
        BackendIPythonNotebook,
    )

    load_ipython_extension(shell)
    backend = BackendIPythonNotebook()
    backend.get_display_manager().switch_backend(backend, shell=shell)


def declare_in(names: dict[str, Any]) -> None:
    """Where ``var("y")`` puts the name that it declares."""
    from sage.repl.user_globals import set_globals  # type: ignore[import-not-found]  # noqa: PLC0415

    set_globals(names)


def prepare(text: str) -> str:
    """A cell as the Python that Sage makes of it."""
    from sage.repl.preparse import preparse  # type: ignore[import-not-found]  # noqa: PLC0415

    return str(preparse(text))


def encode(value: Any, part: Part) -> list[Any] | None:
    """A value of Sage's as JSON's types; None: it is none that is copied.

    Args:
        value: any.
        part: encodes what is in it.
    """
    kind = type(value)
    if "sage.rings.integer" not in sys.modules or not kind.__module__.startswith("sage."):
        return None
    name = kind.__name__.partition("_")[0]
    function = name == "Expression" and value.is_callable()  # as f(x) = x^2
    if name in _SCALARS and not function:
        return [name, *_SCALARS[name](value)]
    ring = _ring_name(value)
    if function or ring is None:
        return None
    entries = [part(each) for each in value.list()] if hasattr(value, "list") else []
    if hasattr(value, "nrows"):
        return ["Matrix", ring, entries, int(value.nrows()), int(value.ncols())]
    if name == "Polynomial":
        return ["Polynomial", ring, entries, str(value.variable_name())]
    return ["Vector", ring, entries] if getattr(value, "is_vector", bool)() else None


def decode(tag: str, rest: list[Any], part: Part) -> Any:
    """A value from what ``encode`` made, or what the other side sends instead.

    Args:
        tag: of ``TAGS``.
        rest: what follows it.
        part: decodes what is in it.

    Raises:
        ValueError, TypeError, IndexError, KeyError: it is nothing that ``encode`` makes.
    """
    sage = _sage()
    if tag in _MADE:
        return _MADE[tag](sage, rest)
    if rest[0] not in _RINGS:
        raise ValueError("no ring")
    ring, values = getattr(sage, rest[0]), [part(each) for each in rest[1]]
    if tag == "Matrix":
        return sage.matrix(ring, int(rest[2]), int(rest[3]), values)
    if tag == "Vector":
        return sage.vector(ring, values)
    return sage.PolynomialRing(ring, str(rest[2]))(values)


def _sage() -> Any:
    from sage import all as sage  # type: ignore[import-not-found]  # noqa: PLC0415

    return sage


@functools.cache
def _parser() -> Any:
    """Reads formulas. Sage's own would call any function of its name, and the test's."""
    from sage.misc.parser import Parser  # type: ignore[import-not-found]  # noqa: PLC0415
    from sage.symbolic.expression import (  # type: ignore[import-not-found]  # noqa: PLC0415
        symbol_table,
    )

    sage = _sage()
    constants = {name: sage.SR(getattr(sage, name)) for name in _CONSTANTS}

    def function(name: str) -> Any:
        if name == "sqrt":
            return lambda value: sage.SR(value).sqrt()
        found = symbol_table["functions"].get(name)
        if found is None:
            raise ValueError(f"no function {name}")
        return found

    return Parser(
        make_int=lambda text: sage.SR(sage.Integer(text)),
        make_float=lambda text: sage.SR(sage.RealNumber(text)),
        make_var=lambda name: constants[name] if name in constants else sage.SR.var(name),
        make_function=function,
    )


def _ring_name(value: Any) -> str | None:
    if not hasattr(value, "base_ring"):
        return None
    sage, ring = _sage(), value.base_ring()
    return next((name for name in _RINGS if getattr(sage, name, None) is ring), None)


def _real(value: Any) -> list[Any]:
    return [int(value.prec()), value.str(32)]


def _number(text: Any) -> int:
    return int(str(text), 16)


# Of a class's name, up to its first "_": what is sent, and what is made of that.
_SCALARS: Mapping[str, Callable[[Any], list[Any]]] = {
    "Integer": lambda value: [hex(value)],
    "Rational": lambda value: [hex(value.numerator()), hex(value.denominator())],
    "RealNumber": _real,
    "RealLiteral": _real,
    "RealDoubleElement": lambda value: [float(value)],
    "IntegerMod": lambda value: [hex(value.lift()), hex(value.modulus())],
    "Expression": lambda value: [str(value)],
}
_MADE: Mapping[str, Callable[[Any, list[Any]], Any]] = {
    "Integer": lambda sage, rest: sage.Integer(_number(rest[0])),
    "Rational": lambda sage, rest: sage.QQ((_number(rest[0]), _number(rest[1]))),
    **dict.fromkeys(
        ("RealNumber", "RealLiteral"),
        lambda sage, rest: sage.RealField(int(rest[0]))(str(rest[1]), base=32),
    ),
    "RealDoubleElement": lambda sage, rest: sage.RDF(float(rest[0])),
    "IntegerMod": lambda sage, rest: sage.Mod(_number(rest[0]), _number(rest[1])),
    "Expression": lambda sage, rest: sage.SR(_parser().parse_expression(str(rest[0]))),
}
TAGS = frozenset({*_MADE, "Matrix", "Vector", "Polynomial"})
