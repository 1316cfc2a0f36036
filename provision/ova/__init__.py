"""Write and verify OVA files: `write_ova` makes one, `inspect` reads any in one pass."""

from provision.ova.inspection import Inspection, inspect
from provision.ova.model import Forward, OvaAppliance, OvaDisk, OvaResult
from provision.ova.writer import write_ova

__all__ = [
    "Forward",
    "Inspection",
    "OvaAppliance",
    "OvaDisk",
    "OvaResult",
    "inspect",
    "write_ova",
]
