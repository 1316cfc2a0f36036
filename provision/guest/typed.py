"""Plain data, as JSON and TOML have it, that must be of a type before anything believes it."""

import contextlib
import dataclasses
import functools
import json
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_UNKNOWN = object()


class DamagedError(ValueError):
    """A file is not what it should be; the message names it, and what mends it."""


@contextlib.contextmanager
def reporting_damage() -> Iterator[None]:
    """Around a program: a damaged file ends it with one line for its log, and no trace of ours."""
    try:
        yield
    except DamagedError as error:
        sys.exit(str(error))


def load(kind: Any, path: Path, mend: str) -> Any:
    """What a file of JSON holds.

    Args:
        kind: what it must be, as for `of`.
        path: the file.
        mend: what to do where it is not.

    Raises:
        OSError: it cannot be read.
        DamagedError: it is no JSON, or not of that kind.
    """
    try:
        return of(kind, json.loads(path.read_text("utf-8")))
    except ValueError as error:
        raise DamagedError(f"{path} is damaged: {error}; {mend}") from None


def of(kind: Any, value: Any, where: str = "", *, strict: bool = False) -> Any:
    """A value as a type has it.

    Args:
        kind: a dataclass, a TypedDict, a NamedTuple, or what they are made of: numbers, words,
            paths, lists, tuples and dictionaries of one kind each, and None.
        value: plain data.
        where: it is in all of it, for the message.
        strict: refuse keys that a record does not have; else they are another release's.

    Raises:
        ValueError: it is something else.
    """
    further = functools.partial(of, strict=strict)
    arguments, found = typing.get_args(kind), typing.get_origin(kind) or kind
    known: Any = _UNKNOWN
    if found in (types.UnionType, typing.Union):
        kept = next(each for each in arguments if each is not type(None))
        known = None if value is None else further(kept, value, where)
    elif isinstance(value, dict) and _is_record(found):
        known = _record(found, value, where, strict=strict)
    elif isinstance(value, list) and found in (list, tuple):
        known = found(further(arguments[0], each, where) for each in value)
    elif isinstance(value, dict) and found is dict:
        items = value.items()
        known = {str(key): further(arguments[1], each, _below(where, key)) for key, each in items}
    elif isinstance(value, str) and found is Path:
        known = Path(value)
    elif type(value) is int and found is float:
        known = float(value)
    elif found is Any or type(value) is found:
        known = value
    if known is _UNKNOWN:
        raise ValueError(f"{where or 'it'} must be {_name(kind)}, not {value!r}")
    return known


def _record(kind: Any, value: dict[str, Any], where: str, *, strict: bool) -> Any:
    hints = _hints(kind)
    if strict and (unknown := [key for key in value if key not in hints]):
        place = f"{where}: " if where else ""
        raise ValueError(f"{place}unknown key {unknown[0]}; known: {', '.join(hints)}")
    if missing := [key for key in _required_keys(kind) if key not in value]:
        raise ValueError(f"{_below(where, missing[0])} is missing")
    found = {
        key: of(hints[key], each, _below(where, key), strict=strict)
        for key, each in value.items()
        if key in hints
    }
    return kind(**found)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _is_record(kind: Any) -> bool:
    named = hasattr(kind, "_field_defaults")
    return named or dataclasses.is_dataclass(kind) or typing.is_typeddict(kind)


def _required_keys(kind: Any) -> list[str]:
    if typing.is_typeddict(kind):
        return sorted(kind.__required_keys__)
    if hasattr(kind, "_field_defaults"):
        return [name for name in kind._fields if name not in kind._field_defaults]
    nothing = dataclasses.MISSING
    return [
        each.name
        for each in dataclasses.fields(kind)
        if each.default is nothing and each.default_factory is nothing
    ]


def _name(kind: Any) -> str:
    return str(kind) if typing.get_args(kind) else getattr(kind, "__name__", str(kind))


def _below(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)
