"""The bill of materials of an appliance in use, as a build writes it."""

import time
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from provision.errors import GuestError
from provision.fleet.inventory import Host, Inventory
from provision.fleet.many import Tell
from provision.fleet.remote import reach
from provision.ova.sbom import PYTHON_PLACES, sbom

PROGRAM = "materials"
SECONDS = 300.0


def materials(host: Host, inventory: Inventory, tell: Tell) -> str:
    """Ask an appliance what is installed.

    Args:
        host: the appliance.
        inventory: with its pinned key.
        tell: called as it begins.

    Returns:
        A CycloneDX document, without licences.

    Raises:
        GuestError: no way in, or its answer makes no sense.
    """
    tell("materials", "")
    with reach(host, inventory) as remote:
        places = [f"/{place}" for place in PYTHON_PLACES]
        told: dict[str, str] = remote.program(PROGRAM, "files", *places, timeout=SECONDS)["files"]
    with TemporaryDirectory(prefix="materials-") as place:
        for name, text in told.items():
            path = PurePosixPath(name)
            if not path.is_absolute() or ".." in path.parts:
                raise GuestError(f"{host.name} names a file that cannot be: {name!r}")
            file = Path(place, *path.parts[1:])
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return sbom(Path(place), name=host.name, version="", epoch=int(time.time()))
