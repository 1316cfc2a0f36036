"""Read an OVF envelope, of OVF 1 or 2, by VirtualBox, VMware or us."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from xml.etree import ElementTree
from xml.parsers import expat

from provision.config.architectures import Name as ArchName
from provision.errors import VerificationError
from provision.ova.model import NatRule

CPU, MEMORY, ETHERNET = "3", "4", "10"
CONTROLLERS = {"5": "IDE", "6": "SCSI", "20": "SATA"}
_OVF = re.compile(r"\{http://schemas\.dmtf\.org/ovf/envelope/([012])\}Envelope")
_OVF_09 = "{http://www.vmware.com/schema/ovf/1/envelope}Envelope"
_POWER = re.compile(r"byte(?: ?\* ?2 ?\^ ?(\d+))?")
_OLD_UNITS = {"kilobytes": 10, "megabytes": 20, "gigabytes": 30}

_NAMES = frozenset({"id", "key", "name"})  # attributes that name something inside the VM
_WORDS = frozenset({"Annotation", "Description", "Info", "Label", "License", "Product", "Vendor"})


@dataclass(frozen=True)
class File:
    """A file that the envelope refers to.

    Args:
        name: of the member; of the first piece where it is in chunks.
        size: its bytes, if the envelope says.
        compression: by what it is compressed as a whole, such as gzip; empty: it is not.
        chunked: it comes in pieces (``ovf:chunkSize``).
    """

    name: str
    size: int | None
    compression: str = ""
    chunked: bool = False


@dataclass(frozen=True)
class OvfDisk:
    """A disk: its file (None: an empty disk), capacity in bytes and image format."""

    file: str | None
    capacity: int
    format: str


@dataclass(frozen=True)
class Leak:
    """Something of the machine where the OVA was made, or of its network.

    Args:
        kind: ``path`` or ``mac``.
        where: the XML element or the file.
        value: what it says.
    """

    kind: str
    where: str
    value: str


@dataclass(frozen=True, kw_only=True)
class System:
    """A virtual machine as described; an empty string or 0 for what is not said.

    Args:
        name: the machine's name.
        product: what is installed; with its vendor, versions and url.
        description: the annotation.
        system: the guest system.
        architecture: Debian's name of its processor's architecture.
        family: the virtual hardware's family.
        cpus: virtual CPUs.
        memory: bytes.
        controllers: disk controllers.
        networks: the network of each adapter, and the adapter's type.
        forwards: NAT rules, VirtualBox only.
    """

    name: str
    product: str
    vendor: str
    product_version: str
    full_version: str
    url: str
    description: str
    system: str
    architecture: ArchName
    family: str
    cpus: int
    memory: int
    controllers: tuple[str, ...]
    networks: tuple[str, ...]
    forwards: tuple[NatRule, ...]


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """What an envelope says.

    Args:
        version: of OVF: 1 or 2; 0 for the drafts before 1.
        systems: its virtual machines.
        files: every file that should come with it.
        disks: the disks of all its machines.
        leaks: what it tells of the place where it was made.
    """

    version: str
    systems: tuple[System, ...]
    files: tuple[File, ...]
    disks: tuple[OvfDisk, ...]
    leaks: tuple[Leak, ...]


def parse(name: str, data: bytes) -> Envelope:
    """Read an envelope.

    Args:
        name: its file name, for errors.
        data: its content.

    Raises:
        VerificationError: it is not well-formed, has a document type (entities could be bombs),
            or is no envelope.
    """
    root = _tree(name, data)
    if root.tag == _OVF_09:
        _modernize(root)
    known = _OVF.fullmatch(root.tag)
    if not known:
        raise VerificationError(f"{name}: no OVF envelope but {root.tag}")
    try:
        return _envelope(root, known[1])
    except (ValueError, KeyError) as error:
        raise VerificationError(f"{name}: {error}") from error


def _modernize(root: ElementTree.Element) -> None:
    """Give the parts of an envelope of OVF 0.9 the names that they have since.

    It wrote ``<Section xsi:type="ovf:DiskSection_Type">`` for ``<DiskSection>``.
    """
    for element in root.iter():
        if _local(element.tag) in ("Section", "Content"):
            told = _attribute(element, "type").rpartition(":")[2].removesuffix("_Type")
            element.tag = f"{{{_OVF_09[1:].partition('}')[0]}}}{told or _local(element.tag)}"
    root.tag = "{http://schemas.dmtf.org/ovf/envelope/0}Envelope"


def _tree(name: str, data: bytes) -> ElementTree.Element:
    def refuse(*_: object) -> None:
        raise VerificationError(f"{name}: a document type has no place in an envelope")

    guard = expat.ParserCreate()
    guard.StartDoctypeDeclHandler = refuse
    try:
        guard.Parse(data, True)
        return ElementTree.fromstring(data)  # noqa: S314 (no document type, so no entities)
    except (expat.ExpatError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise VerificationError(f"{name}: not well-formed XML: {error}") from error


def _envelope(root: ElementTree.Element, version: str) -> Envelope:
    files = {
        _attribute(file, "id"): File(
            _attribute(file, "href").removeprefix("./"),
            _number(_attribute(file, "size")),
            _attribute(file, "compression").lower().replace("identity", ""),
            bool(_attribute(file, "chunkSize")),
        )
        for file in root.iterfind("./{*}References/{*}File")
    }
    return Envelope(
        version=version,
        systems=tuple(_system(system) for system in root.iterfind(".//{*}VirtualSystem")),
        files=tuple(files.values()),
        disks=tuple(
            OvfDisk(
                file=files[reference].name if (reference := _attribute(disk, "fileRef")) else None,
                capacity=_capacity(disk) * _unit(_attribute(disk, "capacityAllocationUnits")),
                format=_attribute(disk, "format"),
            )
            for disk in root.iterfind("./{*}DiskSection/{*}Disk")
        ),
        leaks=tuple(_leaks(root)),
    )


def _capacity(disk: ElementTree.Element) -> int:
    told = _attribute(disk, "capacity")
    if not told.isascii() or not told.isdigit():
        raise ValueError(
            f"the capacity of disk {_attribute(disk, 'diskId')} is {told!r}, which is no number"
            " (VirtualBox takes no property for it)"
        )
    return int(told)


def _system(system: ElementTree.Element) -> System:
    items: dict[str, list[dict[str, str]]] = {}
    for element in system.iterfind("./{*}VirtualHardwareSection/*"):
        item = _children(element)
        items.setdefault(item.get("ResourceType", ""), []).append(item)
    cpus, memory = (items.get(kind, [{}])[0] for kind in (CPU, MEMORY))
    return System(
        name=_text(system, "./{*}Name") or _attribute(system, "id"),
        product=_text(system, "./{*}ProductSection/{*}Product"),
        vendor=_text(system, "./{*}ProductSection/{*}Vendor"),
        product_version=_text(system, "./{*}ProductSection/{*}Version"),
        full_version=_text(system, "./{*}ProductSection/{*}FullVersion"),
        url=_text(system, "./{*}ProductSection/{*}ProductUrl"),
        description=_text(system, "./{*}AnnotationSection/{*}Annotation"),
        system=_text(system, "./{*}OperatingSystemSection/{*}OSType")
        or _text(system, "./{*}OperatingSystemSection/{*}Description"),
        architecture=_architecture(system),
        family=_text(system, "./{*}VirtualHardwareSection/{*}System/{*}VirtualSystemType"),
        cpus=int(cpus.get("VirtualQuantity", 0)),
        memory=int(memory.get("VirtualQuantity", 0)) * _unit(memory.get("AllocationUnits", "")),
        controllers=tuple(
            f"{label} {item.get('ResourceSubType', '')}".strip()
            for kind, label in CONTROLLERS.items()
            for item in items.get(kind, [])
        ),
        networks=tuple(
            f"{item.get('Connection', '')} {item.get('ResourceSubType', '')}".strip()
            for item in items.get(ETHERNET, [])
        ),
        forwards=tuple(_forwards(system)),
    )


def _architecture(system: ElementTree.Element) -> ArchName:
    """VirtualBox's own part says it; for OVF itself VirtualBox calls an ARM machine Debian_64."""
    platform = system.find("./{*}Machine/{*}Platform")
    told = _attribute(platform, "architecture") if platform is not None else ""
    ours = _text(system, "./{*}OperatingSystemSection/{*}OSType")
    return "arm64" if told == "ARM" or ours.endswith("_arm64") else "amd64"


def _forwards(system: ElementTree.Element) -> Iterator[NatRule]:
    for rule in system.iter():
        if _local(rule.tag) == "Forwarding":
            yield NatRule(
                name=rule.get("name", ""),
                address=rule.get("hostip", ""),
                host=int(rule.get("hostport", 0)),
                guest=int(rule.get("guestport", 0)),
            )


def _leaks(root: ElementTree.Element) -> Iterator[Leak]:
    for element in root.iter():
        where = _local(element.tag)
        for key, value in [("", (element.text or "").strip()), *element.attrib.items()]:
            place = f"{where} {_local(key)}".strip()
            if _is_path(value) and not _is_no_place(where, _local(key), value):
                yield Leak("path", place, value)
            elif _local(key) == "MACAddress" or (where == "Address" and _is_mac(value)):
                yield Leak("mac", place, value)


def _is_no_place(where: str, key: str, value: str) -> bool:
    """Whether a value that looks like a path is a name, words for people, or of the OVF itself.

    Guest properties and groups of VirtualBox have names like ``/VirtualBox/GuestInfo``; OVF 0.9
    wrote its own references as ``/disk/ID``.
    """
    return (
        key in _NAMES
        or (not key and where in _WORDS)
        or (where == "HostResource" and value.startswith(("/disk/", "/file/")))
    )


def _is_path(value: str) -> bool:
    return "\n" not in value and (
        PurePosixPath(value).is_absolute()
        or PureWindowsPath(value).is_absolute()
        or value.startswith(("~/", "file:"))
    )


def _is_mac(value: str) -> bool:
    return bool(re.fullmatch(r"(?:[0-9A-Fa-f]{2}[:-]?){6}", value))


def _unit(text: str) -> int:
    """Return the factor of an allocation unit, as OVF 1 or 2 or old VMware write it."""
    if not text:
        return 1
    if (power := _OLD_UNITS.get(text.lower())) is not None:
        return 1 << power
    match = _POWER.fullmatch(text.strip())
    if not match:
        raise ValueError(f"unknown unit {text!r}")
    return 1 << min(int(match[1] or 0), 60)


def _number(text: str) -> int | None:
    return int(text) if text else None


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _text(element: ElementTree.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _children(element: ElementTree.Element) -> dict[str, str]:
    return {_local(child.tag): (child.text or "").strip() for child in element}


def _attribute(element: ElementTree.Element, name: str) -> str:
    return next((value for key, value in element.attrib.items() if _local(key) == name), "")
