"""Snapshots: a machine's disks, settings and, when it runs, memory at one moment."""

import re
from dataclasses import dataclass

from vbox.errors import NotFoundError, VBoxError
from vbox.machine import OFF, Machine, show
from vbox.runner import Progress, VBoxManage

# VirtualBox escapes nothing here, so that only the line after tells where a name ends.
_NODE = re.compile(
    r'^SnapshotName((?:-\d+)*)="(?P<name>.*?)"\nSnapshotUUID\1="(?P<uuid>[0-9a-f-]{36})"',
    re.MULTILINE | re.DOTALL,
)
_CURRENT = re.compile(r'^CurrentSnapshotUUID="([0-9a-f-]{36})"', re.MULTILINE)


@dataclass(frozen=True)
class Snapshot:
    """One snapshot.

    Args:
        uuid: its identity; names may come twice.
        name: its name.
        depth: 0 for the first, one more for each that was taken on top.
        current: the machine's present state is based on it.
    """

    uuid: str
    name: str
    depth: int
    current: bool


def read(text: str) -> tuple[Snapshot, ...]:
    """Read ``snapshot … list --machinereadable``, oldest first within each branch."""
    current = _CURRENT.search(text)
    return tuple(
        Snapshot(
            node["uuid"],
            node["name"],
            node[1].count("-"),
            bool(current and current[1] == node["uuid"]),
        )
        for node in _NODE.finditer(text)
    )


def snapshots(manage: VBoxManage, machine: Machine) -> tuple[Snapshot, ...]:
    """All snapshots of a machine."""
    if not show(manage, machine.uuid).has_snapshots:
        return ()  # without any, VBoxManage's list fails
    return read(manage.run("snapshot", machine.uuid, "list", "--machinereadable"))


def find(manage: VBoxManage, machine: Machine, name: str) -> Snapshot:
    """Find a snapshot by its name or UUID.

    Raises:
        NotFoundError: there is none, or more than one of that name.
    """
    listed = snapshots(manage, machine)
    found = [each for each in listed if name in (each.name, each.uuid)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(each.name for each in listed) or "none"
    how = "no snapshot is" if not found else f"{len(found)} snapshots are"
    raise NotFoundError(
        f"{how} named {name!r} in the VM {machine.name!r}; there are: {known}",
        hint="name it by its UUID: `appliance snapshot list --json`" if found else "",
    )


def take(manage: VBoxManage, machine: Machine, name: str, description: str = "") -> Snapshot:
    """Take a snapshot; of a running machine without pausing it."""
    if any(each.name == name for each in snapshots(manage, machine)):
        raise VBoxError(
            f"the VM {machine.name!r} has a snapshot named {name!r} already",
            hint="give it another name",
        )
    live = () if show(manage, machine.uuid).state in OFF else ("--live",)
    about = ("--description", description) if description else ()
    manage.run("snapshot", machine.uuid, "take", name, *about, *live, timeout=None)
    return find(manage, machine, name)


def restore(manage: VBoxManage, machine: Machine, name: str) -> None:
    """Bring a machine that is off back to a snapshot; its present state is lost."""
    uuid = find(manage, machine, name).uuid
    manage.run("snapshot", machine.uuid, "restore", uuid, timeout=None)


def delete(
    manage: VBoxManage, machine: Machine, name: str, *, on_progress: Progress | None = None
) -> None:
    """Delete a snapshot by merging its disks into what came after; no present data is lost."""
    uuid = find(manage, machine, name).uuid
    manage.run("snapshot", machine.uuid, "delete", uuid, timeout=None, on_progress=on_progress)
