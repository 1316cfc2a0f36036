import json
import re
from typing import Any

from provision.guest.exports.scene import FACES, draw, read

SQUARE = {
    "vertices": [{"x": x, "y": y, "z": 0} for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))],
    "faces": [[0, 1, 2, 3]],
    "color": "#6666ff",
}


def scene(**things: Any) -> dict[str, Any]:
    options = {"aspectRatio": [1, 1, 1], "axesLabels": ["x", "y", "z"], "frame": True}
    corners = [dict.fromkeys("xyz", -1), dict.fromkeys("xyz", 1)]
    usual = {"options": options, "b": corners, "texts": [], "points": [], "lines": []}
    return {**usual, "surfaces": [], **things}


def page(found: dict[str, Any]) -> str:
    return "".join(f"  var {name} = {json.dumps(each)};\n" for name, each in found.items())


def test_a_scene_is_read_from_sages_page_and_from_no_other() -> None:
    assert read(page(scene(surfaces=[SQUARE]))) == scene(surfaces=[SQUARE])
    assert read("<html>") is None
    assert read(page(scene()).replace("[]", "[}")) is None


def test_what_is_nearer_is_drawn_later() -> None:
    camera = scene()["options"] | {"viewpoint": [[0, 0, 1], 0], "frame": False}
    for height, last in ((0.5, "ff0000"), (-0.5, "00ff00")):
        above = {**SQUARE, "color": "#ff0000"}
        above["vertices"] = [{**v, "z": height} for v in SQUARE["vertices"]]  # type: ignore[attr-defined]
        below = {**SQUARE, "color": "#00ff00"}
        svg = draw(scene(options=camera, surfaces=[above, below]))
        fills = re.findall('fill="#(..)(..)00"', svg)
        assert len(fills) == 2
        assert (fills[-1][0] != "00") == (last == "ff0000")


def test_all_that_is_there_is_drawn_and_names_are_only_names() -> None:
    svg = draw(
        scene(
            surfaces=[SQUARE],
            lines=[{"points": [[0, 0, 0], [1, 1, 1]], "color": "#00aa00", "linewidth": 2}],
            points=[{"point": [0, 0, 0], "size": 9, "color": '"/><script>', "opacity": 0.5}],
            texts=[{"text": "<b>&", "x": 0, "y": 0, "z": 0, "color": "black"}],
        )
    )
    assert svg.count("<polygon") == 1
    assert svg.count("<line") == 13  # the box has twelve
    assert svg.count("<circle") == 1
    assert "&lt;b&gt;&amp;" in svg
    assert "script" not in svg
    assert ">z=0.00<" in svg


def test_a_flat_scene_and_a_huge_one_are_drawn() -> None:
    flat = [dict.fromkeys("xyz", 0), dict.fromkeys("xyz", 0)]
    assert "<polygon" in draw(scene(b=flat, surfaces=[SQUARE]))
    huge = {**SQUARE, "faces": [[0, 1, 2]] * (3 * FACES)}
    assert draw(scene(surfaces=[huge])).count("<polygon") <= FACES


def test_what_moves_is_shown_at_its_beginning() -> None:
    later = {**SQUARE, "keyframe": 1}
    assert draw(scene(surfaces=[SQUARE, later])).count("<polygon") == 1
