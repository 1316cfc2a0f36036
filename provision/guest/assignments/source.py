"""What the teacher's notebook defines, read from its text."""

import ast
from collections.abc import Iterable

_ANY = "*"  # a class of whose bases one is not here: it may have any method


class Source:
    """What the cells of a teacher's notebook define at their top.

    Args:
        cells: their texts, those of tests and those that are locked not among them. What is no
            Python is left out.
        locked: the texts of cells that no student can change.

    ``imports`` has the statement of each name that is imported and not defined, ``defined`` the
    functions and values, ``classes`` the methods of each class; ``given`` is what a test has of its
    own: functions of locked cells that no other cell defines, and what is imported whole.
    """

    def __init__(self, cells: Iterable[str] = (), locked: Iterable[str] = ()) -> None:
        self.given: list[str] = []
        self.imports: dict[str, str] = {}
        self.defined: set[str] = set()
        self.classes: dict[str, set[str]] = {}
        for cell in cells:
            for statement in _statements(cell):
                self._read(statement)
        for cell in locked:
            for statement in _statements(cell):
                if isinstance(statement, ast.FunctionDef) and statement.name not in self.defined:
                    self.given.append(ast.unparse(statement))
                self._read(statement)
        for name in self.defined & {*self.imports}:
            del self.imports[name]

    def has_method(self, name: str, methods: Iterable[str]) -> bool:
        """Whether a class of the teacher's has one of some methods, as far as its text tells.

        Args:
            name: the class's.
            methods: their names.
        """
        return bool(self.classes.get(name, set()) & {_ANY, *methods})

    def _methods(self, of: ast.ClassDef) -> set[str]:
        found: set[str] = set()
        for statement in of.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(statement.name)
            found |= {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        for base in map(ast.unparse, of.bases):
            found |= self.classes.get(base, {_ANY}) if base != "object" else set()
        return found

    def _read(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for each in statement.names:
                if each.name == "*":
                    self.given.append(ast.unparse(statement))
                else:
                    alone = ast.unparse(_only(statement, each))
                    self.imports[each.asname or each.name.partition(".")[0]] = alone
        elif isinstance(statement, ast.ClassDef):
            methods = self._methods(statement)
            self.classes[statement.name] = methods | self.classes.get(statement.name, set())
            self.defined.add(statement.name)
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            self.defined.add(statement.name)
        else:
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    self.defined.add(node.id)


def _only(statement: ast.Import | ast.ImportFrom, name: ast.alias) -> ast.stmt:
    if isinstance(statement, ast.Import):
        return ast.Import([name])
    return ast.ImportFrom(statement.module, [name], statement.level)


def _statements(cell: str) -> list[ast.stmt]:
    lines = [line for line in cell.splitlines() if not line.startswith(("%", "!"))]
    try:
        return ast.parse("\n".join(lines)).body
    except (SyntaxError, ValueError):
        return []
