"""What is known of students' work: a row for each, and all of them as a table."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.guest.assignments.versions import read_json
from provision.guest.words import no_formula

LONG, MANY = 400, 50  # characters of a problem that is shown; how many of a student's are
# As nbgrader exports them, and what was wrong.
COLUMNS = (
    *("assignment", "duedate", "timestamp", "student_id", "raw_score"),
    *("late_submission_penalty", "score", "max_score", "late", "by_hand", "problems"),
)


@dataclass(frozen=True)
class Row:
    """What is known of one student's work.

    Args:
        student: whose.
        handed: when the newest version was changed last; empty: nothing was handed in.
        late: whether that was after the deadline and its grace.
        versions: how many there are.
        score, max_score: None: not graded yet.
        by_hand: something is left to be graded by hand.
        returned: whether the student has the feedback.
        problems: what could not be taken, or not be graded.
        graded: when; empty: not yet.
    """

    student: str
    handed: str = ""
    late: bool = False
    versions: int = 0
    score: float | None = None
    max_score: float | None = None
    by_hand: bool = False
    returned: bool = False
    problems: tuple[str, ...] = ()
    graded: str = ""


def read_row(student: str, versions: Sequence[Path], *, results: bool = True) -> Row:
    """What is known of a student's work; of what is damaged, that it is.

    Args:
        student: whose.
        versions: of it.
        results: what came of it, too.
    """
    if not versions:
        return Row(student)
    try:
        return _read(student, versions, results=results)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        problem = f"version {len(versions)} cannot be read: {type(error).__name__}: {error}"
        return Row(student, versions=len(versions), problems=_brief([problem]))


def _read(student: str, versions: Sequence[Path], *, results: bool) -> Row:
    told = read_json(versions[-1] / "version.json")
    problems = [f"{name}: {why}" for name, why in told["problems"].items()]
    result: dict[str, Any] = {}
    if results and (versions[-1] / "result.json").exists():
        result = read_json(versions[-1] / "result.json")
        problems += [result["error"]] if "error" in result else []
        for name, each in result.get("notebooks", {}).items():
            problems += [f"{name}: {each['error']}"] if "error" in each else []
    return Row(
        student,
        told["handed"],
        told["late"],
        len(versions),
        result.get("score"),
        result.get("max_score"),
        bool(result.get("by_hand")),
        (versions[-1] / "returned").exists(),
        _brief(problems),
        str(result.get("graded", "")),
    )


def write_table(rows: Iterable[tuple[str, str, Row]]) -> str:
    """Rows as CSV.

    Args:
        rows: each with the assignment and its deadline.
    """
    file = io.StringIO()
    table = csv.DictWriter(file, COLUMNS)
    table.writeheader()
    for assignment, due, row in rows:
        score = "" if row.score is None else row.score
        table.writerow(
            {
                **{"assignment": assignment, "duedate": due, "timestamp": row.handed},
                **{"student_id": row.student, "raw_score": score, "score": score},
                **{"max_score": "" if row.max_score is None else row.max_score},
                **{"late_submission_penalty": 0, "late": row.late},
                **{"by_hand": row.by_hand, "problems": no_formula("; ".join(row.problems))},
            }
        )
    return file.getvalue()


def _brief(problems: list[str]) -> tuple[str, ...]:
    """Problems as they fit into a page and a table: names and words in them are a student's."""
    shown = [each if len(each) <= LONG else f"{each[:LONG]}…" for each in problems[:MANY]]
    return (*shown, *[f"and {len(problems) - MANY} more"] * (len(problems) > MANY))
