"""In the examiner's box: runs the tests. Of the student's there is nothing here but values."""

import ast
import builtins
import contextlib
import io
import json
import linecache
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from provision.guest.assignments import algebra
from provision.guest.assignments.peer import LONGEST, GoneError, Peer
from provision.guest.assignments.pupil import KEPT, OPERATORS
from provision.guest.assignments.source import Source
from provision.guest.assignments.values import exception_class, here

# By these NumPy is told where in memory an array is.
_ADDRESSES = ("__array_interface__", "__array_struct__")


def main(seconds: int, *, sage: bool = False) -> None:
    """Run the tests of one notebook, by standard input and output.

    Args:
        seconds: that one test may take.
        sage: whether the tests' language is Sage's.

    Raises:
        GoneError: there is nobody any more who has tests.
    """
    reading, writing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    examiner = Examiner(seconds, sage=sage)
    peer = Peer(reading, writing, _serve, examiner.stand_in, examiner.number_of)
    examiner.peer = peer
    message = json.loads(reading.readline(LONGEST))
    examiner.begin(message["source"])
    peer.send({"done": []})
    while message := next_order(reading, message["key"]):
        peer.send({"done": examiner.run(message["run"])})


def next_order(reading: BinaryIO, key: str) -> dict[str, Any]:
    """The next message of who runs the box.

    A test that took too long may have left before the pupil's answer came, which says what the
    student likes. It does not know the key.

    Args:
        reading: where messages and answers come.
        key: what this notebook's messages have, and no answer.

    Raises:
        GoneError: there is none any more.
    """
    while line := reading.readline(LONGEST):
        with contextlib.suppress(ValueError, RecursionError):
            message = json.loads(line)
            if isinstance(message, dict) and message.get("key") == key:
                return message
    raise GoneError("nobody runs the box any more")


def _serve(verb: str, *arguments: Any) -> Any:
    """All that a notebook may ask: to call a function that a test handed to it."""
    if verb != "call":
        raise TypeError("a function of the test can only be called")
    function, keywords, *positional = arguments
    return function(*positional, **keywords)


class Examiner:
    """The tests of one notebook.

    Args:
        seconds: that one test may take.
        sage: whether their language is Sage's.
    """

    peer: Peer

    def __init__(self, seconds: int, *, sage: bool = False) -> None:
        self.source = Source()
        self.language: Mapping[str, Any] = {**vars(builtins), **(algebra.names() if sage else {})}
        self._prepared: Callable[[str], str] = algebra.prepare if sage else str
        self._seconds, self._names = seconds, _Names(self)
        if sage:
            algebra.declare_in(self._names)
        self._exceptions: dict[type, int] = {}
        self._printed = io.StringIO()

    def ask(self, verb: str, *arguments: Any) -> Any:
        """Ask the notebook; what it prints meanwhile goes where a test lets printing go."""
        if sys.stdout is self._printed:
            return self.peer.ask(verb, *arguments)
        printed, value = self.peer.ask("captured", verb, *arguments)
        sys.stdout.write(printed)
        return value

    def run(self, source: str) -> list[dict[str, Any]]:
        """Run a test; its outputs, as a kernel would tell them."""
        outputs: list[dict[str, Any]] = []
        self._printed = printed = io.StringIO()
        complained = io.StringIO()
        result = None
        try:
            with _at_most(self._seconds), _printing(printed, complained):
                result = self._execute(source)
                result = None if result is None else repr(result)
        except BaseException as error:
            lines = [line[:KEPT] for line in traceback.format_exception(error)]
            told = {"ename": type(error).__name__, "evalue": str(error)[:KEPT]}
            outputs.append({"output_type": "error", **told, "traceback": [lines[0], *lines[2:]]})
        for name, stream in (("stderr", complained), ("stdout", printed)):
            if text := stream.getvalue()[:KEPT]:
                outputs.insert(0, {"output_type": "stream", "name": name, "text": text})
        if result is not None:
            outputs.append(
                {
                    **{"output_type": "execute_result", "execution_count": None},
                    **{"data": {"text/plain": result[:KEPT]}, "metadata": {}},
                }
            )
        return outputs

    def begin(self, source: Mapping[str, list[str]]) -> None:
        """Take the functions of the cells that the teacher has locked, and what they import.

        Args:
            source: what ``Source`` is made of.
        """
        self.source = Source(**{k: [*map(self._python, cells)] for k, cells in source.items()})
        for statement in self.source.given:
            with contextlib.suppress(Exception):
                exec(statement, self._names)  # noqa: S102 - the teacher's

    def _python(self, cell: str) -> str:
        """A cell as Python; what the language cannot read stays as it is."""
        try:
            return self._prepared(cell)
        except Exception:
            return cell

    def _execute(self, source: str) -> Any:
        source = self._prepared(source)
        try:
            tree = ast.parse(source)
        except SyntaxError:  # magics, perhaps
            from IPython.core.inputtransformer2 import TransformerManager  # noqa: PLC0415

            tree = ast.parse(TransformerManager().transform_cell(source))
        linecache.cache["<test>"] = (len(source), None, source.splitlines(keepends=True), "<test>")
        last = None
        silent = source.rstrip().endswith(";")
        if tree.body and isinstance(tree.body[-1], ast.Expr) and not silent:
            last = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
        exec(compile(tree, "<test>", "exec"), self._names)  # noqa: S102 - the teacher's
        if last is None:
            return None
        return eval(compile(last, "<test>", "eval"), self._names)  # noqa: S307

    def stand_in(self, number: int, about: dict[str, Any]) -> Any:
        """What a test gets for an object that stays in the notebook."""
        if isinstance(about.get("names"), list):
            kind = exception_class(about["names"])
            self._exceptions[kind] = number
            return kind
        return StandIn(self, number, str(about.get("module")), str(about.get("name")))

    def number_of(self, value: Any) -> int | None:
        """The number of an object of the notebook's."""
        if type(value) is StandIn:
            return int(object.__getattribute__(value, "_number"))
        return self._exceptions.get(value) if isinstance(value, type) else None


class _Names(dict[str, Any]):
    """The names that a test sees: its own, Python's, the teacher's imports, then the notebook's."""

    def __init__(self, examiner: Examiner) -> None:
        super().__init__(__name__="__main__")
        self._examiner = examiner
        self._theirs: set[str] = set()

    def __missing__(self, name: str) -> Any:
        source, language = self._examiner.source, self._examiner.language
        if name.startswith("__"):
            raise KeyError(name)
        if name in language and name not in source.defined:
            return language[name]
        if name in source.imports:
            found: dict[str, Any] = {}
            with contextlib.suppress(ImportError):
                exec(source.imports[name], found)  # noqa: S102 - the teacher's
                return found[name]
        try:
            value = self._examiner.peer.ask("get", name)
        except NameError:
            raise KeyError(name) from None
        self._theirs.add(name)
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """A name, which may be one of the notebook's."""
        try:
            return self[name]
        except KeyError:
            return default

    def __setitem__(self, name: str, value: Any) -> None:
        # What a test puts in the place of a function, the notebook's other functions call.
        if not name.startswith("__") and (name in self._theirs or name in self._examiner.language):
            self._examiner.peer.ask("set", name, value)
        if name not in self._theirs:
            super().__setitem__(name, value)

    def __delitem__(self, name: str) -> None:
        if name in self:
            super().__delitem__(name)
            if name not in self._examiner.language:
                return
        self._examiner.peer.ask("del", name)


class StandIn:
    """An object of the notebook's, as a test sees it.

    What it says of itself is the student's word. So it is compared, or computed, with a value of
    the test's only where the teacher's own notebook has a class of its name that can do that.
    """

    __slots__ = ("_examiner", "_module", "_name", "_number")

    def __init__(self, examiner: Examiner, number: int, module: str, name: str) -> None:
        for slot, value in zip(StandIn.__slots__, (examiner, module, name, number), strict=True):
            object.__setattr__(self, slot, value)

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            module = object.__getattribute__(self, "_module")
            last = object.__getattribute__(self, "_name")
            found = here(module, last)
            ours = isinstance(found, type) and module not in ("builtins", "__main__")
            return found if ours else StandIn
        if name in _ADDRESSES:
            raise AttributeError(name)
        return _ask("getattr", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        _ask("setattr", self, name, value)

    def __delattr__(self, name: str) -> None:
        _ask("delattr", self, name)

    def __call__(self, *positional: Any, **keywords: Any) -> Any:
        """Call it where it is; mutable arguments hold afterwards what it made of them."""
        examiner = object.__getattribute__(self, "_examiner")
        return examiner.ask("call", self, keywords, *positional)

    def __instancecheck__(self, value: Any) -> Any:
        return type(value) is StandIn and _ask("isinstance", value, self)

    def __iter__(self) -> Iterator[Any]:
        iterator = _ask("iter", self)
        while True:
            try:
                value = _ask("next", iterator)
            except StopIteration:
                return
            yield value

    def __contains__(self, value: Any) -> bool:
        _comparable(self, value, "in", ("__contains__", "__iter__", "__getitem__"))
        return bool(_ask("contains", self, value))

    def __round__(self, *digits: Any) -> Any:
        return _ask("round", self, *digits)


def _ask(verb: str, remote: StandIn, *further: Any) -> Any:
    return object.__getattribute__(remote, "_examiner").ask(verb, remote, *further)


def _comparable(remote: StandIn, other: Any, what: str, methods: Sequence[str]) -> None:
    examiner, name = (object.__getattribute__(remote, slot) for slot in ("_examiner", "_name"))
    if type(other) is not StandIn and not examiner.source.has_method(name, methods):
        raise TypeError(
            f"{what}: the notebook gives an object of {name}, which only it can compare; "
            "a test compares plain values, as of int(), float(), str(), list()"
        )


# Operators of which one gives the others.
_TOGETHER = (("__eq__", "__ne__"), ("__lt__", "__le__", "__gt__", "__ge__"))


def _operator(verb: str, *, turned: bool = False) -> Callable[..., Any]:
    bare = verb.rstrip("_")
    own = (f"__r{bare}__",) if turned else (f"__{bare}__", f"__i{bare}__")
    methods = next((each for each in _TOGETHER if own[0] in each), own)

    def operate(self: StandIn, other: Any) -> Any:
        _comparable(self, other, verb, methods)
        return _ask_pair(verb, other, self) if turned else _ask(verb, self, other)

    def _ask_pair(verb: str, left: Any, right: StandIn) -> Any:
        return object.__getattribute__(right, "_examiner").ask(verb, left, right)

    return operate


def _single(verb: str) -> Callable[..., Any]:
    return lambda self, *further: _ask(verb, self, *further)


for _verb in OPERATORS:
    _bare = _verb.rstrip("_")
    setattr(StandIn, f"__{_bare}__", _operator(_verb))
    if _bare not in ("eq", "ne", "lt", "le", "gt", "ge"):
        setattr(StandIn, f"__r{_bare}__", _operator(_verb, turned=True))
_SINGLE: Mapping[str, tuple[str, ...]] = {
    "same": ("abs", "neg", "pos", "invert", "index", "len", "bool", "hash", "next"),
    "text": ("str", "repr", "int", "float", "complex", "bytes", "dir"),
    "items": ("getitem", "setitem", "delitem"),
}
for _verb in (name for names in _SINGLE.values() for name in names):
    setattr(StandIn, f"__{_verb}__", _single(_verb))


@contextlib.contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    def too_long(*_: object) -> None:
        raise TimeoutError(f"this test takes more than {seconds} seconds")

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


@contextlib.contextmanager
def _printing(out: io.StringIO, err: io.StringIO) -> Iterator[None]:
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield
