"""One end of the line between pupil and examiner: asks the other, and answers while it waits.

A message is a line of JSON: ``{"ask": verb, "with": [...]}``, answered by ``{"value": ..., "after":
[...]}`` or ``{"raise": ...}``. ``after`` is what mutable arguments hold now, for a function that
changes a list in place changes a copy.
"""

import json
from collections.abc import Callable
from typing import Any, BinaryIO

from provision.guest.assignments.values import (
    Handles,
    decode,
    encode,
    exception_class,
    exception_names,
)

LONGEST = 16 << 20  # bytes of a message


class GoneError(BaseException):
    """The other side has ended. No ``except Exception`` of a test takes it for an answer."""


class Peer:
    """One end.

    Args:
        reading, writing: the line.
        serve: carries out what the other side asks: a verb and its decoded arguments.
        stand_in: makes what stands here for an object of the other side, from its number and
            what is told of it.
        number_of: the number of what such a one stands for; None: it is none.
    """

    def __init__(
        self,
        reading: BinaryIO,
        writing: BinaryIO,
        serve: Callable[..., Any],
        stand_in: Callable[[int, dict[str, Any]], Any],
        number_of: Callable[[Any], int | None],
    ) -> None:
        self._reading, self._writing, self._serve = reading, writing, serve
        self._stand_in, self._number_of = stand_in, number_of
        self._mine = Handles()

    def receive(self) -> dict[str, Any]:
        """The next message.

        Raises:
            GoneError: there is none any more.
            ValueError: it is no message.
        """
        line = self._reading.readline(LONGEST)
        if not line:
            raise GoneError("the notebook's program has ended")
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError("no message")
        if "gone" in message:
            raise GoneError(f"the notebook's program has ended: {message['gone']}")
        return message

    def send(self, message: dict[str, Any]) -> None:
        """Send a message.

        Raises:
            ValueError: it is too long.
        """
        line = json.dumps(message).encode() + b"\n"
        if len(line) > LONGEST:
            raise ValueError("a value is too large to be compared")
        self._writing.write(line)
        self._writing.flush()

    def ask(self, verb: str, *arguments: Any) -> Any:
        """Ask the other side, and answer what it asks meanwhile.

        Raises:
            GoneError: it has ended.
            BaseException: what it raised.
        """
        self.send({"ask": verb, "with": [self._out(each) for each in arguments]})
        while True:
            message = self.receive()
            if "ask" in message:
                self.answer(message)
                continue
            if "raise" in message:
                raise self._exception(message["raise"])
            for mine, now in zip(arguments, message.get("after", ()), strict=False):
                _update(mine, now if now is None else self._in(now))
            return self._in(message.get("value"))

    def answer(self, message: dict[str, Any]) -> None:
        """Carry out what the other side asks, and send what came of it."""
        try:
            arguments = [self._in(each) for each in message.get("with", ())]
            value = self._serve(message["ask"], *arguments)
            after = [self._out(each) if _mutable(each) else None for each in arguments]
            self.send({"value": self._out(value), "after": after})
        except GoneError:
            raise
        except BaseException as error:
            self.send({"raise": self._describe(error)})

    def _describe(self, error: BaseException) -> dict[str, Any]:
        plain: list[Any] = []
        try:
            plain = [encode(each, _refuse) for each in error.args]
        except Exception:
            plain = [_text(error)]
        return {"names": exception_names(type(error)), "args": plain}

    def _exception(self, told: dict[str, Any]) -> BaseException:
        kind = exception_class(list(told["names"]))
        if kind is TimeoutError:  # no `except` of a test takes it for what it waits for
            return GoneError(str(told["args"]))
        given = [decode(each, _refuse) for each in told["args"]]
        try:
            return kind(*given)
        except Exception:
            return RuntimeError(f"{kind.__name__}: {given}")

    def _out(self, value: Any) -> Any:
        return encode(value, self._name)

    def _name(self, value: Any) -> list[Any]:
        if (number := self._number_of(value)) is not None:
            return ["yours", number]
        kind = value if isinstance(value, type) else type(value)
        about: dict[str, Any] = {"module": kind.__module__, "name": kind.__qualname__}
        if isinstance(value, type) and issubclass(value, BaseException):
            about["names"] = exception_names(value)
        return ["mine", self._mine.number(value), about]

    def _in(self, node: Any) -> Any:
        def find(node: list[Any]) -> Any:
            if node[0] == "yours":
                return self._mine[node[1]]
            if node[0] == "mine" and type(node[1]) is int and isinstance(node[2], dict):
                return self._stand_in(node[1], node[2])
            raise ValueError("no value")

        return decode(node, find)


def _mutable(value: Any) -> bool:
    return type(value) in (list, dict, set, bytearray) or type(value).__name__ == "ndarray"


def _update(mine: Any, now: Any) -> None:
    """Let a mutable argument hold what the other side's copy of it holds."""
    if type(mine) is not type(now) or not _mutable(mine):
        return
    if isinstance(mine, dict | set):
        mine.clear()
        mine.update(now)
    elif getattr(now, "shape", None) == getattr(mine, "shape", None):
        mine[:] = now


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return type(error).__name__


def _refuse(_: Any) -> list[Any]:
    raise ValueError("not plain")
