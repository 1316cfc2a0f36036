"""What runs the tests of a question: in the notebook for the student, in the examiner's box."""

import ast
import inspect
from typing import Any


def check_work(question: str, tests: list[Any], whole: bool = False) -> float:
    """Run the tests of a question, and say which pass; its points."""
    import builtins as own  # a notebook may have names of its own for all of these
    import contextlib
    import doctest
    import inspect
    import sys

    names = own.globals()
    space: Any = {}
    passed = []
    for number, test in own.enumerate(tests, 1):
        said: list[str] = []
        with contextlib.redirect_stderr(sys.stdout):
            if "call" in test:
                own.exec(test["code"], space)
                given = {}
                for name in inspect.signature(space[test["call"]]).parameters:
                    given[name] = names if name == "env" else None
                    with contextlib.suppress(own.KeyError):
                        given[name] = names if name == "env" else names[name]
                try:
                    space[test["call"]](**given)
                except own.Exception as error:
                    said.append(f"{own.type(error).__name__}: {error}")
            else:
                examples = doctest.DocTestParser().get_examples(test["code"])
                run = doctest.DocTest(examples, {}, question, None, None, None)
                run.globs = names
                runner = doctest.DocTestRunner(verbose=False)
                runner.run(run, compileflags=0, out=said.append, clear_globs=False)
        passed.append(not said)
        told = test.get("failure" if said else "success") or ""
        if told or said:
            own.print(f"{question} - {number}: {told}\n{''.join(said)}".rstrip())
    own.print(f"{question}: {own.sum(passed)} of {own.len(tests)} tests pass")
    if whole and not own.all(passed):
        return 0
    points: float = own.sum(t["points"] for t, good in own.zip(tests, passed) if good)
    return points


def text() -> str:
    """The same as a cell of a notebook, whose readers know no types."""
    tree = _Plain().visit(ast.parse(inspect.getsource(check_work)))
    return f"# Runs the tests below. Nothing is to be changed here.\n{ast.unparse(tree)}"


class _Plain(ast.NodeTransformer):
    """Takes the types out of a function."""

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        assert node.value  # noqa: S101
        return ast.copy_location(ast.Assign([node.target], node.value), node)
