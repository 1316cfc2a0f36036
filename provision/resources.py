"""Where what is no code is: beside the source, or inside the installed wheel."""

from pathlib import Path

PACKAGE = Path(__file__).parent


def playbooks() -> Path:
    """The directory of our Ansible playbooks and roles."""
    return _find("playbooks")


def templates() -> Path:
    """The directory of every Jinja2 template, for the host and for the guest."""
    return _find("templates")


def lock() -> Path:
    """The list of what this program needs, with hashes, for every system."""
    return _find("requirements.lock")


def _find(name: str) -> Path:
    installed = PACKAGE / "_data" / name
    return installed if installed.exists() else PACKAGE.parent / name
