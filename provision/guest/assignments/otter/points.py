"""How many points a test of a question gives, as otter-grader reckons.

Source: otter-grader 7, "Otter-Configured Test Files", resolution of point values.
"""

import math
from collections.abc import Sequence
from typing import Any


def share(points: Any, own: Sequence[Any]) -> list[float]:
    """The points of each test.

    Args:
        points: what the question says: a number, one for each test, ``{"each": number}``, or None.
        own: what each test says itself; None: nothing.

    Raises:
        ValueError: it is no such thing, or they cannot be shared so; in words.
    """
    if isinstance(points, dict):
        if {*points} - {"each"}:
            raise ValueError(f"points: {points} has other keys than 'each'")
        points = number(points.get("each", 1)) * len(own)
    if isinstance(points, list):
        if len(points) != len(own):
            raise ValueError(f"points: {points} are {len(points)}, and there are {len(own)} tests")
        points, own = None, points
    given = [None if each is None else number(each) for each in own]
    told = sum(each for each in given if each is not None)
    rest = given.count(None)
    if points is not None:
        whole = number(points)
        if told > whole:
            raise ValueError(f"points: {whole:g}, and its tests have {told:g}")
        left = (whole - told) / rest if rest else 0.0
    else:
        left = 1 / rest if rest and told == 0 else 0.0
    return [left if each is None else each for each in given]


def number(value: Any) -> float:
    """A number of points.

    Raises:
        ValueError: it is none.
    """
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    if not plain or not math.isfinite(value) or value < 0:
        raise ValueError(f"points: {value!r} is no number of points")
    return value  # type: ignore[no-any-return]
