"""Write and verify OVA files: ``write_ova`` makes one, ``verify`` reads any in one pass."""

from provision.ova.model import Forward, OvaAppliance, OvaDisk, OvaResult
from provision.ova.writer import write_ova

__all__ = ["Forward", "OvaAppliance", "OvaDisk", "OvaResult", "write_ova"]
