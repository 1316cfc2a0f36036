"""In the examiner's box: runs the tests of an exercise on modules that are in the pupil's.

The tests' ``tmc`` is here, what they have of their own comes from their texts, and any other module
of the exercise is a stand-in that asks the pupil.
"""

import builtins
import contextlib
import importlib
import importlib.abc
import importlib.machinery
import io
import sys
import traceback
import types
import unittest
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from provision.guest.assignments.tmc import utils

KEPT = 2000  # characters of what is said of one test


def check_point(names: Mapping[str, Any], point: str, tests: Mapping[str, Any]) -> int:
    """Run the tests that give a point, and say which pass; 1 or 0.

    Args:
        names: those of the pupil.
        point: its name.
        tests: by path, text and points of what is below ``test``.
    """
    if _Exam.exam is None:
        _Exam.exam = _Exam(names, {path: text for path, (text, _) in tests.items()})
    passed = [_Exam.exam.run(path, point) for path, (_, points) in tests.items() if point in points]
    return int(bool(passed) and all(passed))


class _Exam:
    """The tests, imported once.

    Args:
        names: those of the pupil.
        texts: by path.
    """

    exam: "_Exam | None" = None

    def __init__(self, names: Mapping[str, Any], texts: Mapping[str, str]) -> None:
        ours = types.ModuleType("tmc")
        vars(ours).update(points=_points, utils=utils, __path__=[])
        sys.modules |= {"tmc": ours, "tmc.utils": utils}
        sys.meta_path.insert(0, _Finder(names, texts))
        with contextlib.redirect_stdout(io.StringIO()):
            names["take_input"](_input)
        self._tests: dict[str, list[unittest.TestCase]] = {}
        self._why: dict[str, str] = {}

    def run(self, path: str, point: str) -> bool:
        """Run the tests of a file that give a point."""
        if path not in self._tests:
            self._tests[path] = self._load(path)
        if path in self._why:
            sys.stdout.write(f"{path}: {self._why[path]}\n")
            return False
        found = [test for test in self._tests[path] if point in _points_of(test)]
        if not found:
            sys.stdout.write(f"{path}: no test of it gives {point}\n")
        return bool(found) and all([self._run(test) for test in found])

    def _load(self, path: str) -> list[unittest.TestCase]:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                module = importlib.import_module(_module(path))
                return list(_flat(unittest.defaultTestLoader.loadTestsFromModule(module)))
        except Exception as error:
            self._why[path] = f"{type(error).__name__}: {error}"[:KEPT]
        except SystemExit:
            self._why[path] = "the program exits: leave exit() out"
        return []

    def _run(self, test: unittest.TestCase) -> bool:
        result = _Result()
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            utils.begin()
            test.run(result)
        good = result.good == [test]
        name = f"{type(test).__name__}.{test._testMethodName}"
        why = "".join(f": {each}" for each in result.why)[:KEPT]
        sys.stdout.write(f"{name} {'passed' if good else f'failed{why}'}\n")
        return good


class _Result(unittest.TestResult):
    """What came of a test, in a sentence."""

    def __init__(self) -> None:
        super().__init__()
        self.good: list[unittest.TestCase] = []
        self.why: list[str] = []

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.good.append(test)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.why.append(str(err[1]))

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self.why.append("".join(traceback.format_exception_only(err[1])).strip())

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.why.append(f"skipped, {reason}")

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err:
            self.why.append(f"{subtest._subDescription()}, {err[1]}")


def _input(*words: Any) -> Any:
    """What a program reads: a test puts another function into the place of Python's."""
    return builtins.input(*words)


def _flat(suite: Any) -> Sequence[Any]:
    if isinstance(suite, unittest.TestSuite):
        return [each for part in suite for each in _flat(part)]
    return [suite]


def _points_of(test: unittest.TestCase) -> list[str]:
    method = getattr(type(test), test._testMethodName)
    own = _points_at(method) + [p for kind in type(test).__mro__ for p in _points_at(kind)]
    return [each for words in own for each in words.split()]


def _points_at(what: Any) -> list[str]:
    return list(vars(what).get("_points", ()))


def _points(*names: str) -> Callable[[Any], Any]:
    def decorate(what: Any) -> Any:
        what._points = [*_points_at(what), *names]
        return what

    return decorate


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the exercise's modules: the tests' own as texts, the student's as stand-ins."""

    def __init__(self, names: Mapping[str, Any], texts: Mapping[str, str]) -> None:
        self._names = names
        self._texts = {_module(path): text for path, text in texts.items()}
        self._texts.setdefault("test", "")

    def find_spec(self, name: str, *_: Any) -> importlib.machinery.ModuleSpec | None:
        """Find a module that is the exercise's."""
        first = name.partition(".")[0]
        known = name in self._texts or first == "src"
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if known else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        """Make a module; the student's is opened where it is."""
        if spec.name in self._texts:
            return None
        module = _Theirs(spec.name)
        try:
            vars(module)["_there"] = self._names["open_module"](spec.name)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"there is no {spec.name}: {error}", name=spec.name) from None
        vars(module)["_again"] = lambda: self._names["open_module"](spec.name, True)
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Run a module of the tests."""
        if module.__name__ in self._texts:
            path = f"{module.__name__.replace('.', '/')}.py"
            exec(compile(self._texts[module.__name__], path, "exec"), vars(module))  # noqa: S102


class _Theirs(types.ModuleType):
    """A module of the student's, which is in the pupil's box."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(vars(self)["_there"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__") or isinstance(value, types.ModuleType):
            super().__setattr__(name, value)
        else:
            setattr(vars(self)["_there"], name, value)

    def __delattr__(self, name: str) -> None:
        delattr(vars(self)["_there"], name)
