"""Media: disk images that VirtualBox knows, also those that went missing behind its back."""

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

from vbox import parse
from vbox.errors import FileFailedError, InvalidValueError, NotFoundError
from vbox.machine import Attachment, Machine, show
from vbox.runner import Progress, VBoxManage

MIB = 1 << 20


@dataclass(frozen=True)
class Medium:
    """A disk image.

    Args:
        uuid: its identity.
        location: its file.
        state: created, inaccessible, locked read, ...
        capacity: the size that the guest sees, in bytes; 0 when inaccessible.
        users: UUIDs of the machines in which it is attached.
        parent: UUID of the image that a differencing one is based on; ``base`` for any other.
    """

    uuid: str
    location: Path
    state: str
    capacity: int
    users: tuple[str, ...]
    parent: str = "base"

    @property
    def usable(self) -> bool:
        """The file is there and is the one that was registered."""
        return self.state != "inaccessible" and self.location.exists()


def inspect(manage: VBoxManage, medium: Path | str) -> Medium:
    """Look at a disk image, registered or not.

    Raises:
        FileFailedError: neither registered nor a readable image.
    """
    values = parse.fields(manage.run("showmediuminfo", "disk", str(medium)))
    number, _, unit = values.get("Capacity", "0 MBytes").partition(" ")
    return Medium(
        values["UUID"],
        Path(values["Location"]),
        values["State"],
        int(number) * (MIB if unit == "MBytes" else 1),
        tuple(re.findall(r"\(UUID: ([0-9a-f-]{36})\)", values.get("In use by VMs", ""))),
        values.get("Parent UUID", "base"),
    )


def find_registered(manage: VBoxManage, path: Path) -> Medium | None:
    """Find what is registered for this file, there or gone; None: nothing."""
    listing = manage.run("list", "hdds")
    for block in re.split(r"\n\n(?=UUID: )", listing):
        values = parse.fields(block)
        if values.get("Location") == str(path):
            return inspect(manage, values["UUID"])
    return None


def forget_below(manage: VBoxManage, folder: Path, *, all_of_them: bool = False) -> None:
    """Take the images below a directory out of the registry whose files are gone.

    An import that fails at its second disk removes the first one's file and leaves its entry,
    which then is in the way of every later import to that place.

    Args:
        manage: the VirtualBox.
        folder: the directory; no machine that is registered uses what is below it.
        all_of_them: those too whose files are there.
    """
    for block in re.split(r"\n\n(?=UUID: )", manage.run("list", "hdds")):
        values = parse.fields(block)
        location = Path(values.get("Location", ""))
        if location.is_relative_to(folder) and (all_of_them or not location.exists()):
            with contextlib.suppress(NotFoundError):
                manage.run("closemedium", "disk", values["UUID"])


def create(manage: VBoxManage, path: Path, size: int) -> Medium:
    """Make an empty dynamic VDI of ``size`` bytes (whole MiB), after forgetting a gone one there.

    Raises:
        FileFailedError: a file is there already, or cannot be made.
    """
    if path.exists():
        raise FileFailedError(f"{path} exists already", code="VBOX_E_FILE_ERROR")
    forget(manage, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        manage.run(
            "createmedium", "disk", "--filename", str(path), "--size", str(-(-size // MIB)),
            "--format", "VDI", timeout=None,
        )  # fmt: skip
    except InvalidValueError:
        path.unlink(missing_ok=True)  # VirtualBox leaves a file that it did not register
        raise
    return inspect(manage, path)


def ensure(manage: VBoxManage, path: Path, size: int) -> Medium:
    """Have a disk image of at least ``size`` bytes: made, or grown, never shrunk."""
    found = find_registered(manage, path)
    if found and not found.usable:
        forget(manage, path)
    if not path.exists():
        return create(manage, path, size)
    medium = inspect(manage, path)
    if medium.capacity < size:
        resize(manage, path, size)
        medium = inspect(manage, path)
    return medium


def clone(
    manage: VBoxManage, source: Path, target: Path, *, on_progress: Progress | None = None
) -> Medium:
    """Copy a disk image to a dynamic VDI with an identity of its own.

    Interrupted, nothing is left; the source is not left registered where it was not.

    Raises:
        FileFailedError: the source cannot be read, or the target exists.
    """
    if target.exists():
        raise FileFailedError(f"{target} exists already", code="VBOX_E_FILE_ERROR")
    forget(manage, target)
    known = find_registered(manage, source)
    if known and not known.usable:
        forget(manage, source)
        known = None
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        manage.run(
            "clonemedium", "disk", str(source), str(target), "--format", "VDI",
            timeout=None, on_progress=on_progress,
        )  # fmt: skip
    except BaseException:
        forget(manage, target)
        target.unlink(missing_ok=True)
        raise
    finally:
        if known is None:
            forget(manage, source)
    return inspect(manage, target)


def derive(manage: VBoxManage, base: Path, target: Path) -> None:
    """Make a differencing image: it takes all writes, and ``base`` is never changed again.

    Any number may be based on one. Where the machine starts, the image keeps what it has, see
    `reset_at_start`.
    """
    manage.run("modifymedium", "disk", str(base), "--type", "immutable")
    manage.run("createmedium", "disk", "--filename", str(target), "--diffparent", str(base))
    reset_at_start(manage, target, wanted=False)


def reset_at_start(manage: VBoxManage, image: Path, *, wanted: bool) -> None:
    """Have a differencing image emptied, or not, whenever its machine is powered on."""
    manage.run("modifymedium", "disk", str(image), "--autoreset", "on" if wanted else "off")


def attach(manage: VBoxManage, machine: Machine, controller: str, port: int, medium: Path) -> None:
    """Put a disk into a slot, as a solid-state disk that takes discard. Idempotent."""
    for attached in machine.attachments:
        if (attached.controller, attached.port) == (controller, port):
            if attached.medium == medium:
                return
            break
    _slot(manage, machine.uuid, controller, (port, 0), str(medium), *_SOLID_STATE)


_SOLID_STATE = ("--nonrotational", "on", "--discard", "on")


def solid_state(manage: VBoxManage, machine: Machine, attached: Attachment) -> None:
    """Tell the guest that an attached disk is solid-state and takes discard. Idempotent."""
    key = f"{attached.controller}-discard-{attached.port}-{attached.device}"
    if machine.properties.get(key) != "on":
        slot = (attached.port, attached.device)
        _slot(manage, machine.uuid, attached.controller, slot, str(attached.medium), *_SOLID_STATE)


def detach(manage: VBoxManage, machine: Machine, controller: str, port: int) -> None:
    """Empty a slot. Idempotent."""
    with contextlib.suppress(NotFoundError):
        _slot(manage, machine.uuid, controller, (port, 0), "none")


def _slot(
    manage: VBoxManage, machine: str, controller: str, slot: tuple[int, int], *options: str
) -> None:
    manage.run(
        "storageattach", machine, "--storagectl", controller, "--port", str(slot[0]),
        "--device", str(slot[1]), "--type", "hdd", "--medium", *options,
    )  # fmt: skip


def forget(manage: VBoxManage, path: Path) -> None:
    """Take a file out of VirtualBox's registry, detached from every machine; the file stays.

    This is what mends a medium that was deleted or replaced behind VirtualBox's back.
    """
    medium = find_registered(manage, path)
    if medium is None:
        return
    for user in medium.users:
        for attached in show(manage, user).attachments:
            if attached.uuid == medium.uuid:
                slot = (attached.port, attached.device)
                _slot(manage, user, attached.controller, slot, "none")
    with contextlib.suppress(NotFoundError):
        manage.run("closemedium", "disk", medium.uuid)


def delete(manage: VBoxManage, path: Path) -> None:
    """Forget a disk image and delete its file. Idempotent."""
    forget(manage, path)
    path.unlink(missing_ok=True)


def resize(manage: VBoxManage, path: Path, size: int) -> None:
    """Grow a disk image to ``size`` bytes; VirtualBox cannot shrink one."""
    manage.run("modifymedium", "disk", str(path), "--resize", str(-(-size // MIB)), timeout=None)


def compact(manage: VBoxManage, path: Path, *, on_progress: Progress | None = None) -> None:
    """Give the room of zeroed blocks back to the host."""
    manage.run(
        "modifymedium", "disk", str(path), "--compact", timeout=None, on_progress=on_progress
    )
