"""Write and verify OVA files: `write_ova` makes one, `inspect` reads any in one pass."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from provision.ova.inspection import Inspection, inspect
    from provision.ova.model import NatRule, OvaAppliance, OvaDisk, OvaResult
    from provision.ova.writer import write_ova

__all__ = [
    "Inspection",
    "NatRule",
    "OvaAppliance",
    "OvaDisk",
    "OvaResult",
    "inspect",
    "write_ova",
]
_HOME = {"Inspection": "inspection", "inspect": "inspection", "write_ova": "writer"}


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: a seat's `pull` needs `minisign` alone."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME.get(name, 'model')}"), name)
