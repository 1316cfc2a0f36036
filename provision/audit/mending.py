"""Where in our appliance a component can be reached, and the one command that renews it."""

import functools
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from provision import resources
from provision.audit import versions
from provision.audit.component import PYPI, Component, from_lock

Reach = Literal["session", "hub", "build"]
REACHES: tuple[Reach, ...] = ("session", "hub", "build")  # the most exposed first

_NOTEBOOK = "notebook/files/requirements.lock"
_PAGES = "notebook/files/pages.lock"  # what exports take into a page
_SIGN_IN = "extensions/files/signin.lock"
_GIT = "extensions/files/git.lock"
_SAGE = "sage/files/passagemath-10.8.lock"
# Where a guest has Python packages of ours, which lists they are from, and what renews them there.
_PLACES = {
    "/opt/notebook": ((_NOTEBOOK, _PAGES, _GIT, _SIGN_IN), "notebook"),
    "/opt/nbgrader": (("extensions/files/courses.lock",), "system"),
    "/opt/kernels": (("kernels/files/requirements.lock",), "system"),
    "/opt/python": (("kernels/files/python.lock",), "system"),
    "/opt/sage": ((_SAGE,), "sage"),
}
_OWN = ("requirements.lock", "requirements-dev.lock")
# What no session runs or speaks with, though it may see its files: the boot, the hub's way to the
# sessions and its proxy, the firewall. All else of the system is a session's to call.
_NO_SESSION = frozenset(
    (
        *("grub2", "grub-efi-amd64-signed", "shim", "shim-signed", "initramfs-tools"),
        *("nodejs", "openssh", "nftables", "unattended-upgrades"),
    )
)


@dataclass(frozen=True)
class AuditTarget:
    """What is audited.

    Args:
        kind: a host of the fleet, a built appliance, or a list that a build or this tool uses.
        name: the host's name, or the file.
    """

    kind: Literal["host", "appliance", "lock"]
    name: str


def locks() -> tuple[Path, ...]:
    """All our lists of Python packages; those of this tool itself only where its source is."""
    roles = [name for names, _ in _PLACES.values() for name in names]
    own = [resources.playbooks().parent / name for name in _OWN]
    return (*map(_lock, roles), *(path for path in own if path.is_file()))


def reach(component: Component) -> Reach:
    """The most exposed part of an appliance that runs a component."""
    if component.ecosystem != PYPI:
        return "hub" if component.package in _NO_SESSION else "session"
    found = [_reach_at(component, place) for place in component.places]
    return min(found, key=REACHES.index, default="session")


def _reach_at(component: Component, place: str) -> Reach:
    path = Path(place)
    if path in (resources.playbooks().parent / name for name in _OWN):
        return "build"
    if path == _lock(_SIGN_IN):
        return "hub"
    if place.startswith("/opt/notebook"):
        rest = (_NOTEBOOK, _PAGES, _GIT)
        others = any(component.package in _lowest_versions(_lock(name)) for name in rest)
        return (
            "hub"
            if component.package in _lowest_versions(_lock(_SIGN_IN)) and not others
            else "session"
        )
    return "session"


def mend(target: AuditTarget, component: Component, fixed: str | None) -> str | None:
    """The command that brings the fixed version of a component to a target.

    Returns:
        The command; None: nothing mends it, there is no fixed version yet.
    """
    if fixed is None:
        return None
    if target.kind == "lock":
        return _renewal(Path(target.name), component.package)
    if component.ecosystem != PYPI:
        return _upgrade(target, "system")
    for place, (names, verb) in _PLACES.items():
        if not any(each.startswith(place) for each in component.places):
            continue
        for lock in map(_lock, names):
            listed = _lowest_versions(lock).get(component.package)
            if listed and not versions.at_least(PYPI, listed, fixed):
                return _renewal(lock, component.package)
        return _upgrade(target, verb)
    return _upgrade(target, "system")


def _upgrade(target: AuditTarget, verb: str) -> str:
    if target.kind == "host":
        settings = "" if verb == "notebook" else " -c appliance.yml"
        return f"appliance upgrade {verb}{settings} {shlex.quote(target.name)}"
    return "appliance build"


def _renewal(lock: Path, package: str) -> str:
    """The command that renews one package of a list."""
    how = "--universal --python-version 3.11 --generate-hashes --no-header"
    asked, more = _word(lock.with_suffix(".in")), ""
    if lock.name in _OWN and lock.parent == resources.playbooks().parent:
        asked = _word(lock.with_name("pyproject.toml"))
        more = " --group dev" if lock.name == _OWN[1] else ""
    if lock in (_lock(_GIT), _lock(_SIGN_IN)):  # they go into the notebook's environment
        more = f" -c {_word(_lock(_NOTEBOOK))}"
    return f"uv pip compile {asked}{more} {how} --upgrade-package {package} -o {_word(lock)}"


def _word(path: Path) -> str:
    """A path as a word of a command that is given here."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def _lock(name: str) -> Path:
    return resources.playbooks() / "roles" / name


@functools.cache
def _lowest_versions(lock: Path) -> dict[str, str]:
    """The lowest version of each package in a list: of several, each Python has its own."""
    found: dict[str, str] = {}
    for each in from_lock(lock).components:
        known = found.get(each.package)
        if known is None or not versions.at_least(PYPI, each.version, known):
            found[each.package] = each.version
    return found
