"""Assignments as teachers write them and students hand them in."""

import json
import textwrap
from collections.abc import Sequence
from typing import Any

from guest import Guest

PYTHON = {"name": "python3", "display_name": "Python 3"}


def cell(text: str, **nbgrader: Any) -> dict[str, Any]:
    """A cell of code.

    Args:
        text: its source.
        nbgrader: what its metadata say.
    """
    about = {"nbgrader": {"schema_version": 3, "grade": False, "solution": False, **nbgrader}}
    return {
        **{"cell_type": "code", "execution_count": None, "outputs": [], "id": f"i{len(text)}"},
        **{"metadata": about if nbgrader else {}, "source": textwrap.dedent(text).strip()},
    }


def book(cells: Sequence[dict[str, Any]], kernel: dict[str, str] = PYTHON) -> dict[str, Any]:
    """A notebook."""
    about = {"kernelspec": kernel} if kernel else {}
    return {"cells": [*cells], "metadata": about, "nbformat": 4, "nbformat_minor": 5}


def write(guest: Guest, path: str, content: str) -> None:
    """Write a file of any length."""
    with guest.root.open_sftp() as files, files.open(path, "w") as file:
        file.write(content)


def hand_in(guest: Guest, course: str, student: str, name: str, notebook: dict[str, Any]) -> None:
    """Put a notebook into a student's hand-in, as NAME/work.ipynb.

    Args:
        guest: where.
        course: path of the course's directory.
        student: whose.
        name: of the assignment.
        notebook: what.
    """
    guest.run(f"mkdir -p {course}/hand-in/{student}/{name}")
    write(guest, f"{course}/hand-in/{student}/{name}/work.ipynb", json.dumps(notebook))


def make_places(guest: Guest, course: str) -> None:
    """Make a course's directories, as the first session of each student does."""
    make = (
        "from pathlib import Path; from provision.guest.pool.courses import *; "
        "known = read_courses(Path('/home/students')); "
        f"members = known['{course}']['members']; "
        "[list(views(Path('/home/students'), name, known)) for name in members]"
    )
    guest.run(f'umask 077; /opt/notebook/bin/python -I -c "{make}"')
