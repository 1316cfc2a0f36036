"""What an OVA is made from, as data."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from provision.ova import vmdk


@dataclass(frozen=True, kw_only=True)
class NatRule:
    """A NAT port forward that the imported VM has from the start.

    Args:
        name: the rule's name.
        address: the host address that listens; empty for every interface.
        host: the host's TCP port.
        guest: the guest's TCP port.
    """

    name: str
    address: str = "127.0.0.1"
    host: int
    guest: int


@dataclass(frozen=True, kw_only=True)
class OvaAppliance:
    """The virtual machine and product that an OVA describes.

    Args:
        name: the VM's name; also the stem of the OVA's member names.
        product: the product's name for people.
        version: the short version, such as ``1.0``.
        full_version: version and what tells builds apart; ``version`` if empty.
        vendor: who makes it.
        product_url: where the product is at home.
        description: what it is and how to reach it; shown before the import.
        cpus: virtual CPUs.
        memory: bytes, a whole number of MiB.
        os_type: VirtualBox's name of the guest system.
        platform: VirtualBox's name of the guest's processor, x86 or arm.
        forwards: NAT port forwards.
        epoch: seconds since 1970 UTC, the only time that the file holds.
    """

    name: str
    product: str
    version: str
    epoch: int
    cpus: int
    memory: int
    full_version: str = ""
    vendor: str = ""
    product_url: str = ""
    description: str = ""
    os_type: str = "Debian_64"
    platform: str = "x86"
    forwards: Sequence[NatRule] = ()


@dataclass(frozen=True, kw_only=True)
class OvaDisk:
    """One disk; their order is the order of the SATA ports.

    Args:
        name: what it is for, such as ``root`` or ``home``; part of the member's name.
        raw_path: the raw image, best sparse; its size in bytes is a multiple of 512.
        uuid: the image's UUID; by default one derived from appliance, version and name.
        known: grains that were compressed while it was made.
    """

    name: str
    raw_path: Path
    uuid: UUID | None = None
    known: vmdk.Known = vmdk.nothing


@dataclass(frozen=True, kw_only=True)
class OvaResult:
    """A finished OVA.

    Args:
        path: the file.
        size: its bytes.
        sha256: the hexadecimal digest of the whole file.
        disks: the digest of each disk's member, in the order of the SATA ports.
    """

    path: Path
    size: int
    sha256: str
    disks: dict[str, str]
