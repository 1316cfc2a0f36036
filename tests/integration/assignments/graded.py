"""What the tests of each graded language have in common: its boxes, and what nobody gains."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from provision.guest.assignments import boxes
from provision.guest.assignments.kernels import LANGUAGES, Kernel
from provision.process import require

Outputs = list[list[dict[str, Any]]]
MARK = "what-no-student-reads"


@contextlib.contextmanager
def boxes_of(language: str, program: str, packages: str, root: Path) -> Iterator[boxes.Boxes]:
    """Boxes for a language of this machine, whose program the packages bring."""
    require(program, packages)
    known = LANGUAGES[language]
    places = tuple(each for each in known.places if each.is_dir())
    kernel = Kernel(("/usr/bin/python3",), places, language=known)
    found = boxes.Boxes(boxes.root(root, kernel), kernel)
    yield found
    found.close()


def fails(outputs: list[dict[str, Any]]) -> bool:
    """Whether a test gives no points, as nbgrader has it."""
    return any(each["output_type"] == "error" or each.get("name") == "stderr" for each in outputs)


def assert_nothing_gained(found: Outputs) -> None:
    """No test passes, none of it is in what the first three cells or what was printed shows."""
    assert all(map(fails, found[3:])), found[3:]
    assert "-no-student-" not in json.dumps(found[:3])
    printed = [out["text"] for each in found for out in each if out.get("name") == "stdout"]
    lines = "".join(printed).splitlines()
    assert not [line for line in lines if "SEEN" in line and "-no-student-" in line]
    assert len(json.dumps(found)) < 1 << 20
