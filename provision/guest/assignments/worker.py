"""What understands notebooks, for root who does not: nbgrader's part, in a process without rights.

A request is a line of JSON on standard input, the answer one on standard output. The first names
the assignment; each further one is one student's. nbgrader's own code reads and writes its
metadata, clears solutions, brings back what was locked, and makes the feedback; ``boxes`` runs
the cells in its place.
"""

import contextlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import HTMLExporter  # type: ignore[import-not-found]
from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor  # type: ignore[import-not-found]
from nbgrader import api, utils
from nbgrader import preprocessors as nbgrader

from provision.guest.assignments import boxes
from provision.guest.exports.exporters import complete


class Strip:
    """What nbgrader leaves of a cell that stood twice, and then finds wrong, is taken away."""

    def preprocess(self, notebook: Any, resources: Any) -> tuple[Any, Any]:
        """Take it away, as nbgrader's own steps do theirs."""
        for cell in notebook.cells:
            if not cell.metadata.get("nbgrader", True):
                del cell.metadata["nbgrader"]
        return notebook, resources


LANGUAGES = ("python", "python3")  # names of kernels
RELEASE = (
    *(nbgrader.LockCells, nbgrader.ClearSolutions, nbgrader.ClearOutput),
    *(nbgrader.CheckCellMetadata, nbgrader.ComputeChecksums, nbgrader.SaveCells),
    *(nbgrader.ClearHiddenTests, nbgrader.ClearMarkScheme, nbgrader.ComputeChecksums),
    nbgrader.CheckCellMetadata,
)
SANITIZE = (
    *(nbgrader.ClearOutput, nbgrader.DeduplicateIds, Strip, nbgrader.OverwriteKernelspec),
    *(nbgrader.OverwriteCells, nbgrader.CheckCellMetadata),
)
GRADE = (nbgrader.LimitOutput, nbgrader.SaveAutoGrades, nbgrader.CheckCellMetadata)


class NotebookError(Exception):
    """A notebook that cannot be used; the message says why."""


class Assignment:
    """One assignment, as its teacher wrote it.

    Args:
        name: its name.
        notebooks: the teacher's, by name without ending.
        files: what is beside them.
        scratch: an empty directory.

    ``released`` has the notebooks as students get them.

    Raises:
        NotebookError: one cannot be used.
    """

    def __init__(
        self, name: str, notebooks: dict[str, str], files: dict[str, bytes], scratch: Path
    ) -> None:
        self.name, self.files = name, files
        self._database = f"sqlite:///{scratch}/gradebook.db"
        self._root = boxes.root(scratch / "root")
        self._sources = {}
        self.released = {}
        with self._gradebook() as book:
            book.update_or_create_assignment(name)
        for notebook, text in notebooks.items():
            with _named(notebook):
                source = read(text)
                _check_source(source)
                self._sources[notebook] = _source(source)
                released = self._through(RELEASE, source, notebook, "")
                self.released[notebook] = nbformat.writes(released)

    def grade(
        self, student: str, notebooks: dict[str, str], files: dict[str, bytes]
    ) -> dict[str, Any]:
        """Grade what a student handed in; a notebook that is missing or none gets no points.

        Args:
            student: a name.
            notebooks: by name without ending.
            files: what is beside them; the teacher's replace those of the same name.
        """
        with self._gradebook() as book:
            book.update_or_create_student(student)
            book.update_or_create_submission(self.name, student)
        found = {
            name: self._grade_one(student, name, notebooks.get(name), {**files, **self.files})
            for name in self._sources
        }
        with self._gradebook() as book:
            submission = book.find_submission(self.name, student)
            return {
                "score": submission.score,
                "max_score": submission.max_score,
                "by_hand": bool(submission.needs_manual_grade),
                "notebooks": found,
            }

    def _grade_one(
        self, student: str, name: str, text: str | None, files: dict[str, bytes]
    ) -> dict[str, Any]:
        try:
            if text is None:
                raise NotebookError(f"{name}.ipynb was not handed in")
            graded = self._through(SANITIZE, read(text), name, student)
            self._run(graded, name, files)
            graded = self._through(GRADE, graded, name, student)
        except Exception as error:
            self._nothing(student, name)
            return {"error": f"{error}" or type(error).__name__, **self._scores(student, name)}
        return {
            "autograded": nbformat.writes(graded),
            "feedback": self._feedback(graded, name, student),
            **self._scores(student, name),
        }

    def _run(self, notebook: Any, name: str, files: dict[str, bytes]) -> None:
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        cells = [boxes.Cell(cell.source, test=is_test(cell)) for cell in code]
        outputs = boxes.run(self._root, cells, files, self._sources[name])
        for number, (cell, shown) in enumerate(zip(code, outputs, strict=True), 1):
            cell.outputs = [nbformat.from_dict(output) for output in shown]
            cell.execution_count = number

    def _scores(self, student: str, name: str) -> dict[str, Any]:
        with self._gradebook() as book:
            found = book.find_submission_notebook(name, self.name, student)
            cells = {each.name: [each.score, each.max_score] for each in found.grades}
            return {"score": found.score, "max_score": found.max_score, "cells": cells}

    def _nothing(self, student: str, name: str) -> None:
        """No points for a notebook, as nbgrader has it for one that is missing."""
        with self._gradebook() as book:
            for grade in book.find_submission_notebook(name, self.name, student).grades:
                grade.auto_score, grade.needs_manual_grade = 0, False
            book.db.commit()

    def _feedback(self, notebook: Any, name: str, student: str) -> str:
        templates = Path(utils.__file__).parent / "server_extensions/formgrader"
        exporter = HTMLExporter(
            template_name="feedback",
            extra_template_basedirs=[str(templates / "templates")],
            extra_template_paths=[str(templates / "static/node_modules/bootstrap/dist/css")],
        )
        for each in (nbgrader.GetGrades, CSSHTMLHeaderPreprocessor):
            exporter.register_preprocessor(each, enabled=True)
        page, _ = exporter.from_notebook_node(notebook, self._resources(name, student))
        return str(complete(page))

    def _through(
        self, steps: tuple[Callable[[], Any], ...], notebook: Any, name: str, student: str
    ) -> Any:
        resources = self._resources(name, student)
        for step in steps:
            notebook, resources = step().preprocess(notebook, resources)
        return notebook

    def _resources(self, notebook: str, student: str) -> dict[str, Any]:
        told = {"assignment": self.name, "notebook": notebook, "student": student}
        return {"unique_key": notebook, "nbgrader": {**told, "db_url": self._database}}

    def _gradebook(self) -> Any:
        return api.Gradebook(self._database)


def read(text: str) -> Any:
    """Read a notebook.

    Raises:
        NotebookError: it is none, or of another format.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotebookError(f"is no notebook: {error}") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("cells", raw.get("worksheets")), list):
        raise NotebookError("is no notebook: it has no cells")
    if raw.get("nbformat") != nbformat.current_nbformat:
        raise NotebookError(
            f"is of nbformat {raw.get('nbformat')}, not 4: open it in JupyterLab and save it"
        )
    try:
        return nbformat.reads(text, as_version=nbformat.current_nbformat)
    except Exception as error:
        raise NotebookError(f"is no notebook: {error}".splitlines()[0]) from error


def is_test(cell: Any) -> bool:
    """Whether a cell is one of the teacher's tests, which gives points by itself."""
    return bool(utils.is_grade(cell)) and not utils.is_solution(cell)


def _check_source(notebook: Any) -> None:
    kernel = notebook.metadata.get("kernelspec", {}).get("name", "")
    if kernel not in LANGUAGES:
        raise NotebookError(
            f"has the kernel {kernel!r}; notebooks of the kernel python3 can be graded"
        )
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code" and "### AUTOTEST" in cell.source:
            raise NotebookError(f"cell {number}: AUTOTEST is not offered here: write the test")


def _source(notebook: Any) -> dict[str, list[str]]:
    """What ``Source`` is made of; before solutions are cleared, for those define names."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and not is_test(cell)]
    return {
        "cells": [cell.source for cell in code if not utils.is_locked(cell)],
        "locked": [cell.source for cell in code if utils.is_locked(cell)],
    }


@contextlib.contextmanager
def _named(notebook: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise NotebookError(f"{notebook}.ipynb: {error}") from error


def _bytes(files: dict[str, str]) -> dict[str, bytes]:
    return {name: bytes.fromhex(content) for name, content in files.items()}


def main() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints, prints there
    logging.getLogger("traitlets").setLevel(logging.ERROR)
    # A gradebook is for one run here, so that nobody asks for its version, which takes seconds.
    api.get_alembic_version = lambda: ""
    with tempfile.TemporaryDirectory(prefix="assignment-") as scratch:
        assignment: Assignment | None = None
        for line in sys.stdin:
            request = json.loads(line)
            try:
                files = _bytes(request["files"])
                if assignment is None:
                    told = request["assignment"], request["notebooks"], files, Path(scratch)
                    assignment = Assignment(*told)
                    answer: dict[str, Any] = {"released": assignment.released}
                else:
                    answer = assignment.grade(request["student"], request["notebooks"], files)
            except Exception as error:
                answer = {"error": f"{error}" or type(error).__name__}
            print(json.dumps(answer), file=answers, flush=True)
            if assignment is None:
                return


if __name__ == "__main__":
    main()
