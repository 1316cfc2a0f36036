"""Cells of notebooks as nbgrader knows them, for what is read from other forms."""

import re
from collections.abc import Mapping
from typing import Any


def cell(kind: str, source: str, metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    """A cell without outputs.

    Args:
        kind: ``code``, ``markdown`` or ``raw``.
        source: its text.
        metadata: what else is known of it.
    """
    code: dict[str, Any] = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "metadata": dict(metadata or {}), "source": source, **code}


def about(name: str, **told: Any) -> dict[str, Any]:
    """What nbgrader knows of a cell.

    Args:
        name: the cell's.
        told: what is not as of a cell that is only shown.
    """
    plain = {"schema_version": 3, "grade": False, "solution": False, "locked": False, "task": False}
    return {**plain, "grade_id": identity(name), **told}


def identity(name: str) -> str:
    """A name as nbgrader can have it: of letters, digits, ``-`` and ``_``."""
    return re.sub(r"[^a-zA-Z0-9_-]", "-", name)


def book(cells: list[dict[str, Any]], metadata: dict[str, Any]) -> dict[str, Any]:
    """A notebook of cells, which are given their names."""
    numbered = [{**each, "id": f"cell-{number}"} for number, each in enumerate(cells)]
    return {"cells": numbered, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def give_back(notebook: dict[str, Any], told: Mapping[str, Mapping[str, Any]]) -> None:
    """Have a student's cells be what the teacher's are, whatever their metadata say.

    Args:
        notebook: the student's, as JSON has it; is changed.
        told: what nbgrader knows of the teacher's cells, by their names; of others nothing.
    """
    for each in notebook["cells"]:
        theirs = each["metadata"].pop("nbgrader", None)
        name = theirs.get("grade_id") if isinstance(theirs, dict) else None
        if isinstance(name, str) and name in told:
            each["metadata"]["nbgrader"] = type(theirs)(told[name])


def forget_unseen(notebook: dict[str, Any]) -> None:
    """Take out what no text shows any more: pictures of a solution, and what widgets have shown.

    Args:
        notebook: as JSON has it; is changed.
    """
    notebook["metadata"].pop("widgets", None)
    for each in notebook["cells"]:
        if kept := each.pop("attachments", None):
            shown = {name: data for name, data in kept.items() if name in each["source"]}
            each.update({"attachments": shown} if shown else {})


def literal(text: str) -> str:
    """A text as Python has it, readable where it can be."""
    plain = "'''" not in text and not text.endswith(("'", "\\"))
    return f"r'''\n{text}\n'''" if plain else repr(text)
