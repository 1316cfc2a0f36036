"""What teachers give by hand, beside what tests gave, and keep with the version."""

from pathlib import Path
from typing import Any

from provision.guest.assignments.errors import AssignmentError
from provision.guest.assignments.versions import read_json
from provision.guest.words import say


def read_marks(version: Path) -> dict[str, Any]:
    """What was given by hand to a version."""
    path = version / "marks.json"
    return read_json(path) if path.exists() else {}


def is_graded(version: Path) -> bool:
    """Whether there is a result, with all that was given by hand; one that is damaged is none."""
    try:
        return bool(read_json(version / "result.json").get("marks", {}) == read_marks(version))
    except (OSError, ValueError):
        return False


def list_cells(
    notebook: str, result: dict[str, Any], marks: dict[str, Any]
) -> list[dict[str, Any]]:
    """The cells to which a teacher may give points or a comment.

    Args:
        notebook: its name.
        result: what came of it.
        marks: what was given to its cells.
    """
    points, solutions = result.get("cells", {}), result.get("solutions", [])
    found = []
    for name in dict.fromkeys((*points, *solutions)):
        given = marks.get(name, {})
        told = {"notebook": notebook, "cell": name, "solution": name in solutions}
        told |= {"auto": result.get("auto", {}).get(name), "most": points.get(name, [0, None])[1]}
        told |= {"by_hand": name in result.get("by_hand", [])}
        told |= {"points": given.get("points", ""), "comment": given.get("comment", "")}
        found.append({k: "" if v is None and k != "most" else v for k, v in told.items()})
    return found


def check_marks(marks: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
    """What a teacher typed beside cells, as it is kept.

    Args:
        marks: by notebook and cell, as ``Course.mark`` takes them.
        results: what came of the notebooks, by name.

    Raises:
        AssignmentError: there are no such points or cells.
    """
    kept: dict[str, dict[str, Any]] = {}
    for notebook, cells in marks.items():
        known = results.get(notebook, {})
        for cell, typed in cells.items():
            given: dict[str, Any] = {}
            if text := typed.get("points", "").strip():
                if cell not in known.get("cells", {}):
                    raise AssignmentError(
                        say("{what} has no cell {cell} with points", what=notebook, cell=cell)
                    )
                most = known["cells"][cell][1]
                try:
                    given["points"] = float(text.replace(",", "."))
                except ValueError:
                    raise AssignmentError(
                        say("{cell}: {text} is no number of points", cell=cell, text=repr(text))
                    ) from None
                if not 0 <= given["points"] <= most:
                    raise AssignmentError(
                        say(
                            "{cell}: {text} points; it has 0 to {most}",
                            cell=cell,
                            text=text,
                            most=f"{most:g}",
                        )
                    )
            if text := typed.get("comment", "").strip():
                if cell not in known.get("solutions", []):
                    raise AssignmentError(
                        say(
                            "{what} has no cell {cell} that a student solves",
                            what=notebook,
                            cell=cell,
                        )
                    )
                given["comment"] = text
            if given:
                kept.setdefault(notebook, {})[cell] = given
    return kept
