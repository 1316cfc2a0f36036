"""Tables of pandas, and arrays of anything, as they cross between two processes: as copies.

What is in them crosses as it does elsewhere; what is subclassed, or large, stays where it is.
"""

import sys
from collections.abc import Callable
from typing import Any

LARGEST = 200_000  # values of a table
TAGS = ("frame", "series", "index", "values", "objects")
_NUMBERS = "biufcmM"  # kinds of NumPy's, that are copied as they are
_NAMES = ("object", "str", "string", "boolean", "category", "Int64", "Float64")


def encode(  # noqa: PLR0911 - a case each
    value: Any, part: Callable[[Any], Any]
) -> Any:
    """A table as JSON's types; None: it is none.

    Args:
        value: any.
        part: encodes what is in it.
    """
    if type(value).__module__ == "numpy":
        numpy = sys.modules["numpy"]
        if type(value) is numpy.ndarray and value.dtype.kind == "O" and value.size <= LARGEST:
            return ["objects", list(value.shape), [part(each) for each in value.ravel().tolist()]]
        return None
    pandas = sys.modules.get("pandas")
    if pandas is None or type(value).__module__.partition(".")[0] != "pandas":
        return None
    kind = type(value)
    if kind is pandas.DataFrame and value.size <= LARGEST:
        columns = [_encode_values(value.iloc[:, n], part) for n in range(value.shape[1])]
        return ["frame", part(value.columns), part(value.index), columns]
    if kind is pandas.Series and value.size <= LARGEST:
        return ["series", _encode_values(value, part), part(value.index), part(value.name)]
    if kind in (pandas.Index, pandas.RangeIndex) and value.size <= LARGEST:
        return ["index", _encode_values(value, part), part(value.name)]
    if isinstance(value, pandas.api.extensions.ExtensionArray) and value.size <= LARGEST:
        return ["values", *_encode_values(value, part)]
    return None


def decode(tag: str, rest: list[Any], part: Callable[[Any], Any]) -> Any:
    """A table from JSON's types.

    Args:
        tag: one of ``TAGS``.
        rest: what follows it.
        part: decodes what is in it.

    Raises:
        ValueError: it is none.
    """
    if tag == "objects":
        import numpy  # noqa: PLC0415 - only where there is one

        shape, values = rest
        found = numpy.empty(len(values), dtype=object)
        for number, each in enumerate(values):
            found[number] = part(each)
        return found.reshape(shape)
    import pandas  # noqa: PLC0415 - only where there is one

    if tag == "frame":
        columns = enumerate(_decode_values(pandas, each, part) for each in rest[2])
        return pandas.DataFrame(dict(columns), index=part(rest[1])).set_axis(part(rest[0]), axis=1)
    if tag == "series":
        name = part(rest[2])
        return pandas.Series(_decode_values(pandas, rest[0], part), index=part(rest[1]), name=name)
    if tag == "index":
        return pandas.Index(_decode_values(pandas, rest[0], part), name=part(rest[1]))
    return _decode_values(pandas, rest, part)


def _encode_values(value: Any, part: Callable[[Any], Any]) -> list[Any]:
    pandas = sys.modules["pandas"]
    numbers = type(value.dtype).__module__.partition(".")[0] == "numpy"
    if numbers and value.dtype.kind in _NUMBERS:
        return [str(value.dtype), part(value.to_numpy())]
    return [str(value.dtype), [part(None if each is pandas.NA else each) for each in value]]


def _decode_values(pandas: Any, told: list[Any], part: Callable[[Any], Any]) -> Any:
    name, values = told
    if isinstance(values, list) and values[:1] == ["array"]:
        return part(values)
    if name not in _NAMES:
        raise ValueError("no plain table")
    return pandas.array([part(each) for each in values], dtype=name)
