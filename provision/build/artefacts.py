"""What a finished stage leaves in its cache entry, by name."""

from pathlib import Path
from typing import Any

LAYER = "root"  # the directory that holds the stage's layer of the root file system
NATIVE = "native"  # beside a base of another architecture: this host's programs for it
DISKS = "disks"  # the directory of the raw images, each named after its disk, and of the SBOM
SBOM = "sbom.cdx.json"
_WHOLE = "whole"

Product = dict[str, Any]  # what is told of a result that is handed to the user


def mark_whole(entry: Path) -> None:
    """Say that the layer is a whole root file system: none below it counts."""
    (entry / _WHOLE).touch()


def whole(entry: Path) -> bool:
    """Whether the layer of this entry is a whole root file system."""
    return (entry / _WHOLE).exists()
