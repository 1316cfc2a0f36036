"""What understands notebooks, for root who does not: nbgrader's part, in a process without rights.

A notebook in otter-grader's form is read into nbgrader's first (``otter``), and an exercise in
TMC's is graded as one (``tmc``).

A request is a line of JSON on standard input, the answer one on standard output. The first names
the assignment; each further one is one student's. nbgrader's own code reads and writes its
metadata, clears solutions, brings back what was locked, and makes the feedback; ``boxes`` runs
the cells in its place.
"""

import contextlib
import functools
import gc
import json
import logging
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import nbformat
from nbconvert.exporters import HTMLExporter  # type: ignore[import-not-found]
from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor  # type: ignore[import-not-found]
from nbgrader import api, utils
from nbgrader import preprocessors as nbgrader

from provision.guest.assignments import boxes, kernels
from provision.guest.assignments.cells import forget_unseen, give_back
from provision.guest.assignments.kernels import Kernel
from provision.guest.assignments.otter import master
from provision.guest.assignments.tmc import exercise
from provision.guest.exports.exporters import complete


class Strip:
    """What nbgrader leaves of a cell that stood twice, and then finds wrong, is taken away."""

    def preprocess(self, notebook: Any, resources: Any) -> tuple[Any, Any]:
        """Take it away, as nbgrader's own steps do theirs."""
        for cell in notebook.cells:
            if not cell.metadata.get("nbgrader", True):
                del cell.metadata["nbgrader"]
        return notebook, resources


def clear() -> Any:
    """The step that takes solutions out, which has a word for them in Sage, too."""
    step: Any = nbgrader.ClearSolutions()
    words = dict.fromkeys(("sage", "bash", "julia"), step.code_stub["python"])
    step.code_stub = {**words, **step.code_stub}
    return step


RELEASE = (
    *(nbgrader.LockCells, clear, nbgrader.ClearOutput),
    *(nbgrader.CheckCellMetadata, nbgrader.ComputeChecksums, nbgrader.SaveCells),
    *(nbgrader.ClearHiddenTests, nbgrader.ClearMarkScheme, nbgrader.ComputeChecksums),
    nbgrader.CheckCellMetadata,
)
SANITIZE = (
    *(nbgrader.ClearOutput, nbgrader.DeduplicateIds, Strip, nbgrader.OverwriteKernelspec),
    *(nbgrader.OverwriteCells, nbgrader.CheckCellMetadata),
)
GRADE = (nbgrader.LimitOutput, nbgrader.SaveAutoGrades, nbgrader.CheckCellMetadata)


# A gradebook is for one run here, in memory.
_GRADEBOOK = "gradebook?mode=memory&cache=shared"
_DATABASE = f"sqlite:///file:{_GRADEBOOK}&uri=true"


class NotebookError(Exception):
    """A notebook that cannot be used; the message says why."""


class Assignment:
    """One assignment, as its teacher wrote it.

    Args:
        name: its name.
        notebooks: the teacher's, by name without ending.
        files: what is beside them.
        folders: whether it is an exercise in TMC's form, all of which is in ``files``.

    ``released`` has the notebooks as students get them; ``missing`` why one cannot be graded here;
    ``given`` the files that students get.

    Raises:
        NotebookError: one cannot be used.
    """

    def __init__(
        self,
        name: str,
        notebooks: dict[str, str],
        files: dict[str, bytes],
        *,
        folders: bool = False,
    ) -> None:
        self.name, self.files = name, files
        self._exercise: exercise.Exercise | None = None
        self._proofs: dict[str, dict[str, Any]] = {}
        self._seeds: dict[str, str] = {}
        # It is there as long as somebody has it open.
        self._held = sqlite3.connect(f"file:{_GRADEBOOK}", uri=True)
        self._sources: dict[str, dict[str, list[str]]] = {}
        self._kernels: dict[str, Kernel] = {}  # by notebook
        self._cells: dict[str, dict[str, Any]] = {}  # what is known of each, likewise
        self.released: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        with self._gradebook() as book:
            book.update_or_create_assignment(name)
        if folders:
            self._exercise = exercise.read(files)
            self.files = self._exercise.beside
            text = json.dumps(self._exercise.notebook(self._exercise.solved))
            notebooks = {exercise.NOTEBOOK: text}
        sources, masters = self._read_all(notebooks)
        steps: tuple[Callable[[], Any], ...] = RELEASE
        if masters or self._exercise:  # whose solutions are no more in what is released
            steps = tuple(step for step in RELEASE if step is not clear)
        for notebook, written in sources.items():
            with _naming(notebook):
                _check_source(written)
                if self._exercise:
                    self._proofs[notebook] = written
                source = handed = written
                if found := masters.get(notebook):
                    if found.is_run:
                        self._proofs[notebook] = found.whole
                    self._seeds[notebook] = found.seed
                    source, handed = map(nbformat.from_dict, (found.whole, found.handed))
                self._sources[notebook] = _source(source)
                try:
                    self._kernels[notebook] = kernels.find(_kernel(source))
                    kernel = self._kernels[notebook]
                    if (kernel.sage or kernel.language) and found:
                        raise LookupError("is in otter-grader's form, whose tests are Python")
                except LookupError as error:
                    self.missing[notebook] = f"{error.args[0]}"
                released = self._through(steps, handed, notebook, "")
                forget_unseen(released)
                self._cells[notebook] = _metadata(released)
                self.released[notebook] = nbformat.writes(released)
        self.given = self._exercise.handed if self._exercise else self.files
        if self._exercise:
            self._sources[exercise.NOTEBOOK] = self._exercise.source()
            self.released = {}

    def prove(self) -> None:
        """Have the teacher's own solution pass the tests, where the form has one that can be run.

        Raises:
            NotebookError: it does not.
        """
        for name, whole in self._proofs.items():
            notebook = nbformat.from_dict(whole)
            solved = self._exercise.solved if self._exercise else {}
            self._run(notebook, name, {**solved, **self.files})
            for cell in notebook.cells:
                if is_test(cell) and cell.metadata.nbgrader.points:
                    with _naming(name):
                        _check_proof(cell)

    def _read_all(
        self, notebooks: dict[str, str]
    ) -> tuple[dict[str, Any], dict[str, master.Master]]:
        """The notebooks; of them those in otter-grader's form, with which none is in nbgrader's."""
        sources, found, others = {}, {}, []
        for notebook, text in notebooks.items():
            with _naming(notebook):
                sources[notebook] = source = read(text)
                if master.is_master(source):
                    found[notebook] = master.read(source, self.files)
                elif any("nbgrader" in cell.metadata for cell in source.cells):
                    others.append(notebook)
        if found and others:
            raise NotebookError(
                f"{min(found)}.ipynb is in otter-grader's form and {min(others)}.ipynb in"
                " nbgrader's: put them into two folders, which are two assignments"
            )
        if found:
            given = {name for each in found.values() for name in each.files}
            self.files = {name: each for name, each in self.files.items() if name in given}
        return sources, found

    def close(self) -> None:
        """Forget the gradebook."""
        self._held.close()

    def grade(
        self,
        student: str,
        notebooks: dict[str, str],
        files: dict[str, bytes],
        marks: dict[str, Any],
        before: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Grade what a student handed in; a notebook that is missing or none gets no points.

        Args:
            student: a name.
            notebooks: by name without ending.
            files: what is beside them; the teacher's replace those of the same name.
            marks: what a teacher gives by hand, by notebook and cell.
            before: not None: the notebooks are graded and have their outputs, nothing is run
                again; why some could not be graded, by name.
        """
        with self._gradebook() as book:
            book.update_or_create_student(student)
            book.update_or_create_submission(self.name, student)
        found = {}
        if self._exercise:
            files = exercise.theirs(files)
            if before is None:
                notebooks = {exercise.NOTEBOOK: json.dumps(self._exercise.notebook(files))}
        for name in self._sources:
            text, beside = notebooks.get(name), {**files, **self.files}
            given = marks.get(name, {})
            try:
                graded = self._grade_one(student, name, text, beside, before)
            except Exception as error:
                self._nothing(student, name)
                self._mark(student, name, given)
                found[name] = {"error": f"{error}" or type(error).__name__}
            else:
                self._mark(student, name, given)
                feedback = self._feedback(graded, name, student)
                found[name] = {"autograded": nbformat.writes(graded), "feedback": feedback}
            found[name] |= self._scores(student, name)
        with self._gradebook() as book:
            submission = book.find_submission(self.name, student)
            return {
                "score": submission.score,
                "max_score": submission.max_score,
                "by_hand": bool(submission.needs_manual_grade),
                "notebooks": found,
            }

    def _grade_one(
        self,
        student: str,
        name: str,
        text: str | None,
        files: dict[str, bytes],
        before: dict[str, str] | None,
    ) -> Any:
        if before is not None and name in before:
            raise NotebookError(before[name])
        if text is None:
            raise NotebookError(f"{name}.ipynb was not handed in")
        notebook = read(text)
        if before is None:
            if name in self.missing:
                raise NotebookError(f"{name}.ipynb {self.missing[name]}")
            give_back(notebook, self._cells[name])
            notebook = self._through(SANITIZE, notebook, name, student)
            self._run(notebook, name, files)
        return self._through(GRADE, notebook, name, student)

    def _mark(self, student: str, name: str, marks: dict[str, Any]) -> None:
        """Put what a teacher gives by hand beside what tests gave."""
        with self._gradebook() as book:
            found = book.find_submission_notebook(name, self.name, student)
            for grade in found.grades:
                if (points := marks.get(grade.name, {}).get("points")) is not None:
                    grade.manual_score, grade.needs_manual_grade = points, False
            for comment in found.comments:
                comment.manual_comment = marks.get(comment.name, {}).get("comment") or None
            book.db.commit()

    def _run(self, notebook: Any, name: str, files: dict[str, bytes]) -> None:
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        cells = [boxes.Cell(cell.source, test=is_test(cell)) for cell in code]
        if seed := self._seeds.get(name):
            before = boxes.Cell(seed, test=False)
            cells = [each for cell in cells for each in (before, cell)]
        outputs = _boxes_of(self._kernels[name]).run(cells, files, self._sources[name])
        outputs = outputs[1::2] if seed else outputs
        for number, (cell, shown) in enumerate(zip(code, outputs, strict=True), 1):
            cell.outputs = [nbformat.from_dict(output) for output in shown]
            cell.execution_count = number

    def _scores(self, student: str, name: str) -> dict[str, Any]:
        with self._gradebook() as book:
            found = book.find_submission_notebook(name, self.name, student)
            cells = {each.name: [each.score, each.max_score] for each in found.grades}
            return {
                **{"score": found.score, "max_score": found.max_score, "cells": cells},
                "auto": {each.name: each.auto_score for each in found.grades},
                "by_hand": [each.name for each in found.grades if each.needs_manual_grade],
                "solutions": [each.name for each in found.comments],
            }

    def _nothing(self, student: str, name: str) -> None:
        """No points for a notebook, as nbgrader has it for one that is missing."""
        with self._gradebook() as book:
            for grade in book.find_submission_notebook(name, self.name, student).grades:
                grade.auto_score, grade.needs_manual_grade = 0, False
            book.db.commit()

    def _feedback(self, notebook: Any, name: str, student: str) -> str:
        page, _ = _exporter().from_notebook_node(notebook, self._resources(name, student))
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
        return {"unique_key": notebook, "nbgrader": {**told, "db_url": _DATABASE}}

    def _gradebook(self) -> Any:
        return api.Gradebook(_DATABASE)


@functools.cache
def _exporter() -> Any:
    """What makes feedback; one for all, since most of its work is to read its templates."""
    templates = Path(utils.__file__).parent / "server_extensions/formgrader"
    exporter = HTMLExporter(
        template_name="feedback",
        extra_template_basedirs=[str(templates / "templates")],
        extra_template_paths=[str(templates / "static/node_modules/bootstrap/dist/css")],
    )
    for each in (nbgrader.GetGrades, CSSHTMLHeaderPreprocessor):
        exporter.register_preprocessor(each, enabled=True)
    return exporter


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


def _check_proof(cell: Any) -> None:
    """Whether a test of the teacher's gave the teacher all of its points."""
    told = cell.metadata.nbgrader
    values = [each["data"]["text/plain"] for each in cell.outputs if "data" in each]
    if values != [f"{told.points!r}"]:
        said = "".join(str(each.get("text", each.get("evalue", ""))) for each in cell.outputs)
        raise NotebookError(
            f"the solution does not get all points of {told.grade_id}: {said.strip() or values}"
        )


def _check_source(notebook: Any) -> None:
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code" and "### AUTOTEST" in cell.source:
            raise NotebookError(f"cell {number}: AUTOTEST is not offered here: write the test")


def _kernel(notebook: Any) -> str:
    return str(notebook.metadata.get("kernelspec", {}).get("name", ""))


def _metadata(notebook: Any) -> dict[str, Any]:
    """What nbgrader knows of a notebook's cells, by their names."""
    about = [cell.metadata.nbgrader for cell in notebook.cells if "nbgrader" in cell.metadata]
    return {each.grade_id: each for each in about if "grade_id" in each}


def _source(notebook: Any) -> dict[str, list[str]]:
    """What ``Source`` is made of; before solutions are cleared, for those define names."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and not is_test(cell)]
    return {
        "cells": [cell.source for cell in code if not utils.is_locked(cell)],
        "locked": [cell.source for cell in code if utils.is_locked(cell)],
    }


@contextlib.contextmanager
def _naming(notebook: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise NotebookError(f"{notebook}.ipynb: {error}") from error


def _bytes(files: dict[str, str]) -> dict[str, bytes]:
    return {name: bytes.fromhex(content) for name, content in files.items()}


@functools.cache
def prepare() -> None:
    """Have nbgrader do what is needed here, and each thing once."""
    logging.getLogger("traitlets").setLevel(logging.ERROR)
    # Nobody asks for a gradebook's version, which takes seconds.
    api.get_alembic_version = lambda: ""
    # Each step opens it anew: what SQLAlchemy has made of the questions is the engine's.
    api.create_engine = functools.cache(api.create_engine)
    gc.freeze()  # what was imported is looked through no more


_BOXES: dict[tuple[str, ...], boxes.Boxes] = {}  # by what starts their kernel


def _boxes_of(kernel: Kernel) -> boxes.Boxes:
    key = kernel.python + (kernel.language.argv if kernel.language else ())
    if key not in _BOXES:
        _BOXES[key] = boxes.Boxes(boxes.root(Path(tempfile.mkdtemp()), kernel), kernel)
    return _BOXES[key]


@contextlib.contextmanager
def keeping_boxes() -> Iterator[None]:
    """Let boxes that are begun stay from one assignment to the next."""
    with tempfile.TemporaryDirectory(prefix="boxes-") as place:
        tempfile.tempdir = place
        try:
            yield
        finally:
            for each in _BOXES.values():
                each.close()
            _BOXES.clear()
            tempfile.tempdir = None


def serve(questions: TextIO, answers: TextIO) -> None:
    """Answer requests of one assignment until there are no more."""
    assignment: Assignment | None = None
    with contextlib.ExitStack() as stack:
        for line in questions:
            request = json.loads(line)
            try:
                files = _bytes(request["files"])
                if assignment is None:
                    fresh = Assignment(
                        request["assignment"],
                        request["notebooks"],
                        files,
                        folders=request["folders"],
                    )
                    stack.callback(fresh.close)
                    answer: dict[str, Any] = {"released": fresh.released}
                    answer["missing"] = fresh.missing
                    if request["release"]:
                        fresh.prove()
                        answer["given"] = {k: v.hex() for k, v in fresh.given.items()}
                    assignment = fresh
                else:
                    told = {k: request[k] for k in ("student", "notebooks", "marks", "before")}
                    answer = assignment.grade(files=files, **told)
            except Exception as error:
                answer = {"error": f"{error}" or type(error).__name__}
            print(json.dumps(answer), file=answers, flush=True)
            if assignment is None:
                return


def main() -> None:
    """Answer standard input."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints, prints there
    prepare()
    with keeping_boxes():
        serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
