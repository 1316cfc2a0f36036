"""Until when what we depend on is supported, by the table in ``supported.toml``.

The table is written by hand, so it is held against what is asked for: our own requirements, the
``.in`` files of the playbooks, the suites that can be built. What it does not know is as bad as
what is over.
"""

import contextlib
import datetime
import importlib.metadata
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from provision import resources
from provision.config.distributions import DISTRIBUTIONS
from provision.config.wheels import normalize, pins

TABLE = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True)
class Series:
    """What is known of one series of a package, or of a distribution.

    Args:
        name: of the package, normalized; of the suite; or Python.
        version: which versions, as pip's specifiers; empty: any.
        until: the last day; where upstream promises none, the day by which we look again.
        held: what keeps us from a later series; empty: nothing.
        source: who says so.
        lists: the lock files for which it is so; empty: all.
    """

    name: str
    version: str
    until: datetime.date
    held: str = ""
    source: str = ""
    lists: tuple[str, ...] = ()


def read(text: str) -> tuple[Series, ...]:
    """Read the table.

    Args:
        text: of ``supported.toml``.
    """
    told = tomllib.loads(text)
    newest = told["newest"]
    rolling = (Series(name, "", newest["until"], "", newest["source"]) for name in newest["names"])
    series = (Series(**{**each, "lists": tuple(each.get("lists", ()))}) for each in told["series"])
    suites = (
        Series(each["name"], "", each["until"], each["title"], each["source"])
        for each in told["suite"]
    )
    pythons = (
        Series("python", each["version"], each["until"], each.get("title", ""), each["source"])
        for each in told["python"]
    )
    return (*suites, *pythons, *series, *rolling)


def entries() -> tuple[Series, ...]:
    """Our table."""
    return read(TABLE.read_text(encoding="utf-8"))


def requirements() -> frozenset[str]:
    """What is depended on: packages by their normalized names, suites, Pythons as python-3.13."""
    lists = resources.playbooks().glob("roles/*/files/*.in")
    lines = [*_ours(), *(line for path in lists for line in path.read_text().splitlines())]
    names = {
        normalize(Requirement(line).name) for line in lines if line and not line.startswith("#")
    }
    for each in DISTRIBUTIONS.values():
        for suite, python in each.pythons.items():
            names |= {suite, f"python-{python}"}
    return frozenset(names)


def _ours() -> Iterator[str]:
    """The requirements of this tool and of the guest's code, from their source where it is."""
    for path in (resources.playbooks().parent, resources.PACKAGE / "guest"):
        with contextlib.suppress(FileNotFoundError):
            told = tomllib.loads((path / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            yield from told.get("dependencies", ())
            for more in told.get("optional-dependencies", {}).values():
                yield from more
            continue
        yield from importlib.metadata.requires("classroom-appliance") or ()


def troubles(
    table: Sequence[Series],
    names: frozenset[str],
    lists: Mapping[str, Mapping[str, str]],
    today: datetime.date,
) -> Iterator[str]:
    """What is over, unknown, or not as the table says; a sentence each.

    Args:
        table: see `entries`.
        names: see `requirements`.
        lists: version by package of each lock file, by its name.
        today: the day.
    """
    there = {f"python-{each.version}" if each.name == "python" else each.name for each in table}
    for name in sorted(names - there):
        yield f"{name}: nothing is known of it; give it an entry in {TABLE.name}"
    for each in table:
        if each.until < today:
            held = f"; held by: {each.held}" if each.held else ""
            yield f"{each.name} {each.version}: over since {each.until}{held}".replace("  ", " ")
    for file, versions in lists.items():
        for name, version in versions.items():
            series = [
                each
                for each in table
                if each.name == name and (not each.lists or file in each.lists)
            ]
            if series and not any(_fits(version, each) for each in series):
                told = " and ".join(each.version for each in series)
                yield f"{name} {version} in {file}: the table speaks of {told}"


def _fits(version: str, entry: Series) -> bool:
    return SpecifierSet(entry.version).contains(version, prereleases=True)


def lists(paths: Sequence[Path]) -> dict[str, dict[str, str]]:
    """Version by package of each lock file."""
    return {path.name: pins(path.read_text(encoding="utf-8")) for path in paths}


def document(table: Sequence[Series]) -> str:
    """The text of docs/supported.md."""
    rows = [
        f"| {each.name} | {each.version.replace('|', '/') or 'newest'} | {each.until}"
        f" | {each.held} | <{each.source}> |"
        for each in table
        if each.source.startswith("https:")
    ]
    rolling: dict[tuple[datetime.date, str], list[str]] = {}
    for each in table:
        if not each.source.startswith("https:"):
            rolling.setdefault((each.until, each.source), []).append(each.name)
    text = [
        "# Until when what we depend on is supported",
        "",
        "`appliance audit --supported` holds this table against what is asked for; it ends with",
        "exit code 8 when something is over or unknown. It is made from",
        "`provision/audit/supported.toml`, anew by",
        "`python -m provision.cli._supported > docs/supported.md`.",
        "",
        "| what | series | until | what holds it, or where it is | who says so |",
        "|---|---|---|---|---|",
        *rows,
    ]
    for (until, source), names in rolling.items():
        told = (
            f"Of these upstream supports the newest release alone ({source}); they are looked at"
            f" again by {until}: {', '.join(sorted(names))}."
        )
        text += ["", *textwrap.wrap(told, 100, break_on_hyphens=False)]
    return "\n".join(text) + "\n"
