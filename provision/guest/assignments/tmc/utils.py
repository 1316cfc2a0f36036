"""What tests have of ``tmc.utils``, in the examiner's box.

Source: tmc-python-tester, ``tmc.utils``. What looks at the text of a program is not here: a test
has none.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import MagicMock

_since = 0


def begin() -> None:
    """Forget what was printed before."""
    global _since  # noqa: PLW0603 - tests call functions of a module
    _since = 0


def load(pkg: str, method: str, lang: str = "en", err: str | None = None) -> Any:
    """A name of a module; what fails when it is called, where there is none."""
    try:
        return getattr(importlib.import_module(pkg), method)
    except (Exception, SystemExit) as error:
        why = err or f"{method} was not found in {pkg}: {error}"

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError(why)

    return fail


def load_module(pkg: str, lang: str = "en") -> Any:
    """A module, which is run; an error, where it cannot be."""
    try:
        return importlib.import_module(pkg)
    except (Exception, SystemExit) as error:
        return AssertionError(f"{pkg} cannot be run: {type(error).__name__}: {error}")


def reload_module(module: Any) -> None:
    """Run a module again."""
    global _since  # noqa: PLW0603 - as above
    if isinstance(module, AssertionError):
        raise module
    _since = len(_text(sys.stdout))
    vars(module)["_again"]()


def get_stdout() -> str:
    """What was printed."""
    return _text(sys.stdout)[_since:].strip()


def get_stderr() -> str:
    """What the test itself complained of."""
    return _text(sys.stderr).strip()


def _text(stream: Any) -> str:
    return str(stream.getvalue())


def any_contains(needle: str, haystacks: Sequence[str]) -> bool:
    """Whether one of some texts has another."""
    return any(needle in each for each in haystacks)


def remove_extra_whitespace(mj: str) -> str:
    """A text with one space where there are several."""
    return " ".join(part for part in mj.strip().split(" ") if part)


def sanitize(mj: str) -> str:
    """The same for each line."""
    return "\n".join(map(remove_extra_whitespace, mj.split("\n")))


def assert_ignore_ws(
    self: Any, was: str, expected: str, errmsg: str = "", lang: str = "fi"
) -> None:
    """Compare two texts without their spaces."""
    same = was.strip().replace(" ", "") == expected.strip().replace(" ", "")
    self.assertTrue(same, f"{errmsg}\nYou printed:\n{was}\nExpected:\n{expected}")


def patch_helper(module_name: str) -> Callable[[str], str]:
    """What ``patch`` calls a name that a module has."""
    return lambda name: f"{module_name}.{name.rpartition('.')[2]}"


def spy_decorator(method_to_decorate: Any, name: str) -> Any:
    """A method that is called, and remembers it."""
    mock = MagicMock(name=f"{name} method")

    def wrapper(self: Any, *positional: Any, **keywords: Any) -> Any:
        mock(*positional, **keywords)
        return method_to_decorate(self, *positional, **keywords)

    wrapper.mock = mock  # type: ignore[attr-defined]
    return wrapper
