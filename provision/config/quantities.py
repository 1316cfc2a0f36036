"""Sizes, durations and shares: written for people, kept as plain numbers."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_ENDLESS = 1 << 63
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d{1,18})\s?([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d{1,12})([smhd])", re.ASCII)
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)\s?%", re.ASCII)


def parse_size(value: Any) -> int:
    """Bytes from ``4G``, ``512M``, ``1024K`` (powers of 1024) or a plain number of bytes.

    Raises:
        ValueError: it is none of these, or negative.
    """
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        value = int(match[1]) * _UNITS[match[2].upper()]
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _ENDLESS:
        return value
    raise ValueError("not a size; write a whole number and K, M, G or T, as in 512M or 4G")


def format_size(size: int) -> str:
    """The shortest exact way to write ``size`` bytes, as ``parse_size`` reads it."""
    for unit in "TGMK":
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size) if size else "0M"


def parse_duration(value: Any) -> int:
    """Seconds from ``90s``, ``30m``, ``2h``, ``1d`` or a plain number of seconds.

    Raises:
        ValueError: it is none of these, or negative.
    """
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        value = int(match[1]) * _SECONDS[match[2]]
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _ENDLESS:
        return value
    raise ValueError("not a duration; write a whole number and s, m, h or d, as in 30m or 2h")


def format_duration(seconds: int) -> str:
    """The shortest exact way to write ``seconds``, as ``parse_duration`` reads it."""
    for unit in "dhm":
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds // _SECONDS[unit]}{unit}"
    return f"{seconds}s"


def parse_percent(value: Any) -> float:
    """Percent from ``5%``, ``0.5%`` or a plain number.

    Raises:
        ValueError: it is none of these, or not between 0 and 100.
    """
    if isinstance(value, str) and (match := _PERCENT.fullmatch(value.strip())):
        value = float(match[1])
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100:
        return float(value)
    raise ValueError("not a share; write a percentage, as in 5%")


def format_percent(percent: float) -> str:
    """Write ``percent`` as ``parse_percent`` reads it."""
    return f"{percent:.6f}".rstrip("0").rstrip(".") + "%"


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, return_type=str, when_used="json"),
    WithJsonSchema({"type": ["string", "integer"], "format": "size", "minimum": 0}),
]
Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": ["string", "integer"], "format": "duration", "minimum": 0}),
]
