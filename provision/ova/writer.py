"""Write a reproducible OVA: envelope, manifest, then the disks, in one file."""

from collections.abc import Sequence
from pathlib import Path

from provision.ova.model import OvaAppliance, OvaDisk, OvaResult


def write_ova(path: Path, appliance: OvaAppliance, disks: Sequence[OvaDisk]) -> OvaResult:
    """Write an OVA; the same inputs give the same bytes.

    Args:
        path: the file to make; an older one stays until the new one is whole.
        appliance: the VM and product.
        disks: its disks in the order of their SATA ports.

    Raises:
        HostNotReadyError: the file system has no room left.
        ApplianceError: a disk's size is no multiple of 512 bytes, or too big for an OVA.
    """
    raise NotImplementedError
