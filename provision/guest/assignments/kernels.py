"""The kernels by which notebooks are graded, and what a box needs to have one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KERNELS = Path("/usr/local/share/jupyter/kernels")
PYTHON = ("python", "python3")  # names of Python's own kernel
_SAGE = "sage.repl.ipython_kernel"
# Where Python's own has its packages; the notebook's where there are no others.
_OWN = (Path("/opt/python"), Path("/opt/notebook"))
_SYSTEM_PYTHON = "/usr/bin/python3"  # has a box of another language made, and is not seen in it


@dataclass(frozen=True)
class Programs:
    """A language whose pupil and examiner are programs of their own, not forks of Python.

    Args:
        argv: the distribution's program, and what makes it run a file. Of ``{program}``,
            ``pupil`` or ``examiner``, it is told where it lies and the seconds for one thing.
        places: what a box shows of it beside /usr, as far as it is there.
    """

    argv: tuple[str, ...]
    places: tuple[Path, ...]


# What fonts and the libraries of linear algebra are found by.
_SHARED = (Path("/etc/alternatives"), Path("/etc/fonts"))
# By what Jupyter calls them.
LANGUAGES: Mapping[str, Programs] = {
    "R": Programs(
        argv=(
            *("/usr/bin/R", "--no-echo", "--no-save", "--no-restore", "--no-init-file"),
            *("--file={here}/r/{program}.R", "--args", "{here}/r", "{seconds}"),
        ),
        places=(Path("/etc/R"), *_SHARED),
    ),
    "octave": Programs(
        argv=(
            # A group of its own: all that a cell has begun is interrupted with it.
            *("/usr/bin/setsid", "/usr/bin/octave-cli", "--norc", "--no-history", "--quiet"),
            *("{here}/octave/{program}.m", "{here}/octave", "{seconds}"),
        ),
        places=_SHARED,
    ),
}


@dataclass(frozen=True)
class Kernel:
    """What runs a notebook's cells, or its tests.

    Args:
        python: what starts its Python, before the interpreter's own words.
        places: directories that a box shows beside /usr.
        sage: whether its language is Sage's.
        environment: of its own.
        language: its own programs, where it is neither Python nor Sage.
    """

    python: tuple[str, ...]
    places: tuple[Path, ...]
    sage: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    language: Programs | None = None


def find(name: str, place: Path = KERNELS) -> Kernel:
    """The kernel of a name.

    Args:
        name: as a notebook has it.
        place: where the appliance's kernels are described.

    Raises:
        LookupError: there is none, or no test can be run apart from its notebooks; in words.
    """
    if name in PYTHON:
        own = [each for each in _OWN if each.is_dir()]
        return Kernel((f"{own[0]}/bin/python",), tuple(own))
    described = _describe(place)
    if name not in described:
        raise LookupError(f"has the kernel {name!r}, which is not here: {_summary(described)}")
    if found := _kernel(described[name]):
        return found
    raise LookupError(
        f"has the kernel {name!r}, in whose language no test can be run apart from what it"
        f" tests: {_summary(described)}"
    )


def _kernel(told: Mapping[str, Any]) -> Kernel | None:
    """The kernel of a description; None: no test can be run apart from its notebooks."""
    if language := LANGUAGES.get(told.get("language", "")):
        places = tuple(each for each in language.places if each.is_dir())
        return Kernel((_SYSTEM_PYTHON,), places, language=language)
    argv = list(map(str, told.get("argv", ())))
    if _SAGE not in argv:
        return None
    python = tuple(argv[: argv.index(_SAGE) - 1])
    return Kernel(python, _beside(python[0]), sage=True, environment=told.get("env", {}))


def _describe(place: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for path in sorted(place.glob("*/kernel.json")):
        if path.exists():  # else a link of a Sage that is gone
            found[path.parent.name] = json.loads(path.read_text())
    return found


def _summary(described: Mapping[str, dict[str, Any]]) -> str:
    known = [name for name, told in described.items() if _kernel(told)]
    return f"notebooks of {', '.join((PYTHON[-1], *known))} can be graded"


def _beside(python: str) -> tuple[Path, ...]:
    """A program's own directory below /opt; none: it is the distribution's."""
    parts = Path(python).parts
    return (Path(*parts[:3]),) if parts[1] == "opt" else ()
