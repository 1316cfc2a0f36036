"""A master notebook, read: what students get, what defines names, and what tests there are.

Source: otter-grader 7, "Otter Assign Format".
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from provision.guest.assignments import cells
from provision.guest.assignments.otter import check, lines, points
from provision.guest.assignments.otter.cases import Case, read_call, read_doctest

_MARK = re.compile(r"#\s+(begin|end)\s+(question|prompt|solution|tests)\b", re.IGNORECASE)
_CONFIG = re.compile(r"#\s+assignment\s+config\b", re.IGNORECASE)
_LEFT_OUT = re.compile(r"(##\s*ignore\s*##|#\s*ignore\b)", re.IGNORECASE)
_FENCE = re.compile(
    r"^[ \t]*```otter[ \t]*\n(.*?)^[ \t]*```[ \t]*$\n?\n?", re.DOTALL | re.MULTILINE
)
_RESPONSE = "_Type your answer here, replacing this text._"
QUESTION = ("name", "manual", "points", "check_cell", "export", "all_or_nothing")
# What decides here; then what is otter's own business, and has no effect.
ASSIGNMENT = (
    *("config_file", "files", "seed", "generate", "tests", "run_tests", "show_question_points"),
    *("strip_solutions_from_all_cells", "autograder_files", "plugins"),
    *("name", "requirements", "overwrite_requirements", "environment"),
    *("solutions_pdf", "template_pdf", "init_cell", "check_all_cell", "export_cell"),
    *("save_environment", "ignore_modules", "student_files", "runs_on", "python_version"),
    *("channel_priority_strict", "suppress_no_tests_warning"),
)
_REFUSED = {
    "autograder_files": "a test sees no files: write what it needs into its cell",
    "plugins": "there are no plug-ins here: leave them out",
}
_NOT_GENERATED = {
    "plugins": "there are no plug-ins here: leave them out",
    "grade_from_log": "there is no log here: the cells are run; leave it out",
    "score_threshold": "points are given as they are: leave it out",
    "points_possible": "the points of the questions count: leave it out",
}


class FormError(Exception):
    """A notebook in otter-grader's form that cannot be carried over; the message says why."""


@dataclass(frozen=True)
class Master:
    """A master notebook.

    Args:
        whole: the teacher's cells with solutions and what nbgrader knows of them.
        handed: the same without solutions; hidden tests are between nbgrader's marks.
        files: names of what students get beside it.
        seed: what is run before each cell; empty: nothing.
        is_run: whether the tests are run on the solution before it is handed out.
    """

    whole: dict[str, Any]
    handed: dict[str, Any]
    files: tuple[str, ...]
    seed: str
    is_run: bool


@dataclass
class _Question:
    name: str
    config: dict[str, Any]
    cell: int
    tests: list[Case] = field(default_factory=list)
    text: dict[str, Any] | None = None  # the last cell of its text, as students get it
    place: int = 0  # where a place for an answer in words goes
    has_prompt: bool = False
    answers: int = 0
    is_solved: bool = False  # in words
    is_tested: bool = False


def is_master(notebook: Mapping[str, Any]) -> bool:
    """Whether a notebook is in otter-grader's form."""
    return any(_mark(cell) or _is_config(cell) for cell in _open_fences(notebook["cells"]))


def read(notebook: Mapping[str, Any], files: Mapping[str, bytes]) -> Master:
    """Read a master notebook.

    Args:
        notebook: as JSON has it, of nbformat 4.
        files: what is beside it.

    Raises:
        FormError: it has a mistake, or what cannot be carried over; the cell is named.
    """
    reader = _MasterReader(files)
    for number, cell in enumerate(_open_fences(notebook["cells"]), 1):
        reader.number = number
        reader.take(cell)
    return reader.finish(notebook)


class _MasterReader:
    """Reads one cell after another; ``kept`` are pairs of a teacher's cell and a student's."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.number = 0
        self.config: dict[str, Any] = {}
        self.kept: list[tuple[dict[str, Any] | None, dict[str, Any] | None]] = []
        self._files, self._blocks = files, [""]
        self._question: _Question | None = None
        self._names: dict[str, int] = {}

    def take(self, cell: dict[str, Any]) -> None:
        """Take a cell."""
        source = cell["source"]
        if "check_work" in source or "HIDDEN TESTS" in source or "nbgrader" in cell["metadata"]:
            word = "the name check_work" if "check_work" in source else "what is nbgrader's"
            self._wrong(f"has {word}, in a notebook of otter-grader's form: leave it out")
        if _LEFT_OUT.match(source):
            return
        if _is_config(cell):
            self._configure(self._yaml(source))
        elif mark := _mark(cell):
            (self._begin if mark[0] == "begin" else self._end)(mark[1], source)
        elif self._blocks[-1] == "tests":
            self._test(cell)
        else:
            self._keep(cell)

    def finish(self, notebook: Mapping[str, Any]) -> Master:
        """What was read."""
        if self._question:
            self.number = self._question.cell
            self._wrong(f"BEGIN {self._blocks[-1].upper()} without its END: write it")
        metadata = {k: v for k, v in notebook["metadata"].items() if k != "otter"}
        if any("check_work" in (c or {}).get("source", "") for _, c in self.kept):
            given = cells.about("otter-tests", locked=True)
            cell = cells.cell("code", check.text(), {"nbgrader": given})
            self.kept.insert(0, (cell, cell))
        whole = cells.book([each for each, _ in self.kept if each], metadata)
        handed = cells.book([each for _, each in self.kept if each], metadata)
        files = tuple(self.config.get("files") or ())
        return Master(whole, handed, files, self._seed(), self.config.get("run_tests", True))

    def _configure(self, told: dict[str, Any]) -> None:
        self._check_keys(told, ASSIGNMENT)
        if name := told.get("config_file"):
            if name not in self._files:
                self._wrong(f"config_file: there is no file {name!r} beside the notebook")
            whole = self._yaml(self._files[name].decode(errors="replace"), name)
            self._check_keys(whole, ASSIGNMENT, name)
            told = {**whole, **told}
        for key, why in _REFUSED.items():
            if told.get(key):
                self._wrong(f"{key}: {why}")
        generate = told.get("generate")
        if isinstance(generate, dict):
            for key, why in _NOT_GENERATED.items():
                if generate.get(key):
                    self._wrong(f"generate.{key}: {why}")
        files = told.get("files") or []
        if not isinstance(files, list) or not all(isinstance(each, str) for each in files):
            self._wrong(f"files: {files!r} is no list of names")
        for name in files:
            if name not in self._files:
                self._wrong(f"files: there is no file {name!r} beside the notebook; put it there")
        self.config = {**self.config, **told}

    def _seed(self) -> str:
        generate, own = (self.config.get(key) for key in ("generate", "seed"))
        told = generate if isinstance(generate, dict) else {}
        variable, seed = told.get("seed_variable"), told.get("seed")
        if isinstance(own, dict):
            variable, seed = own.get("variable"), own.get("autograder_value", seed)
        if seed is None:
            return ""
        if not isinstance(seed, int) or not str(variable or "x").isidentifier():
            self._wrong(f"seed: {variable or ''} {seed!r} is no name and whole number")
        if variable:
            return f"{variable} = {seed}"
        return f"import random, numpy\nnumpy.random.seed({seed}), random.seed({seed});"

    def _begin(self, block: str, source: str) -> None:
        self._at_edge(block)
        question = self._question
        if block == "question":
            told = self._yaml(source)
            name = str(told.get("name") or "")
            if not name:
                self._wrong("the question has no name: write 'name: q1' below BEGIN QUESTION")
            self._check_keys(told, QUESTION)
            if before := self._names.get(cells.identity(name)):
                self._wrong(f"the name {name!r} has the question of cell {before}, too: rename one")
            self._names[cells.identity(name)] = self.number
            self._question = _Question(name, told, self.number)
            if isinstance(told.get("points"), str):
                self._number(told["points"])
        elif question:
            question.is_tested |= block == "tests"
            if block == "prompt":
                question.has_prompt = True
            elif block == "solution":
                question.place = len(self.kept)
        self._blocks.append(block)

    def _at_edge(self, block: str) -> None:
        """Whether a block may begin here."""
        if block != "question" and not self._question:
            self._wrong(f"BEGIN {block.upper()} stands outside of a question: write BEGIN QUESTION")
        if block == "question" and self._question:
            self._wrong(
                f"BEGIN QUESTION stands within the question {self._question.name!r}: end it"
            )
        if len(self._blocks) > 2:
            self._wrong(
                f"BEGIN {block.upper()} stands within a block of {self._blocks[-1]}: end it"
            )

    def _end(self, block: str, _: str) -> None:
        if self._blocks[-1] != block:
            there = self._blocks[-1]
            self._wrong(
                f"END {block.upper()} stands within a block of {there}: end that one first"
                if there
                else f"END {block.upper()} without its BEGIN: write it, or leave this out"
            )
        self._blocks.pop()
        question = self._question
        if question and question.is_solved and not question.has_prompt:
            prompt = self._answer(cells.cell("markdown", _RESPONSE))
            self.kept.insert(question.place, (None, prompt))
            question.has_prompt = True
        if question and block == "question":
            self._finish(question)
            self._question = None

    def _finish(self, question: _Question) -> None:
        """Put a question's tests after it."""
        told, manual = question.config.get("points"), bool(question.config.get("manual"))
        most: float
        if manual:
            most = self._number(told or 0)
            if question.tests:
                self._wrong("it is manual and has tests: make two questions of it")
            if not question.answers:
                self._wrong("it is manual and has no answer: write BEGIN SOLUTION or BEGIN PROMPT")
        elif question.tests:
            try:
                shares = points.share(told, [test.points for test in question.tests])
            except ValueError as error:
                self._wrong(str(error))
            most = sum(shares)
            tests = list(zip(question.tests, shares, strict=True))
            whole = bool(question.config.get("all_or_nothing"))
            about = cells.about(question.name, grade=True, points=most, locked=True)
            cell = cells.cell("code", _check_cell(question.name, tests, whole), {"nbgrader": about})
            self.kept.append((cell, cell))
        elif question.is_tested or told:
            self._wrong("it has no tests: write them in BEGIN TESTS, or 'manual: true'")
        else:
            most = 0
        if self.config.get("show_question_points") and question.text:
            question.text["source"] += f"\n\n_Points:_ {most:g}"

    def _test(self, cell: dict[str, Any]) -> None:
        assert self._question  # noqa: S101
        if cell["cell_type"] != "code":
            self._wrong(f"is of {cell['cell_type']}, among tests: only code can be a test")
        told = self.config.get("tests")
        plain = not isinstance(told, dict) or told.get("ok_format", True)
        try:
            self._question.tests.append((read_doctest if plain else read_call)(cell))
        except ValueError as error:
            self._wrong(str(error))

    def _keep(self, cell: dict[str, Any]) -> None:
        kind, block, question = cell["cell_type"], self._blocks[-1], self._question
        everywhere = bool(self.config.get("strip_solutions_from_all_cells"))
        metadata = {k: v for k, v in cell["metadata"].items() if k in ("tags", "slideshow")}
        try:
            source = lines.drop_own(cell["source"])
            bare = source
            if kind == "code" and (block == "solution" or everywhere):
                bare = lines.drop_solution(source)
        except ValueError as error:
            self._wrong(str(error))
        if any(
            line.rstrip().endswith(("# BEGIN PLUGIN", "# BEGIN PLUGIN EXPORT"))
            for line in source.split("\n")
        ):
            self._wrong("BEGIN PLUGIN: there are no plug-ins here: leave it out")
        if kind != "code" and source == "" and cell["source"]:
            return
        shown = {key: cell[key] for key in ("attachments",) if key in cell}
        whole, bared = ({**cells.cell(kind, each, metadata), **shown} for each in (source, bare))
        if not question:
            self.kept.append((whole, bared))
        elif block == "question":
            if kind == "markdown":
                question.text = bared
            elif kind == "code":
                about = cells.about(f"{question.name}-given-{len(self.kept)}", locked=True)
                for each in (whole, bared):
                    each["metadata"]["nbgrader"] = about
            self.kept.append((whole, bared))
        elif block == "solution" and kind == "markdown":
            question.is_solved = bool(question.config.get("manual"))
            if "otter_include" in metadata.get("tags", ()):
                self.kept.append((None, self._answer(bared)))
        else:
            self._answer(bared)
            whole["metadata"] = bared["metadata"]
            self.kept.append((whole, bared))

    def _answer(self, cell: dict[str, Any]) -> dict[str, Any]:
        """Make a cell one that a student solves; a manual question's first has its points."""
        question = self._question
        assert question  # noqa: S101
        question.answers += 1
        first = question.answers == 1 and bool(question.config.get("manual"))
        name = question.name if first else f"{question.name}-answer-{question.answers}"
        about = cells.about(name, solution=True)
        if first:
            about |= {"grade": True, "points": self._number(question.config.get("points") or 0)}
        if first or cell["cell_type"] == "code":  # nbgrader knows no words beside those
            cell["metadata"] = {**cell["metadata"], "nbgrader": about}
        return cell

    def _number(self, value: Any) -> float:
        try:
            return points.number(value)
        except ValueError as error:
            self._wrong(f"{error}: write one, as 2 or 0.5")

    def _check_keys(self, told: Mapping[str, Any], keys: tuple[str, ...], file: str = "") -> None:
        for key in told:
            if key not in keys:
                near = difflib.get_close_matches(str(key), keys, 1)
                mend = f"write {near[0]!r}" if near else f"there are: {', '.join(keys)}"
                self._wrong(f"{file and f'{file}: '}there is no key {key!r}: {mend}")

    def _yaml(self, text: str, file: str = "") -> dict[str, Any]:
        try:
            told = yaml.safe_load(text)
        except yaml.YAMLError as error:
            at = getattr(error, "problem_mark", None)
            line = text.split("\n")[min(at.line, text.count("\n"))] if at else text
            where = f"{file or 'it'}, line {at.line + 1 if at else 1}, {line.strip()!r}"
            self._wrong(f"{where}: {getattr(error, 'problem', error)}; write it as 'points: 2'")
        if told is None:
            return {}
        if not isinstance(told, dict):
            self._wrong(f"{file or 'it'} says {told!r}: write keys and values, as 'points: 2'")
        return told

    def _wrong(self, why: str) -> NoReturn:
        of = f", question {self._question.name}" if self._question else ""
        raise FormError(f"cell {self.number}{of}: {why}")


def _check_cell(name: str, tests: list[tuple[Case, float]], whole: bool) -> str:
    """The cell that runs the tests of a question."""
    most = sum(share for _, share in tests)
    found = [f"# Run this cell to check your work on {name}, {most:g} points.", ""]
    found[1] = f"check_work({name!r}, ["
    for test, share in tests:
        told = {"points": repr(share), "code": cells.literal(test.code)}
        words = {"call": test.call, "success": test.success, "failure": test.failure}
        told |= {key: repr(each) for key, each in words.items() if each}
        line = f"    {{{', '.join(f'{key!r}: {each}' for key, each in told.items())}}},"
        hidden = ["### BEGIN HIDDEN TESTS", line, "### END HIDDEN TESTS"]
        found += hidden if test.hidden else [line]
    found.append("], whole=True)" if whole else "])")
    return "\n".join(found)


def _is_config(cell: Mapping[str, Any]) -> bool:
    return cell["cell_type"] == "raw" and bool(_CONFIG.match(cell["source"]))


def _mark(cell: Mapping[str, Any]) -> tuple[str, str] | None:
    """Whether a cell begins or ends a block, and which."""
    found = _MARK.match(cell["source"]) if cell["cell_type"] == "raw" else None
    return (found[1].lower(), found[2].lower()) if found else None


def _open_fences(all_of: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The cells; what stands in a markdown cell as a block of otter's is a raw cell."""
    for cell in all_of:
        if cell["cell_type"] != "markdown" or not _FENCE.search(cell["source"]):
            yield cell
            continue
        for number, part in enumerate(_FENCE.split(cell["source"])):
            if part.strip():
                kind = "raw" if number % 2 else "markdown"
                yield cells.cell(
                    kind, part.rstrip("\n"), cell["metadata"] if kind != "raw" else None
                )
