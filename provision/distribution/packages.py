"""Package lists and what changed between two of them, read from a CycloneDX document."""

import json
from collections.abc import Mapping


def versions(sbom: str) -> dict[str, str]:
    """Name and version of each component; the name says which system it is from: ``deb bash``."""
    found = {}
    for part in json.loads(sbom)["components"]:
        kind = part["purl"].removeprefix("pkg:").partition("/")[0]
        found[f"{kind} {part['name']}"] = str(part["version"])
    return found


def text(packages: Mapping[str, str]) -> str:
    """A list of packages, one a line."""
    return "".join(f"{name} {packages[name]}\n" for name in sorted(packages))


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """What a newer version brings, takes away and renews, one package a line."""
    lines = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old is None:
            lines.append(f"+ {name} {new}\n")
        elif new is None:
            lines.append(f"- {name} {old}\n")
        elif old != new:
            lines.append(f"  {name} {old} -> {new}\n")
    return "".join(lines)
