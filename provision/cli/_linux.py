"""Verbs that only Linux can carry out: they say so on other systems, before anything else."""

import functools
import platform
from collections.abc import Callable
from typing import Any

from provision.errors import HostNotReadyError

Verb = Callable[..., Any]


def needs_linux(verb: Verb) -> Verb:
    """Refuse a verb on any other system."""

    @functools.wraps(verb)
    def wrapper(*args: Any, **options: Any) -> Any:
        if (system := platform.system()) != "Linux":
            raise HostNotReadyError(
                f"this needs a Linux host, and here is {'macOS' if system == 'Darwin' else system}",
                hint="a Linux VM will do or, on Windows, WSL (wsl --install -d Debian);"
                " docs/windows.md says which verbs run here",
            )
        return verb(*args, **options)

    return wrapper
