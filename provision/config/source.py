"""Read what the user wrote, and remember where each value stands."""

import contextlib
import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from provision.config.problems import Key, Problem, Spot

LARGEST_FILE = 1 << 20
_BOM = "\ufeff"


@dataclass
class Document:
    """Values as plain data, the place of each, and what could not be read.

    ``data`` holds dicts, tuples and scalars; ``spots`` points at values, ``names`` at the keys
    themselves; ``unread`` are the keys whose values could not be read and stand as None.
    """

    data: dict[str, Any] = field(default_factory=dict)
    spots: dict[Key, Spot] = field(default_factory=dict)
    names: dict[Key, Spot] = field(default_factory=dict)
    unread: set[Key] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def find(self, key: Key) -> Spot | None:
        """Where the value stands; else the nearest enclosing key that was written."""
        if key in self.spots:
            return self.spots[key]
        while key:
            if key in self.names:
                return self.names[key]
            key = key[:-1]
        return None

    def assign(self, key: tuple[str, ...], value: Any, spot: Spot) -> None:
        """Put one value over what is there, as an environment variable or an option does."""
        target = self.data
        for part in key[:-1]:
            inner = target.get(part)
            target[part] = dict(inner) if isinstance(inner, dict) else {}
            target = target[part]
        target[key[-1]] = value
        for known in [k for k in (*self.spots, *self.names) if k[: len(key)] == key]:
            self.spots.pop(known, None)
            self.names.pop(known, None)
        for depth in range(1, len(key) + 1):
            self.names.setdefault(key[:depth], spot)
        self.names[key] = self.spots[key] = spot


def read_file(path: Path) -> Document:
    """Read a YAML file; whatever is wrong with it is in ``problems``, never raised."""
    name = str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        mend = "make one with: appliance init" if isinstance(error, FileNotFoundError) else ""
        return _refuse(Problem((), f"{name}: {reason}", mend))
    if len(raw) > LARGEST_FILE:
        return _refuse(Problem((), f"{name}: larger than 1 MiB", "give an appliance.yml"))
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        shown = raw.splitlines()[line - 1].decode("utf-8", errors="replace")
        return _refuse(
            Problem(
                (), "not UTF-8", "save the file as UTF-8", spot=Spot(name, shown, line, column, 1)
            )
        )
    return read_text(text, name)


def read_text(text: str, name: str) -> Document:
    """Read YAML text; ``name`` is what its places are called."""
    if text.startswith(_BOM):
        first = text.split("\n", 1)[0]
        message, mend = "begins with a byte order mark", "save the file as UTF-8 without BOM"
        return _refuse(Problem((), message, mend, spot=Spot(name, first, 1, 1, 1)))
    source = Document()
    node = _compose(text, name, source)
    if node is None:
        return source
    reader = _Reader(_lines(text), name, source)
    value = reader.value(node, ())
    if isinstance(value, dict):
        source.data = value
    elif value is not None and not source.problems:
        source.problems.append(
            Problem(
                (), "not a mapping", "write lines of the form key: value", spot=reader.spot(node)
            )
        )
    return source


def read_assignment(source: Document, key: tuple[str, ...], label: str, text: str) -> None:
    """Put one value over the file's, written in YAML's short form.

    Args:
        source: what the file gave; changed in place.
        key: which value.
        label: the variable or option that gives it, as the user wrote it.
        text: the value, as in ``4G``, ``[a, b]`` or ``{host: 2222, guest: 22}``.
    """
    spot = Spot(label, f"{label}={text}", 0, len(label) + 2, max(1, len(text)))
    own = Document()
    node = _compose(text, label, own)
    value = _Reader(_lines(text), label, own).value(node, key) if node else None
    source.problems += [replace(problem, key=key, spot=spot) for problem in own.problems]
    if not own.problems:
        source.assign(key, value, spot)


def _refuse(problem: Problem) -> Document:
    return Document(problems=[problem])


def _lines(text: str) -> list[str]:
    """The lines as the YAML reader counts them."""
    return re.split("\r\n|[\n\r\x85\u2028\u2029]", text)


def _compose(text: str, name: str, source: Document) -> Node | None:
    """The tree of the text, or None and a problem."""
    lines = _lines(text)
    try:
        node: Node | None = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        shown = lines[line] if line < len(lines) else ""
        message, mend = _explain(error, shown, column)
        spot = Spot(name, shown, line + 1, column + 1, 1)
        source.problems.append(Problem((), message, mend, spot=spot))
        return None
    except ReaderError as error:
        before = _lines(text[: error.position])
        spot = Spot(name, lines[len(before) - 1], len(before), len(before[-1]) + 1, 1)
        source.problems.append(Problem((), "a control character", "remove it", spot=spot))
        return None
    except RecursionError:
        source.problems.append(Problem((), f"{name}: nested too deeply", "flatten it"))
        return None
    except Exception as error:
        reason = str(error).strip().splitlines()
        source.problems.append(Problem((), f"{name}: not YAML: {reason[0] if reason else error!r}"))
        return None
    return node


def _explain(error: MarkedYAMLError, line: str, column: int) -> tuple[str, str]:
    if "\t" in line[: column + 1]:
        return "a tab in the indentation", "indent with spaces"
    problem = str(error.problem or error.context or "not YAML").split("\n")[0]
    if "single document" in str(error.context or ""):
        return "a second document", "remove the line --- and what follows it"
    if "mapping values are not allowed" in problem:
        return problem, "indent it as the line above, or quote a value that holds a colon"
    return problem, ""


class _Reader:
    """Turns a tree into plain data, noting the place of every value."""

    def __init__(self, lines: list[str], name: str, source: Document) -> None:
        self._lines = lines
        self._name = name
        self._source = source
        self._seen: set[int] = set()

    def value(self, node: Node, key: Key) -> Any:
        """The value of a node: a dict, a tuple or a scalar; None where there is a problem."""
        spot = self.spot(node)
        if id(node) in self._seen:
            return self._unread(key, spot, "an alias", "write the value out")
        self._seen.add(id(node))
        if node.start_mark.index != node.end_mark.index:
            self._source.spots[key] = spot
        if isinstance(node, SequenceNode):
            return tuple(self.value(item, (*key, n)) for n, item in enumerate(node.value))
        if isinstance(node, MappingNode):
            return self._mapping(node, key)
        return self._scalar(node, key, spot)

    def spot(self, node: Node) -> Spot:
        """Where a node stands; of a node with several lines, its first."""
        start, end = node.start_mark, node.end_mark
        text = self._lines[start.line] if start.line < len(self._lines) else ""
        last = end.column if end.line == start.line else len(text)
        width = len(text[start.column : last].rstrip())
        return Spot(self._name, text, start.line + 1, start.column + 1, max(1, width))

    def _mapping(self, node: MappingNode, key: Key) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name_node, value_node in node.value:
            spot = self.spot(name_node)
            if not isinstance(name_node, ScalarNode):
                self._refuse(
                    key, spot, "a key must be a word", "write lines of the form key: value"
                )
                continue
            name = str(name_node.value)
            path = (*key, name)
            if name in found:
                first = self._source.names[path].line
                self._refuse(path, spot, f"given twice, first on line {first}", "keep one of them")
                continue
            self._source.names[path] = spot
            found[name] = self.value(value_node, path)
        return found

    def _scalar(self, node: Node, key: Key, spot: Spot) -> Any:
        text, tag = str(node.value), str(node.tag).removeprefix("tag:yaml.org,2002:")
        if tag.startswith("!"):
            return self._unread(key, spot, f"the tag {tag} means nothing here", "leave it out")
        invisible = next((c for c in text if not c.isprintable() and c not in "\n\t"), None)
        if invisible:
            message = f"holds the invisible character U+{ord(invisible):04X}"
            return self._unread(key, spot, message, "type the value again")
        return _plain(text, tag)

    def _unread(self, key: Key, spot: Spot, message: str, mend: str) -> None:
        self._source.unread.add(key)
        self._refuse(key, spot, message, mend)

    def _refuse(self, key: Key, spot: Spot, message: str, mend: str) -> None:
        self._source.problems.append(Problem(key, message, mend, spot=spot))


def _plain(text: str, tag: str) -> Any:
    """A scalar as YAML 1.2 types it; text where it is nothing else."""
    if tag == "null":
        return None
    if tag == "bool" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if tag == "int":
        with contextlib.suppress(ValueError):
            return int(text.replace("_", ""), 0 if text.lstrip("+-")[1:2].isalpha() else 10)
    if tag == "float":
        with contextlib.suppress(ValueError):
            number = float(text.replace("_", ""))
            return number if math.isfinite(number) else text
    return text
