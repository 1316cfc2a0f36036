"""What is installed, in the terms of advisories: an ecosystem, a package of it, a version."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packageurl import PackageURL
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from provision.errors import UsageError

PYPI = "PyPI"
# Whatever the guest's Python is: a component that one of these would have is judged.
_PYTHONS = ("3.11", "3.12", "3.13", "3.14")
_LINUX = {"sys_platform": "linux", "os_name": "posix", "platform_system": "Linux"}


@dataclass(frozen=True)
class Component:
    """One thing that advisories may be about.

    Args:
        ecosystem: in OSV's words: ``PyPI``, ``Debian:13``, ``Ubuntu:24.04``.
        package: its name there; of Debian the source package.
        version: of that package.
        names: what is installed of it, as its own system calls it.
        places: directories or lists that have it; empty: of the system itself.
    """

    ecosystem: str
    package: str
    version: str
    names: tuple[str, ...]
    places: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bill:
    """What one target consists of.

    Args:
        components: in order of ecosystem and package.
        unjudged: package URLs of which no advisory could speak here.
    """

    components: tuple[Component, ...]
    unjudged: tuple[str, ...] = ()


def bill_of(path: Path) -> Bill:
    """What a file lists: an OVA (by the bill of materials beside it), a bill, or a lock.

    Raises:
        UsageError: it is none of these, or damaged.
    """
    if path.suffix == ".ova":
        beside = path.with_name(path.stem + ".cdx.json")
        if not beside.is_file():
            raise UsageError(
                f"{path} has no bill of materials beside it ({beside.name})",
                hint="a build writes it there; copy both",
            )
        return from_sbom(beside.read_text(encoding="utf-8", errors="replace"), str(beside))
    if path.suffix == ".json":
        return from_sbom(path.read_text(encoding="utf-8", errors="replace"), str(path))
    return from_lock(path)


def from_sbom(text: str, where: str) -> Bill:
    """The components of a CycloneDX document.

    Args:
        text: the document.
        where: what errors call it.

    Raises:
        UsageError: it is no CycloneDX document, or lists nothing.
    """
    known, unjudged = [], []
    try:
        document = json.loads(text)
        if document.get("bomFormat") != "CycloneDX":
            raise ValueError("bomFormat is not CycloneDX")
        parts = list(document["components"])
        for part in parts:
            purl = str(part.get("purl", part.get("name")))
            if component := _component(purl, part):
                known.append(component)
            else:
                unjudged.append(purl)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{where} is no CycloneDX bill of materials: {error}") from error
    if not parts:
        raise UsageError(f"{where} lists no component", hint="build the appliance again")
    return Bill(join(known), tuple(unjudged))


def _component(purl: str, part: Mapping[str, Any]) -> Component | None:
    """One component; None: of another kind, or without a version."""
    try:
        url = PackageURL.from_string(purl)
    except ValueError:
        return None
    if not url.version:
        return None
    if url.type == "pypi":
        occurrences = part.get("evidence", {}).get("occurrences", ())
        places = tuple(str(each["location"]) for each in occurrences)
        return Component(PYPI, canonicalize_name(url.name), url.version, (url.name,), places)
    told = url.qualifiers if isinstance(url.qualifiers, dict) else {}
    distribution, _, release = str(told.get("distro", "")).partition("-")
    if url.type != "deb" or not release:
        return None
    source, _, version = str(told.get("upstream", url.name)).partition("@")
    ecosystem = f"{distribution.title()}:{release}"
    return Component(ecosystem, source, version or url.version, (url.name,))


def from_lock(path: Path) -> Bill:
    """The components of a list of Python packages with fixed versions, as pip reads it.

    Raises:
        UsageError: a line fixes no version, or there is none.
    """
    components = []
    for number, line in enumerate(_lines(path), 1):
        text = line.partition(" #")[0].strip().removesuffix("\\").strip()
        if not text or line.startswith((" ", "\t", "#", "-")):
            continue
        try:
            wanted = Requirement(text.partition(" --hash")[0])
            (only,) = wanted.specifier
        except (InvalidRequirement, ValueError) as error:
            raise UsageError(
                f"{path}, line {number}: {text!r} is not NAME==VERSION",
                hint="give a lock (uv pip compile --generate-hashes), or a bill of materials",
            ) from error
        if only.operator != "==" or "*" in only.version:
            raise UsageError(f"{path}, line {number}: {text!r} fixes no version")
        if _on_linux(wanted):
            package = canonicalize_name(wanted.name)
            components.append(Component(PYPI, package, only.version, (wanted.name,), (str(path),)))
    if not components:
        raise UsageError(f"{path} lists no package")
    return Bill(join(components))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text", hint="give a lock, an OVA or a bill") from error


def _on_linux(wanted: Requirement) -> bool:
    marker = wanted.marker
    return marker is None or any(
        marker.evaluate({**_LINUX, "python_version": each, "python_full_version": f"{each}.0"})
        for each in _PYTHONS
    )


def join(components: Sequence[Component]) -> tuple[Component, ...]:
    """Components in order, those of one package and version as one."""
    found: dict[tuple[str, str, str], Component] = {}
    for each in components:
        key = (each.ecosystem, each.package, each.version)
        old = found.get(key)
        names, places = (old.names, old.places) if old else ((), ())
        found[key] = Component(
            *key,
            tuple(dict.fromkeys((*names, *each.names))),
            tuple(dict.fromkeys((*places, *each.places))),
        )
    return tuple(found[key] for key in sorted(found))
