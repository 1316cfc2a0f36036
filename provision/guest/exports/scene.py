"""Sage's pictures in three dimensions, as they are first seen, drawn as SVG.

Sage writes a page for the browser's three.js, with what is in the scene as JSON. A file that is
handed in has neither three.js nor somebody who turns it, so what the camera sees first is drawn:
the same camera, and whatever is nearer over what is farther.
"""

import html
import json
import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

WIDTH, HEIGHT = 640, 400
FACES = 40_000  # of more only some are drawn
VIEW = math.tan(math.pi / 8)  # of half the angle that the camera sees
NAMES = ("options", "b", "texts", "points", "lines", "surfaces")

Point = tuple[float, float, float]
Drawn = tuple[float, str]  # how far away it is, and its SVG


def read(page: str) -> dict[str, Any] | None:
    """What is in a scene; None: the page is not one of Sage's.

    Args:
        page: that Sage wrote.
    """
    found: dict[str, Any] = {}
    for name in NAMES:
        begin = re.search(rf"\bvar {name} = ", page)
        if begin is None:
            return None
        try:
            found[name], _ = json.JSONDecoder().raw_decode(page, begin.end())
        except ValueError:
            return None
    return found


def draw(scene: dict[str, Any]) -> str:
    """The scene as SVG.

    Args:
        scene: from ``read``.
    """
    camera = Camera(scene["options"], scene["b"])
    things = [*_surfaces(scene["surfaces"], camera), *_lines(scene["lines"], camera)]
    things += [*_points(scene["points"], camera), *_texts(scene["texts"], camera)]
    if scene["options"].get("frame", True):
        things += _frame(camera, scene["options"])
    body = "".join(svg for _, svg in sorted(things, key=lambda each: -each[0]))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{body}</svg>'
    )


class Camera:
    """Where the page's camera is at first: see Sage's threejs_template.html.

    Args:
        options: the scene's.
        bounds: two corners of the box around all.
    """

    def __init__(self, options: dict[str, Any], bounds: Sequence[dict[str, float]]) -> None:
        low, high = ([corner[axis] for axis in "xyz"] for corner in bounds)
        for n in range(3):
            if low[n] == high[n]:
                low[n], high[n] = low[n] - 1, high[n] + 1
        self.low, self.high = low, high
        self.scale = _aspects(options, [b - a for a, b in zip(low, high, strict=True)])
        ranges = zip(self.scale, low, high, strict=True)
        self.radius = math.hypot(*(k * (b - a) for k, a, b in ranges)) / 2
        self.middle = [k * (a + b) / 2 for k, a, b in zip(self.scale, low, high, strict=True)]
        self.back = _direction(options)
        self.right = _unit(_cross((0, 0, 1), self.back)) or (1.0, 0.0, 0.0)
        self.up = _cross(self.back, self.right)
        self.far = self.radius / math.sin(math.pi / 8)

    def project(self, point: Sequence[float]) -> Point:
        """Where a point of the scene is in the picture, and how far away."""
        at = [k * p - m for k, p, m in zip(self.scale, point, self.middle, strict=True)]
        depth = max(self.far - _dot(at, self.back), self.far / 100)
        size = HEIGHT / 2 / VIEW / depth
        x, y = WIDTH / 2 + size * _dot(at, self.right), HEIGHT / 2 - size * _dot(at, self.up)
        return x, y, depth

    def light(self, corners: Sequence[Sequence[float]]) -> float:
        """How much of its colour a face shows, from 0 to 1: the lamp is at the camera."""
        a, b, c = ([k * p for k, p in zip(self.scale, each, strict=True)] for each in corners[:3])
        normal = _unit(_cross(_minus(b, a), _minus(c, a)))
        lamp = _unit((self.back[0] + 0.3 * self.up[0], self.back[1], self.back[2] + 0.3))
        return 0.4 + 0.6 * abs(_dot(normal, lamp or self.back)) if normal else 1.0


def _aspects(options: dict[str, Any], ranges: list[float]) -> list[float]:
    """The stretch of each axis."""
    scale = [float(each) for each in options.get("aspectRatio") or (1, 1, 1)]
    for n, automatic in enumerate(options.get("autoScaling") or (False,) * 3):
        # The template's formula, the third axis's included.
        others = math.hypot(*(ranges[m] for m in range(3) if m != n))
        if automatic and ranges[n] > 2.5 * others:
            scale[n] = 2.5 * others / ranges[n]
    return scale


def _direction(options: dict[str, Any]) -> Point:
    """From the middle to the camera."""
    if viewpoint := options.get("viewpoint"):
        axis, angle = _unit(viewpoint[0]), -math.radians(viewpoint[1])
        if axis is not None:  # Rodrigues' rotation of the axis z
            cos, sin = math.cos(angle), math.sin(angle)
            turned = _cross(axis, (0, 0, 1))
            mixed = [axis[2] * (1 - cos) * k for k in axis]
            x, y, z = (sin * t + m for t, m in zip(turned, mixed, strict=True))
            return x, y, z + cos
    round_, down = math.pi / 5, math.pi / 3
    return (
        math.sin(down) * math.cos(round_),
        math.sin(down) * math.sin(round_),
        math.cos(down),
    )


def _surfaces(surfaces: list[dict[str, Any]], camera: Camera) -> Iterator[Drawn]:
    step = 1 + sum(len(each["faces"]) for each in surfaces) // FACES
    for surface in _first(surfaces):
        points = [(p["x"], p["y"], p["z"]) for p in surface["vertices"]]
        seen = [camera.project(p) for p in points]
        colors = surface.get("faceColors")
        opacity = _opacity(surface)
        for number, face in enumerate(surface["faces"]):
            if number % step:
                continue
            color = colors[number] if colors else surface.get("color", "#6666ff")
            shade = _shade(color, camera.light([points[n] for n in face]))
            path = " ".join(f"{seen[n][0]:.1f},{seen[n][1]:.1f}" for n in face)
            depth = sum(seen[n][2] for n in face) / len(face)
            yield (
                depth,
                (
                    f'<polygon points="{path}" fill="{shade}" stroke="{shade}" stroke-width=".6"'
                    f"{opacity}/>"
                ),
            )


def _lines(lines: list[dict[str, Any]], camera: Camera) -> Iterator[Drawn]:
    for line in _first(lines):
        seen = [camera.project(p) for p in line["points"]]
        style = f'stroke="{_color(line)}" stroke-width="{float(line.get("linewidth", 1)):g}"'
        for a, b in pairwise(seen):
            yield _segment(a, b, f'{style} stroke-linecap="round"{_opacity(line)}')


def _segment(a: Point, b: Point, style: str) -> Drawn:
    ends = f'x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}"'
    return (a[2] + b[2]) / 2, f"<line {ends} {style}/>"


def _points(points: list[dict[str, Any]], camera: Camera) -> Iterator[Drawn]:
    for point in _first(points):
        x, y, depth = camera.project(point["point"])
        radius = float(point.get("size", 5)) / 2
        place = f'cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"'
        yield depth, f'<circle {place} fill="{_color(point)}"{_opacity(point)}/>'


def _texts(texts: list[dict[str, Any]], camera: Camera) -> Iterator[Drawn]:
    for text in _first(texts):
        yield _label(str(text["text"]), camera.project([text[a] for a in "xyz"]), text)


def _label(text: str, seen: Point, style: dict[str, Any]) -> Drawn:
    size = float(style.get("fontSize") or 12)
    place = f'x="{seen[0]:.1f}" y="{seen[1] + size / 3:.1f}" font-size="{size:g}"'
    return 0, (
        f'<text {place} text-anchor="middle" font-family="sans-serif" '
        f'fill="{_color(style, "#000000")}">{html.escape(text)}</text>'
    )


def _frame(camera: Camera, options: dict[str, Any]) -> Iterator[Drawn]:
    """The box's edges, and its ends' numbers as the page has them."""
    low, high = camera.low, camera.high
    corners = [[(low, high)[n >> k & 1][k] for k in range(3)] for n in range(8)]
    seen = [camera.project(each) for each in corners]
    for n in range(8):
        for k in range(3):
            if not n >> k & 1:
                yield _segment(seen[n], seen[n | 1 << k], 'stroke="#888888" stroke-width=".8"')
    if labels := options.get("axesLabels"):
        digits = int(options.get("decimals", 2))
        out = [0.1 * (b - a) for a, b in zip(low, high, strict=True)]
        for k in range(3):
            for at in (low[k], (low[k] + high[k]) / 2, high[k]):
                place = (
                    (at, high[1] + out[1], low[2]),
                    (high[0] + out[0], at, low[2]),
                    (high[0], low[1] - out[1], at),
                )[k]
                name = f"{labels[k]}=" if low[k] < at < high[k] else ""
                yield _label(f"{name}{at:.{digits}f}", camera.project(place), {})


def _first(things: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What is in the first picture of one that moves."""
    return (each for each in things if not each.get("keyframe"))


def _color(thing: dict[str, Any], usual: str = "#6666ff") -> str:
    color = str(thing.get("color") or usual)
    return color if re.fullmatch(r"#[0-9a-fA-F]{3,8}|[a-zA-Z]+", color) else usual


def _opacity(thing: dict[str, Any]) -> str:
    opacity = float(thing.get("opacity", 1))
    return f' opacity="{opacity:g}"' if opacity < 1 else ""


def _shade(color: str, light: float) -> str:
    if not re.fullmatch("#[0-9a-fA-F]{6}", color):
        return _color({"color": color})
    parts = (round(int(color[n : n + 2], 16) * light) for n in (1, 3, 5))
    return "#" + "".join(f"{part:02x}" for part in parts)


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _minus(a: Sequence[float], b: Sequence[float]) -> Point:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def _cross(a: Sequence[float], b: Sequence[float]) -> Point:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _unit(a: Sequence[float]) -> Point | None:
    length = math.hypot(*a)
    return (a[0] / length, a[1] / length, a[2] / length) if length else None
