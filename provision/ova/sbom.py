"""The software bill of materials of a root file system, as CycloneDX 1.6 JSON.

Written by hand: of the format we need two kinds of component, and the same tree must always give
the same text, without the serial number and time that a library would put in.
"""

import json
import os
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import Message
from email.parser import BytesHeaderParser, HeaderParser
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from provision.errors import ApplianceError

Component = dict[str, object]

# Where Python packages are that dpkg did not install.
PYTHON_PLACES = ("opt", "srv", "usr/local")
_LONGEST_NAME = 100  # of a licence; what is longer is its text
_NAMESPACE = uuid.UUID("8a3c9c52-0a0e-5d3b-b6a5-6d0f8f0f7a11")


def sbom(root: Path, *, name: str, version: str, epoch: int) -> str:
    """Describe what is installed below a directory.

    Args:
        root: the root directory of the guest's file system.
        name: the appliance's name.
        version: the appliance's version.
        epoch: seconds since 1970 UTC that the document is dated with.

    Raises:
        ApplianceError: there is no dpkg database below ``root``.
    """
    found: dict[str, Component] = {}
    for part in (*_debian(root), *_python(root)):
        found[str(part["bom-ref"])] = _also(found.get(str(part["bom-ref"])), part)
    components = [found[key] for key in sorted(found)]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(_NAMESPACE, json.dumps([name, version, components])).urn,
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "operating-system",
                "bom-ref": "appliance",
                "name": name,
                "version": version,
            },
        },
        "components": components,
        "dependencies": [{"ref": "appliance", "dependsOn": sorted(found)}],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _debian(root: Path) -> Iterator[Component]:
    status = root / "var/lib/dpkg/status"
    try:
        paragraphs = status.read_text(encoding="utf-8").split("\n\n")
    except FileNotFoundError as error:
        raise ApplianceError(f"{root} is no Debian root: {status} is missing") from error
    distribution, release = _release(root)
    for paragraph in paragraphs:
        fields = HeaderParser().parsestr(paragraph.strip())
        if not fields.get("Status", "").endswith(" installed"):
            continue
        # Advisories count in source versions, which may be others: zlib (1:1.3) is zlib@1:1.3.
        source = fields.get("Source", fields["Package"]).replace(" (", "@").rstrip(")")
        qualifiers = f"arch={fields['Architecture']}&distro={release}&upstream={_quote(source)}"
        purl = (
            f"pkg:deb/{distribution}/{_quote(fields['Package'])}"
            f"@{_quote(fields['Version'])}?{qualifiers}"
        )
        component: Component = {
            "type": "library",
            "bom-ref": purl,
            "supplier": {"name": fields.get("Maintainer", "")},
            "name": fields["Package"],
            "version": fields["Version"],
            "description": fields.get("Description", "").partition("\n")[0],
            "purl": purl,
        }
        if licenses := _debian_licenses(root, fields["Package"]):
            component["licenses"] = [{"license": {"name": name}} for name in licenses]
        yield component


def _debian_licenses(root: Path, package: str) -> list[str]:
    """The licences that a package's copyright file names, in Debian's words.

    Most files are machine-readable (DEP-5); of the others we know the common licences that they
    refer to, and say where the rest stands.
    """
    place = f"/usr/share/doc/{package}/copyright"
    try:
        text = (root / place[1:]).read_text(encoding="utf-8", errors="replace")
    except OSError:  # some packages have a link to the directory of another that is not there
        return []
    if "copyright-format" in text[:500] or text.startswith("Format:"):
        found = set(re.findall(r"(?m)^License:[ \t]*(\S.*?)[ \t]*$", text))
    else:
        found = set(re.findall(r"/usr/share/common-licenses/([\w.+-]*\w)", text))
    return sorted(found) or [f"see {place}"]


def _python(root: Path) -> Iterator[Component]:
    for place in PYTHON_PLACES:
        for directory, below, _ in os.walk(root / place):
            for distribution in [part for part in below if part.endswith(".dist-info")]:
                below.remove(distribution)
                metadata = Path(directory, distribution, "METADATA")
                if metadata.is_file():
                    yield _python_package(metadata) | _occurring(
                        f"/{metadata.parents[1].relative_to(root)}"
                    )


def _occurring(*places: str) -> Component:
    return {"evidence": {"occurrences": [{"location": place} for place in places]}}


def _also(known: Component | None, part: Component) -> Component:
    """A component, with the places of one that is known already."""
    if known is None or "evidence" not in part:
        return part
    places = {
        each["location"]: None
        for one in (known, part)
        for each in cast("dict[str, Any]", one["evidence"])["occurrences"]
    }
    return part | _occurring(*sorted(places))


def _python_package(metadata: Path) -> Component:
    with metadata.open("rb") as file:
        fields = BytesHeaderParser().parse(file)
    name = str(fields["Name"]).lower().replace("_", "-").replace(".", "-")
    purl = f"pkg:pypi/{_quote(name)}@{_quote(str(fields['Version']))}"
    component: Component = {
        "type": "library",
        "bom-ref": purl,
        "name": str(fields["Name"]),
        "version": str(fields["Version"]),
        "description": str(fields.get("Summary", "")),
        "purl": purl,
    }
    if expression := fields.get("License-Expression"):
        component["licenses"] = [{"expression": str(expression)}]
    elif licenses := _python_licenses(fields):
        component["licenses"] = [{"license": {"name": name}} for name in licenses]
    return component


def _python_licenses(fields: Message) -> list[str]:
    """The licences of a package from before License-Expression, by its classifiers or in a word."""
    classifiers = (str(text) for text in fields.get_all("Classifier", ()))
    found = {text.rpartition(" :: ")[2] for text in classifiers if text.startswith("License ::")}
    text = str(fields.get("License", "")).strip()
    if text and "\n" not in text and len(text) <= _LONGEST_NAME and not found - {"OSI Approved"}:
        return [text]
    return sorted(found)


def _release(root: Path) -> tuple[str, str]:
    """Return the distribution and its release as package URLs write them: debian, debian-13."""
    found = {}
    for line in (root / "usr/lib/os-release").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("=")
        found[key] = value.strip('"')
    name = found.get("ID", "debian")
    return name, f"{name}-{found.get('VERSION_ID', 'unstable')}"


def _quote(text: str) -> str:
    return quote(text, safe="~.-_:")
