"""What students in an exam are told by the hub's pages, where they are while they have no session.

The hub may not look into courses: root's service, which begins and ends exams, writes for it who is
in one now. A session sees nothing of it.
"""

import contextlib
import datetime
import html
import json
from collections.abc import Mapping
from pathlib import Path

from provision.guest.pool.exams import Exam
from provision.guest.whole import keep
from provision.guest.words import say

PLACE = Path("/run/notebook-invigilator/exams.json")
PAUSED = "exam-paused"  # by which the page finds it, to look whether it is over


def write(exams: Mapping[str, Exam], group: int, path: Path = PLACE) -> None:
    """Write who is in an exam, if it is not as it was.

    Args:
        exams: by student.
        group: the hub's, which alone may read it besides root.
        path: where.

    Raises:
        OSError: it cannot be written.
    """
    told = {
        student: {
            **{"course": exam.course, "assignment": exam.assignment},
            "until": exam.until.isoformat(),
            "paused": exam.paused.isoformat() if exam.paused else "",
        }
        for student, exam in exams.items()
    }
    text = json.dumps(told)
    with contextlib.suppress(OSError):
        if path.read_text() == text:
            return
    keep(path, text, mode=0o640, owner=(0, group))


def read(student: str, path: Path = PLACE) -> dict[str, str]:
    """What there is of a student's exam; empty: no exam goes on."""
    with contextlib.suppress(OSError, ValueError):
        found: dict[str, str] = json.loads(path.read_text()).get(student, {})
        return found
    return {}


def pause_of(student: str, path: Path = PLACE) -> str:
    """What a student reads whose exam is paused; empty: it is not."""
    told = read(student, path)
    if not told.get("paused"):
        return ""
    return say(
        "The exam {name} has been paused for you since {time}. What you have saved is kept, and"
        " the break is added to your time. Start your notebook when it goes on.",
        name=told["assignment"],
        time=_time(told["paused"]),
    )


def note(student: str, path: Path = PLACE) -> str:
    """The same for a page, as HTML; of an exam that goes on, until when."""
    if paused := pause_of(student, path):
        more = say("This page says so by itself.")
        return f'<span id="{PAUSED}" role="status">{html.escape(f"{paused} {more}")}</span>'
    told = read(student, path)
    if not told:
        return ""
    text = say(
        "The exam {name} goes on, for you until {time}. Your notebook has its files.",
        name=told["assignment"],
        time=_time(told["until"]),
    )
    return html.escape(text)


def _time(moment: str) -> str:
    return datetime.datetime.fromisoformat(moment).astimezone().strftime("%H:%M")
