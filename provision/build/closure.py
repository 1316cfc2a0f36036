"""Which of our own files decide what a module does: all that it imports, and the data it names."""

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import vbox
from provision import resources

_OURS = {"provision": resources.PACKAGE, "vbox": Path(vbox.__file__).parent}
# What carries values to a stage, or says how far it is, and writes nothing of a result. Each value
# of a request is an input of its own.
CARRIERS = (
    *("provision.build.closure", "provision.build.request", "provision.config"),
    *("provision.errors", "provision.locks", "provision.progress", "provision.temporary"),
)
_CARRIED = tuple(f"{name}." for name in CARRIERS)


def files_of(module: str) -> tuple[Path, ...]:
    """The source of a module and of every module of ours that it leads to, and their data files.

    Imports count wherever they stand. A package's own ``__init__`` counts where something is
    imported from it by name: ours only pass names on. Data files are those that a string in the
    source names, beside it or among our templates and playbooks.

    Args:
        module: its full name.

    Returns:
        Sorted paths; without those of CARRIERS.
    """
    found: set[Path] = set()
    pending, seen = [module], set()
    while pending:
        name = pending.pop()
        if name in seen or f"{name}.".startswith(_CARRIED):
            continue
        seen.add(name)
        path = _path(name)
        if path is not None:
            imported, data = _read(path)
            found |= {path, *data}
            pending += imported
    return tuple(sorted(found))


def digests(paths: Iterable[Path]) -> dict[str, str]:
    """The digest of every file of ours, by its path in the project."""
    return {_place(path): hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in paths}


def _place(path: Path) -> str:
    for name, root in (
        ("templates", resources.templates()),
        ("playbooks", resources.playbooks()),
        *_OURS.items(),
    ):
        if path.is_relative_to(root):
            return f"{name}/{path.relative_to(root)}"
    return str(path)


def files_below(directory: Path) -> Iterator[Path]:
    """The files of a directory but byte code, whose sources count and which comes and goes."""
    found = (path for path in directory.rglob("*") if path.is_file())
    return (path for path in found if path.suffix != ".pyc")


@functools.cache
def _path(module: str) -> Path | None:
    """A module's source; None for what is not ours, and for a name that is no module."""
    package, *below = module.split(".")
    if package not in _OURS:
        return None
    place = _OURS[package].joinpath(*below)
    for path in (place / "__init__.py", place.with_suffix(".py")):
        if path.is_file():
            return path
    return None


@functools.cache
def _read(path: Path) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """The names that a source imports, and the data files that it names."""
    imported: list[str] = []
    data: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported += _from(node, path)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            data |= set(_data(node.value, path.parent))
    return tuple(imported), tuple(data)


def _from(node: ast.ImportFrom, path: Path) -> Iterator[str]:
    package = node.module or ""
    if node.level:
        ours = next(root for root in _OURS.values() if path.is_relative_to(root))
        above = path.parents[node.level - 1].relative_to(ours.parent)
        package = ".".join((*above.parts, *([node.module] if node.module else ())))
    for alias in node.names:
        inside = f"{package}.{alias.name}"
        yield inside if _path(inside) else package


def _data(text: str, beside: Path) -> Iterator[Path]:
    if not 0 < len(text) < 80 or "\n" in text or text.startswith(("/", ".")):
        return
    for root in (beside, resources.templates(), resources.playbooks()):
        place = root / text
        if place.is_file() and place.suffix != ".py":
            yield place
        elif place.is_dir() and not any(place.glob("*.py")) and place.parent == beside:
            yield from files_below(place)
