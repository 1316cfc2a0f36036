"""What sessions on another engine need of ours: who may use how much, and what may be chosen.

The rules are the guest's own modules, which need nothing but Python: they are sent along as they
are.
"""

from importlib.resources import files
from typing import Any

from provision import guest
from provision.config import Config
from provision.config.languages import kernel_of
from provision.config.section import Section
from provision.guest.pool import entitlement

SERVER = "/opt/notebook/bin/jupyterhub-singleuser"
KERNELS = "usr/local/share/jupyter/kernels"


def source(module: str) -> str:
    """The text of one of the guest's modules, which may need what only the guest has.

    Args:
        module: its path below ``provision/guest``.
    """
    return (files(guest) / module).read_text()


def shares(config: Config) -> dict[str, Any]:
    """Everything that decides what one session may use, as ``entitlement.share_of`` takes it."""

    def dump(section: Section) -> dict[str, Any]:
        return section.model_dump(exclude_none=True)

    limits = config.pool.limits
    return {
        "default": {kind: getattr(limits, kind) for kind in entitlement.KINDS},
        "profiles": {name: dump(each.limits) for name, each in config.profiles.items()},
        "groups": {
            name: {"members": list(group.members), "limits": dump(group.limits)}
            for name, group in config.pool.groups.items()
        },
        "students": {name: dump(share) for name, share in config.pool.students.items()},
    }


def choices(config: Config) -> dict[str, dict[str, Any]]:
    """The profiles, as ``profiles.form`` and ``profiles.choose`` take them."""
    return {
        name: {"title": profile.title, "kernels": list(map(kernel_of, profile.kernels))}
        for name, profile in config.profiles.items()
    }
