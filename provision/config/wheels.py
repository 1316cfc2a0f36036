"""Lists of wheels with their hashes, as pip reads them."""

import re

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)\s*==\s*([^\s;\\]+)", re.MULTILINE)


def normalize(name: str) -> str:
    """A package's name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text: str) -> dict[str, str]:
    """The version of each package of a list, by its normalized name.

    Args:
        text: of a requirements file.
    """
    return {normalize(name): version for name, version in _PIN.findall(text)}
