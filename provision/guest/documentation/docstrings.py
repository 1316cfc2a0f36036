"""A book of what packages say of themselves: PYTHON docstrings.py BOOK TITLE PACKAGE...

A page for each module that can be imported, and ``names.tsv``: what may be looked up, where it is,
the address below the book, and 0 where a session has it without importing more than the package.
The Python is the one whose packages they are, so it knows nothing of ours. The same packages make
the same book, byte for byte, where PYTHONHASHSEED is the same.
"""

import contextlib
import html
import importlib
import importlib.machinery
import importlib.metadata
import inspect
import multiprocessing
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

NAMES = "names.tsv"
SHOWN = 200  # characters of a signature: longer ones have whole tables for defaults
FEW = 3  # things of a class that are its other names
# Not for those who use a package, or about the machine on which it is built.
PRIVATE = re.compile(
    r"(^|\.)(_[^.]*|tests?|testing|conftest|setup|doctest|all__\w+|all_cmdline|benchmarks?|f2py|distutils)(\.|$)"
)
ROUTINES = (
    *("builtin_function_or_method", "cython_function_or_method", "method_descriptor", "ufunc"),
    "_ArrayFunctionDispatcher",  # most of NumPy's functions
)
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
SOURCE = re.compile(r"^File: \S+ \(starting at line \d+\)$")
HEADING = re.compile(r"^([A-Z][A-Z ]+):{1,2}$")
TESTS = ("TEST", "TESTS")  # for whoever changes Sage
CALL = re.compile(r"^[\w.]+\(.*\)( -> .*)?$")
DIRECTIVE = re.compile(r"^\.\. ([A-Za-z-]+)::\s*(.*)$")
UNDERLINE = re.compile(r"^([=~^-])\1{2,}$")
PROMPTS = ("sage: ", ">>> ", "gap> ", "In [")
# What is code, what is strong, in that order.
INLINE = re.compile(
    r"``(?P<code>.+?)``|(?::[\w:]+:)?`(?P<name>[^`\n]+?)`(?:__?)?|\*\*(?P<strong>[^*\n]+)\*\*"
)
PAGE = """\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title} - {book}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="style.css"></head><body>
<nav><a href="..">Documentation</a> <a href="index.html">{book}</a></nav><main>
{body}
</main></body></html>
"""
STYLE = """\
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto;
  padding: 0 1rem 4rem; }
nav { padding: .6rem 0; } nav a { margin-right: 1rem; }
code, pre { font: 14px/1.4 ui-monospace, monospace; } pre { overflow-x: auto; padding: .5rem .8rem;
  border-left: 3px solid #777; }
pre.text { font: inherit; white-space: pre-wrap; border: 0; padding: 0; }
h2 { margin-top: 2.5rem; border-top: 1px solid #777; padding-top: .8rem; } h3 { margin-top: 2rem; }
h2, h3, .signature { overflow-wrap: anywhere; }
.signature { font: 14px/1.4 ui-monospace, monospace; }
section section { margin-left: 1.5rem; }
"""


@dataclass(frozen=True)
class Thing:
    """What has a place on a module's page.

    Args:
        name: there.
        value: what it is.
        aliases: other names of the same in its module.
    """

    name: str
    value: Any
    aliases: list[str] = field(default_factory=list)


def main() -> None:
    """Write the book that the command line asks for."""
    target, title, *asked = sys.argv[1:]
    packages = [name for each in asked for name in roots(each)]
    with (
        open(os.devnull, "w", encoding="utf-8") as nothing,  # noqa: PTH123
        tempfile.TemporaryDirectory(dir="/var/tmp") as home,
        # What a package says while it is imported is no part of the book, and no error of ours.
        contextlib.redirect_stdout(nothing),
        contextlib.redirect_stderr(nothing),
    ):
        # Nothing but the book remains.
        sys.dont_write_bytecode = True
        secrets.randbits = lambda k: 0 * k  # some of SciPy's examples are drawn when it is imported
        os.environ |= {"HOME": home, "MPLBACKEND": "agg"}
        write(Path(target), title, packages)


def write(target: Path, title: str, packages: Sequence[str]) -> None:
    """Write a book in the place of the one that is there.

    Args:
        target: its directory.
        title: what it is called.
        packages: that it is about; what of them cannot be imported is left out.

    Raises:
        SystemExit: there is nothing to write about.
    """
    modules = dict(modules_of(packages))
    if not modules:
        raise SystemExit(f"docstrings.py: nothing of {', '.join(packages)} can be imported")
    fresh = target.with_name(f".{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    (fresh / "style.css").write_text(STYLE, encoding="utf-8")
    found = places(modules)
    pages = Pages(fresh, title, packages, modules, found, at_hand(modules, packages))
    workers = os.cpu_count() or 1
    with ProcessPoolExecutor(
        workers,
        multiprocessing.get_context("fork"),  # what was imported cannot be sent
        initializer=_inherit,
        initargs=(pages,),
    ) as pool:
        told = dict(zip(found, pool.map(_write, found, chunksize=8), strict=True))
    names = [line for page in told.values() if page for line in page.names]
    contents = "\n".join(page.contents for page in told.values() if page)
    listed = f"<h1>{html.escape(title)}</h1>\n<ul>\n{contents}\n</ul>"
    (fresh / "index.html").write_text(_page(title, title, listed), encoding="utf-8")
    (fresh / NAMES).write_text("".join(sorted(set(names))), encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)


@dataclass(frozen=True)
class Pages:
    """What the pages of a book are written of.

    Args:
        place: their directory.
        title: of the book.
        packages: that it is about.
        modules: of these, by name.
        found: what the page of each has.
        first: see `at_hand`.
    """

    place: Path
    title: str
    packages: Sequence[str]
    modules: Mapping[str, ModuleType]
    found: Mapping[str, Sequence[Thing]]
    first: Mapping[int, set[str]]


@dataclass(frozen=True)
class PageLines:
    """What a page that was written adds to the book.

    Args:
        names: its lines of ``names.tsv``.
        contents: its line of the list of contents.
    """

    names: list[str]
    contents: str


def write_page(pages: Pages, name: str) -> PageLines | None:
    """Write the page of a module; None: there is nothing to tell of it."""
    things, page = pages.found[name], f"{name}.html"
    about = _doc(pages.modules[name])
    if not about and not things:
        return None
    body = [f"<h1>{html.escape(name)}</h1>", render(about)]
    names = [f"{name}\tmodule\t{page}\t{int(name not in pages.packages)}\n"]
    for thing in things:
        told = pages.first.get(id(thing.value), ())
        body.append(_section(thing))
        names += [
            f"{each}\t{name}\t{page}#{thing.name}\t{int(each not in told)}\n"
            for each in (thing.name, *thing.aliases)
        ]
        for method, _ in _methods(thing.value):
            names.append(f"{thing.name}.{method}\t{name}\t{page}#{thing.name}.{method}\t2\n")
    (pages.place / page).write_text(_page(pages.title, name, "\n".join(body)), encoding="utf-8")
    contents = f'<li><a href="{page}">{html.escape(name)}</a> {_line(about)}</li>'
    return PageLines(names, contents)


_OF_PARENT: list[Pages] = []  # of a process that was forked for it


def _inherit(pages: Pages) -> None:
    _OF_PARENT.append(pages)


def _write(name: str) -> PageLines | None:
    return write_page(_OF_PARENT[0], name)


def roots(distribution: str) -> list[str]:
    """What is imported of a distribution, as sklearn of scikit-learn; its own name if it is none.

    Args:
        distribution: as it is asked for, perhaps with a version.
    """
    name = re.split(r"[^\w.-]", distribution, maxsplit=1)[0]
    try:
        files = importlib.metadata.distribution(name).files or []
    except importlib.metadata.PackageNotFoundError:
        return [name]
    tops = {file.parts[0].removesuffix(".py") for file in files if file.suffix == ".py"}
    return sorted(each for each in tops if each.isidentifier() and not PRIVATE.search(each))


def modules_of(packages: Iterable[str]) -> Iterator[tuple[str, ModuleType]]:
    """All modules of packages that can be imported, and are for others."""
    for package in packages:
        names = {package}
        with contextlib.suppress(Exception):  # of which some are one module
            for place in importlib.import_module(package).__path__:
                names |= set(_below(Path(place), package))
        for name in sorted(each for each in names if not PRIVATE.search(each)):
            # Some are programs, which end, and some want what is not there.
            with contextlib.suppress(Exception, SystemExit):
                yield name, importlib.import_module(name)


def _below(place: Path, package: str) -> Iterator[str]:
    """The modules of a package by their files: some of its folders are no packages for Python."""
    for path in place.rglob("*"):
        for suffix in importlib.machinery.all_suffixes():
            if path.name.endswith(suffix):
                parts = path.relative_to(place).with_name(path.name.removesuffix(suffix)).parts
                parts = parts[:-1] if parts[-1] == "__init__" else parts
                if all(part.isidentifier() for part in parts):
                    yield ".".join((package, *parts))
                break


def places(modules: Mapping[str, ModuleType]) -> dict[str, list[Thing]]:
    """What each module's page has: each function and class once, where it was written.

    What was written where nobody looks is where it is told by the shortest name.
    """
    best: dict[int, tuple[tuple[Any, ...], str, str, Any]] = {}
    others: dict[int, set[tuple[str, str]]] = {}
    roots = {name.partition(".")[0] for name in modules}
    for module, name, value in _all(modules):
        home = _home(value)
        if home and home.partition(".")[0] not in roots:
            continue
        if home and home != module and home in modules and name in vars(modules[home]):
            continue
        own = getattr(value, "__name__", name) == name
        rank = (home != module, not own, module.count("."), len(module), module, name)
        others.setdefault(id(value), set()).add((module, name))
        if id(value) not in best or rank < best[id(value)][0]:
            best[id(value)] = (rank, module, name, value)
    found: dict[str, list[Thing]] = {name: [] for name in sorted(modules)}
    for key, (_, module, name, value) in best.items():
        aliases = sorted(each for where, each in others[key] if where == module and each != name)
        found[module].append(Thing(name, value, aliases))
    for things in found.values():
        things.sort(key=lambda thing: thing.name)
        _add_instances(things, modules)
    return found


def _add_instances(things: list[Thing], modules: Mapping[str, ModuleType]) -> None:
    """Where a class is there for one thing, as Function_sin for sin, that is its other name."""
    own = {thing.name for thing in things}
    for thing in things:
        if inspect.isclass(thing.value) and (module := modules.get(_home(thing.value) or "")):
            names = [name for name, value in vars(module).items() if type(value) is thing.value]
            if len(names) <= FEW:
                also = {name for name in names if not name.startswith("_")} - own
                thing.aliases.extend(sorted(also - {*thing.aliases}))


def _all(modules: Mapping[str, ModuleType]) -> Iterator[tuple[str, str, Any]]:
    for module, there in modules.items():
        for name, value in sorted(vars(there).items()):
            if name.startswith("_") or not name.isidentifier():
                continue
            if inspect.isclass(value) or _is_routine(value):
                yield module, name, value


def at_hand(modules: Mapping[str, ModuleType], packages: Iterable[str]) -> dict[int, set[str]]:
    """What a package has under its own name, or Sage in ``sage.all``: names by what they are of."""
    found: dict[int, set[str]] = {}
    for package in packages:
        there = sys.modules.get(f"{package}.all") or modules.get(package)
        for name, value in list(vars(there).items()) if there else ():
            value = _behind(value)  # noqa: PLW2901
            found.setdefault(id(value), set()).add(name)
            found.setdefault(id(type(value)), set()).add(name)
    return found


def _behind(value: Any) -> Any:
    """What stands behind a name: a method's function, or what Sage imports when it is asked."""
    try:
        if type(value).__name__ == "LazyImport":
            return value._get_object()
        return getattr(value, "__func__", value)
    except Exception:
        return None


def _is_routine(value: Any) -> bool:
    return inspect.isfunction(value) or type(value).__name__ in ROUTINES


def _home(value: Any) -> str | None:
    home = getattr(value, "__module__", None)
    return home if isinstance(home, str) else None


def _methods(value: Any) -> list[tuple[str, Any]]:
    if not inspect.isclass(value):
        return []
    found = []
    for name, method in sorted(vars(value).items()):
        inner = _behind(method)
        if not name.startswith("_") and _doc(inner) and (callable(inner) or hasattr(inner, "fget")):
            found.append((name, inner))
    return found


def _doc(value: Any) -> str:
    try:
        doc = value.__doc__
    except Exception:
        return ""
    lines, testing = [], False
    for line in inspect.cleandoc(doc).splitlines() if isinstance(doc, str) else ():
        if found := HEADING.match(line):
            testing = found[1] in TESTS
        if not testing and not SOURCE.match(line):
            lines.append(line)
    return ADDRESS.sub("", "\n".join(lines)).strip()


def _section(thing: Thing) -> str:
    """A function, or a class with its methods."""
    parts = [_entry(thing.name, thing.name, thing.value, 2)]
    if thing.aliases:
        also = ", ".join(f"<code>{html.escape(each)}</code>" for each in thing.aliases)
        parts.append(f"<p>Also: {also}</p>")
    for name, method in _methods(thing.value):
        parts.append(f"<section>{_entry(f'{thing.name}.{name}', name, method, 3)}</section>")
    return f"<section>{''.join(parts)}</section>"


def _entry(anchor: str, name: str, value: Any, level: int) -> str:
    doc = _doc(value)
    first, _, rest = doc.partition("\n")
    if CALL.match(first):  # as compiled functions have it
        signature, doc = first[first.index("(") :], rest
    else:
        try:
            signature = ADDRESS.sub("", str(inspect.signature(value)))
        except Exception:
            signature = ""
    told = ""
    if signature:
        short = signature if len(signature) <= SHOWN else signature[:SHOWN] + "…"
        told = f'<p class="signature">{html.escape(name + short)}</p>'
    title = html.escape(anchor)
    return f'<h{level} id="{title}">{title}</h{level}>{told}{render(doc)}'


def render(doc: str) -> str:
    """A docstring as HTML: paragraphs, lists, examples as they stand.

    Args:
        doc: without the indentation that all its lines have.
    """
    parts: list[str] = []
    literal = -1  # the indentation that examples go below
    for block in _blocks(doc):
        indent = min(_indent(line) for line in block)
        if 0 <= literal < indent:
            parts.append(_literal(block))
            continue
        literal = -1
        if block[0].lstrip().startswith(PROMPTS):
            parts.append(_literal(block))
            continue
        if len(block) > 1 and UNDERLINE.match(block[1].strip()):
            parts.append(f"<p><strong>{_inline(block[0].strip())}</strong></p>")
            block = block[2:]  # noqa: PLW2901
            if not block:
                continue
            if block[0].lstrip().startswith(PROMPTS):
                parts.append(_literal(block))
                continue
        if found := DIRECTIVE.match(block[0].strip()):
            word, said = found.groups()
            parts.append(
                f"<p><strong>{html.escape(word.capitalize())}</strong> {_inline(said)}</p>"
            )
            if block[1:]:
                parts.append(_text(block[1:]))
            elif word.lower() in ("math", "plot", "link", "rubric"):
                literal = indent
            continue
        if block[-1].rstrip().endswith("::"):
            literal = _indent(block[-1])
            block = [*block[:-1], block[-1].rstrip()[:-1]]  # noqa: PLW2901
            if block == [":"]:
                continue
        parts.append(_text(block))
    # Examples with blank lines between them are one.
    return "\n".join(parts).replace("</pre>\n<pre>", "\n\n")


def _blocks(doc: str) -> Iterator[list[str]]:
    block: list[str] = []
    for line in [*doc.splitlines(), ""]:
        if line.strip():
            block.append(line)
        elif block:
            yield block
            block = []


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _literal(block: list[str]) -> str:
    indent = min(_indent(line) for line in block)
    return f"<pre>{html.escape(chr(10).join(line[indent:] for line in block), quote=False)}</pre>"


def _text(block: list[str]) -> str:
    indent = min(_indent(line) for line in block)
    lines = [line[indent:] for line in block]
    if all(line.startswith(("- ", "* ", "  ")) for line in lines) and lines[0][0] in "-*":
        items: list[str] = []
        for line in lines:
            if line.startswith(("- ", "* ")):
                items.append(line[2:])
            else:
                items[-1] += "\n" + line.strip()
        return "<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in items) + "</ul>"
    if any(line.startswith(" ") for line in lines):
        return f'<pre class="text">{_inline(chr(10).join(lines))}</pre>'
    return f"<p>{_inline(chr(10).join(lines))}</p>"


def _inline(text: str) -> str:
    parts, end = [], 0
    for found in INLINE.finditer(text):
        parts.append(html.escape(text[end : found.start()], quote=False))
        kind = "strong" if found["strong"] else "code"
        said = found["code"] or found["name"] or found["strong"]
        parts.append(f"<{kind}>{html.escape(said.lstrip('~'), quote=False)}</{kind}>")
        end = found.end()
    return "".join(parts) + html.escape(text[end:], quote=False)


def _line(doc: str) -> str:
    return _inline(doc.partition("\n")[0].strip())


def _page(book: str, title: str, body: str) -> str:
    return PAGE.format(book=html.escape(book), title=html.escape(title), body=body)


if __name__ == "__main__":
    main()
