"""What is installed on one appliance: materials files PLACE..., as root.

One JSON object out: the files that a bill of materials is made of, by path. It is made where it is
asked for, as that of a build is.
"""

import os
from pathlib import Path

from .program import answer

OF_THE_SYSTEM = ("/var/lib/dpkg/status", "/usr/lib/os-release")


def files(*places: str) -> dict[str, dict[str, str]]:
    """The package database, and what Python packages below some places say of themselves."""
    found = {path: Path(path).read_text(encoding="utf-8") for path in OF_THE_SYSTEM}
    for place in places:
        for directory, below, _ in os.walk(place):
            for name in [each for each in below if each.endswith(".dist-info")]:
                below.remove(name)
                metadata = Path(directory, name, "METADATA")
                if metadata.is_file():
                    text = metadata.read_text(encoding="utf-8", errors="replace")
                    found[str(metadata)] = text.partition("\n\n")[0] + "\n"
    return {"files": found}


def main() -> None:
    """Carry out what the command line says."""
    answer({"files": files})
