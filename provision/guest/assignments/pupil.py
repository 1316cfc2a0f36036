"""In the pupil's box: runs a notebook's cells, and answers what the tests ask of their names.

Nothing that this process says is believed, but as the value of what was asked.
"""

import contextlib
import io
import operator
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from provision.guest.assignments import algebra
from provision.guest.assignments.peer import GoneError, Peer

KEPT = 100_000  # characters of a cell's output
_UNARY = ("abs", "neg", "pos", "invert", "index")
_COMPARED = ("eq", "ne", "lt", "le", "gt", "ge")
_COMPUTED = (
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and_",
    "or_",
    "xor",
)
OPERATORS = (*_COMPARED, *_COMPUTED)


def main(seconds: int, *, sage: bool = False) -> None:
    """Serve standard input and output until it ends.

    Args:
        seconds: that a cell, or one answer, may take.
        sage: whether the notebook's language is Sage's.
    """
    reading, writing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    notebook = Notebook(seconds, sage=sage)
    peer = Peer(reading, writing, notebook.serve, _Callback.make, _number)
    _Callback.peer = peer
    with contextlib.suppress(GoneError):
        while True:
            message = peer.receive()
            if "ask" in message:
                with notebook.capturing():
                    peer.answer(message)
            elif "file" in message:
                Path(message["file"]).parent.mkdir(parents=True, exist_ok=True)
                with Path(message["file"]).open("ab") as file:
                    file.write(bytes.fromhex(message["part"]))
            elif "files" in message:  # all are there
                peer.send({"done": []})
            elif "printed" in message:
                peer.send({"done": notebook.taken_outputs()})
            else:
                peer.send({"done": notebook.run(message["run"])})


# What a shell consists of, and what its first error needs.
SHELL = (
    *("IPython.core.interactiveshell", "IPython.core.completerlib", "IPython.core.crashhandler"),
    *(
        "IPython.core.oinspect",
        "IPython.core.logger",
        "IPython.core.debugger",
        "IPython.utils.wildcard",
    ),
    *(
        "IPython.core.magics",
        "cProfile",
        "pstats",
        "stack_data",
        "pygments.formatters.terminal256",
        "pygments.lexers.python",
    ),
)


class Notebook:
    """The shell in which the cells run.

    Args:
        seconds: that a cell, or one answer, may take.
        sage: whether their language is Sage's.
    """

    def __init__(self, seconds: int, *, sage: bool = False) -> None:
        from IPython.core.displayhook import DisplayHook  # noqa: PLC0415 - only in a box
        from IPython.core.displaypub import DisplayPublisher  # noqa: PLC0415
        from IPython.core.interactiveshell import InteractiveShell  # noqa: PLC0415
        from traitlets import Type  # noqa: PLC0415
        from traitlets.config import Config  # noqa: PLC0415

        outputs: list[dict[str, Any]] = []

        class Hook(DisplayHook):  # type: ignore[misc]
            def write_output_prompt(self) -> None:
                pass

            def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
                result = {"output_type": "execute_result", "execution_count": None}
                outputs.append({**result, "data": _texts(format_dict), "metadata": {}})

        class Publisher(DisplayPublisher):  # type: ignore[misc]
            def publish(self, data: Any, *_: Any, **__: Any) -> None:
                outputs.append(
                    {"output_type": "display_data", "data": _texts(data), "metadata": {}}
                )

        class Shell(InteractiveShell):  # type: ignore[misc]
            displayhook_class = Type(Hook)
            display_pub_class = Type(Publisher)

            def enable_gui(self, gui: Any = None) -> None:
                """There is no screen."""

            def _showtraceback(self, etype: Any, evalue: Any, stb: Any) -> None:
                outputs.append(
                    {
                        "output_type": "error",
                        "ename": str(getattr(etype, "__name__", etype)),
                        "evalue": str(evalue),
                        "traceback": [str(line) for line in stb],
                    }
                )

        config = Config()
        config.HistoryManager.enabled = False
        config.InteractiveShell.colors = "nocolor"
        self._outputs, self._seconds = outputs, seconds
        self._shell = Shell.instance(config=config)
        if sage:
            algebra.speak(self._shell)
        self._print = _Printed(outputs, "stdout"), _Printed(outputs, "stderr")
        sys.path.insert(0, "")  # modules beside the notebook, as in a kernel

    def run(self, source: str) -> list[dict[str, Any]]:
        """Run a cell; its outputs."""
        with self.capturing():
            self._shell.run_cell(source, store_history=False)
        return self.taken_outputs()

    @contextlib.contextmanager
    def capturing(self) -> Iterator[None]:
        """Take what is printed, and end what takes too long."""
        for stream in self._print:
            stream.left = KEPT
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = self._print
        try:
            signal.signal(signal.SIGALRM, self._too_long)
            signal.alarm(self._seconds)
            yield
        finally:
            signal.alarm(0)
            sys.stdout, sys.stderr = before

    def _too_long(self, *_: object) -> None:
        raise TimeoutError(f"this takes more than {self._seconds} seconds")

    def taken_outputs(self) -> list[dict[str, Any]]:
        """What was printed and shown since this was last asked."""
        found = self._outputs[:1000]
        self._outputs.clear()
        return found

    def serve(self, verb: str, *arguments: Any) -> Any:
        """Carry out what a test asks."""
        names = self._shell.user_ns
        if verb == "get":
            if arguments[0] not in names:
                raise NameError(f"name {arguments[0]!r} is not defined")
            return names[arguments[0]]
        if verb == "set":
            names[arguments[0]] = arguments[1]
            return None
        if verb == "del":
            del names[arguments[0]]
            return None
        if verb == "call":
            function, keywords, *positional = arguments
            return function(*positional, **keywords)
        if verb == "captured":
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                value = self.serve(*arguments)
            return printed.getvalue(), value
        return VERBS[verb](*arguments)


VERBS: Mapping[str, Callable[..., Any]] = {
    **{name: getattr(operator, name) for name in OPERATORS},
    **{name: getattr(operator, name) for name in _UNARY},
    **{"getattr": getattr, "setattr": setattr, "delattr": delattr, "dir": dir},
    **{"getitem": operator.getitem, "setitem": operator.setitem, "delitem": operator.delitem},
    **{"contains": operator.contains, "isinstance": isinstance, "issubclass": issubclass},
    **{"len": len, "iter": iter, "next": next, "bool": bool, "hash": hash, "round": round},
    **{"str": str, "repr": repr, "int": int, "float": float, "complex": complex, "bytes": bytes},
}


class _Callback:
    """A function of the test's that is handed to a function of the notebook's."""

    peer: Peer

    def __init__(self, number: int) -> None:
        self.number = number

    @classmethod
    def make(cls, number: int, _: dict[str, Any]) -> "_Callback":
        return cls(number)

    def __call__(self, *positional: Any, **keywords: Any) -> Any:
        return self.peer.ask("call", self, keywords, *positional)


def _number(value: Any) -> int | None:
    return value.number if type(value) is _Callback else None


class _Printed(io.TextIOBase):
    """What is printed, up to a length; all else is forgotten."""

    def __init__(self, outputs: list[dict[str, Any]], name: str) -> None:
        self._outputs, self._name, self.left = outputs, name, KEPT

    def write(self, text: str) -> int:
        part = str(text)[: max(0, self.left)]
        self.left -= len(part)
        if part:
            last = self._outputs[-1] if self._outputs else {}
            if last.get("name") != self._name:
                last = {"output_type": "stream", "name": self._name, "text": ""}
                self._outputs.append(last)
            last["text"] += part
            if self.left <= 0:
                last["text"] += "\n… and more than is kept\n"
        return len(text)

    def writable(self) -> bool:
        return True


def _texts(data: Mapping[str, Any]) -> dict[str, Any]:
    """What is shown, by type, as texts; bytes (of a picture) as base64."""
    import base64  # noqa: PLC0415

    return {
        kind: base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
        for kind, value in data.items()
    }
