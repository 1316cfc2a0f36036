"""Assignments as teachers write them and students hand them in."""

import base64
import json
import textwrap
from collections.abc import Mapping, Sequence
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


def hand_in_all(guest: Guest, course: str, name: str, work: Mapping[str, str]) -> None:
    """Put many students' notebooks there at once, as ``hand_in`` does one.

    Args:
        guest: where.
        course: path of the course's directory.
        name: of the assignment.
        work: text of the notebook, by student.
    """
    script = ["set -e", f"cd {course}/hand-in"]
    for student, text in work.items():
        packed = base64.b64encode(text.encode()).decode()
        place = f"{student}/{name}"
        script.append(f"mkdir {place}; echo {packed} | base64 -d > {place}/work.ipynb")
    write(guest, "/root/hand-in.sh", "\n".join(script))
    guest.run("sh /root/hand-in.sh")


def make_places(guest: Guest, course: str) -> None:
    """Make a course's directories, as the first session of each student does."""
    make = (
        "from pathlib import Path; from provision.guest.pool.courses import *; "
        "known = read_courses(Path('/home/students')); "
        f"members = known['{course}']['members']; "
        "[list(views(Path('/home/students'), name, known)) for name in members]"
    )
    guest.run(f'umask 077; /opt/notebook/bin/python -I -c "{make}"')
