"""Make a list of wheels with their hashes, for packages that the tested lists do not have."""

import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from provision import process, resources
from provision.config.architectures import ARCHITECTURES
from provision.config.architectures import Name as ArchName
from provision.config.wheels import normalize, pins
from provision.errors import ApplianceError

# What the kernel itself is.
KERNEL = ("ipykernel", "ipywidgets")


def tested_list(*, sage: bool) -> str:
    """The list that we have tried.

    Args:
        sage: Sage's; else that of Python's notebooks.
    """
    roles = resources.playbooks() / "roles"
    name = "sage/files/passagemath-10.8.lock" if sage else "kernels/files/python.lock"
    return (roles / name).read_text()


def resolve(packages: Sequence[str], *, python: str, arch: ArchName, sage: bool = False) -> str:
    """The list for these packages and all that they need, of the tested versions where it can be.

    Args:
        packages: from PyPI, each a name or name==version.
        python: the guest's version, as in 3.13.
        arch: the guest's architecture.
        sage: on top of Sage's wheels, which stay as they are.

    Raises:
        ApplianceError: there are no wheels that go together.
    """
    base = tested_list(sage=sage)
    asked = {normalize(each.partition("==")[0]) for each in packages if "==" in each}
    versions = {name: v for name, v in pins(base).items() if sage or name not in asked}
    constraints = "".join(f"{name}=={version}\n" for name, version in versions.items())
    found = _compile([*(() if sage else KERNEL), *packages], constraints, python, arch)
    if not sage:
        return found
    entries = re.split(r"^(?=[a-z0-9])", found, flags=re.MULTILINE)
    return base + "".join(each for each in entries if not set(pins(each)) & set(versions))


def _compile(wanted: Sequence[str], constraints: str, python: str, arch: ArchName) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        limits = Path(scratch, "constraints.txt")
        limits.write_text(constraints)
        command = [
            *(sys.executable, "-m", "uv", "pip", "compile", "-", "--quiet", "--no-header"),
            *("--generate-hashes", "--no-annotate", "--only-binary", ":all:"),
            *("--python-version", python, "--python-platform", ARCHITECTURES[arch].wheels),
            *("--constraint", str(limits)),
        ]
        try:
            return process.run(command, stdin="\n".join(wanted).encode(), timeout=600)
        except process.CommandFailedError as error:
            raise ApplianceError(
                f"there are no wheels for Python {python} that go together: {error}",
                hint="check the names, or ask for versions, as in numpy==2.1.0",
            ) from error
