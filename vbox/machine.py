"""Virtual machines: find, make, own, start, stop, delete."""

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from vbox import extradata, parse
from vbox.errors import (
    AwayError,
    FileFailedError,
    NotFoundError,
    NotOursError,
    VBoxError,
    WrongStateError,
)
from vbox.runner import VBoxManage

OWNER_KEY = "appliance/id"
POLL_SECONDS = 0.1
INACCESSIBLE = "<inaccessible>"

OFF = frozenset({"poweroff", "aborted", "saved", "aborted-saved"})
RUNNING = frozenset({"running", "paused", "stuck", "starting", "restoring"})


@dataclass(frozen=True)
class Attachment:
    """A medium in a controller's slot.

    Args:
        controller: the controller's name.
        port: its port.
        device: the device on that port, always 0 on SATA.
        medium: the medium's file; a snapshot's differencing file where there are snapshots.
        uuid: the medium's UUID.
    """

    controller: str
    port: int
    device: int
    medium: Path
    uuid: str


@dataclass(frozen=True)
class Machine:
    """A registered machine as it was when we looked.

    Args:
        uuid: its identity; names may come twice.
        name: its name.
        state: VirtualBox's word: poweroff, running, saved, aborted, ...
        settings: its .vbox file.
        listing: all that ``showvminfo --machinereadable`` said, in order.
    """

    uuid: str
    name: str
    state: str
    settings: Path
    listing: tuple[tuple[str, str], ...] = field(repr=False)

    @cached_property
    def properties(self) -> Mapping[str, str]:
        """The listing by key."""
        return dict(self.listing)

    @property
    def log(self) -> Path:
        """VBox.log of the current or last run."""
        return Path(self.properties["LogFldr"]) / "VBox.log"

    @property
    def running(self) -> bool:
        """It uses its disks."""
        return self.state in RUNNING

    @property
    def off(self) -> bool:
        """Its disks are free."""
        return self.state in OFF

    @property
    def saved(self) -> bool:
        """It is off in mid-work."""
        return self.state in {"saved", "aborted-saved"}

    @property
    def has_snapshots(self) -> bool:
        """Snapshots hold on to its disks."""
        return "CurrentSnapshotUUID" in self.properties

    @property
    def disks(self) -> Mapping[int, Path]:
        """The medium at each port."""
        return {each.port: each.medium for each in self.attachments}

    @property
    def controllers(self) -> tuple[str, ...]:
        """Names of the storage controllers."""
        return tuple(v for k, v in self.listing if k.startswith("storagecontrollername"))

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The media in the slots, in the order of controllers and ports."""
        found = []
        for controller in self.controllers:
            for key, value in self.listing:
                slot = key.removeprefix(f"{controller}-ImageUUID-")
                if slot != key:
                    port, device = (int(part) for part in slot.split("-"))
                    medium = Path(self.properties[f"{controller}-{port}-{device}"])
                    found.append(Attachment(controller, port, device, medium, value))
        return tuple(found)


def show(manage: VBoxManage, name: str) -> Machine:
    """Look at one machine, by name or UUID.

    Raises:
        NotFoundError: there is none.
        FileFailedError: it is registered, but its settings file is gone or broken.
    """
    listing = tuple(parse.pairs(manage.run("showvminfo", name, "--machinereadable")))
    values = dict(listing)
    if "UUID" not in values or values.get("name") == INACCESSIBLE:
        raise FileFailedError(
            f"the machine {name!r} is registered, but its settings file cannot be read",
            hint=f"VBoxManage unregistervm {name}",
        )
    return Machine(
        values["UUID"], values["name"], values["VMState"], Path(values["CfgFile"]), listing
    )


Listing = Sequence[tuple[str, str]]  # name and identity of each machine


def listing(manage: VBoxManage) -> Listing:
    """All machines that are registered."""
    return parse.machines(manage.run("list", "vms"))


def find(manage: VBoxManage, name: str, listed: Listing | None = None) -> tuple[Machine, ...]:
    """Find all machines of exactly this name; VirtualBox does not keep names unique.

    Args:
        manage: the VirtualBox.
        name: the machines' name.
        listed: who is registered, where that was asked just now.
    """
    found = []
    for called, uuid in listing(manage) if listed is None else listed:
        if called == name:
            with contextlib.suppress(NotFoundError):  # deleted meanwhile
                found.append(show(manage, uuid))
    return tuple(found)


def refuse_away(manage: VBoxManage, folder: Path) -> Listing:
    """Make sure that no machine of a folder is registered whose settings file is not there.

    VirtualBox calls such a machine ``<inaccessible>``, whatever its name was: made anew, it would
    lie below the mount point of the disk that has it, and hide when that comes back.

    Args:
        manage: the VirtualBox.
        folder: the directory in which our machines are.

    Returns:
        Who is registered.

    Raises:
        AwayError: one is.
    """
    listed = listing(manage)
    if INACCESSIBLE not in dict(listed):
        return listed
    # `showvminfo` fails for such a machine; the long list has its few lines.
    for block in re.split(r"\n(?=Name: )", manage.run("list", "vms", "--long")):
        told = parse.fields(block)
        settings = Path(told.get("Config file", ""))
        if "inaccessible" in told.get("Name", "") and settings.is_relative_to(folder):
            raise AwayError(
                f"the VM is registered, but its settings file is not there: {settings}",
                settings=settings,
                uuid=told["UUID"],
                hint="mount the disk or share that has it, and try again; if it is gone for good:"
                f" VBoxManage unregistervm {told['UUID']}",
            )
    return listed


def owner(manage: VBoxManage, machine: Machine) -> str | None:
    """Who made this machine: the mark that `create` left, None for a machine of another's."""
    return extradata.read(manage, machine.uuid).get(OWNER_KEY)


def find_owned(
    manage: VBoxManage,
    name: str,
    mark: str,
    *,
    having: str = OWNER_KEY,
    listed: Listing | None = None,
) -> Machine | None:
    """Find our machine of this name; None when nobody has the name.

    Args:
        manage: the VirtualBox.
        name: the machine's name.
        mark: who we are; a machine is ours when it carries this mark.
        having: a key of its extra data; ours without it counts as None.
        listed: as for `find`.

    Raises:
        NotOursError: the name belongs to a machine that is not ours.
    """
    found = find(manage, name, listed)
    for machine in found:
        data = extradata.read(manage, machine.uuid)
        if data.get(OWNER_KEY) == mark:
            return machine if having in data else None
    if found:
        raise NotOursError(
            f"a VM named {name!r} exists that this appliance did not make ({found[0].settings})",
            hint="give the appliance another name in appliance.yml, or rename that VM",
        )
    return None


def create(
    manage: VBoxManage,
    name: str,
    mark: str,
    *,
    folder: Path,
    ostype: str = "Debian_64",
    platform: str = "x86",
) -> Machine:
    """Register a new machine and mark it ours; interrupted, it leaves nothing.

    Args:
        manage: the VirtualBox.
        name: its name.
        mark: our mark.
        folder: the directory in which VirtualBox makes the machine's own.
        ostype: VirtualBox's guest type.
        platform: the guest's processor, x86 or arm; VirtualBox before 7.1 knows no other than x86.

    Raises:
        NotOursError: the name or its settings file is taken by another.
    """
    listed = listing(manage)
    if find(manage, name, listed):
        find_owned(manage, name, mark)
        raise VBoxError(f"the VM {name!r} exists already")
    folder.mkdir(parents=True, exist_ok=True)
    before = {uuid for _, uuid in listed}
    try:
        manage.run(
            "createvm", "--name", name, "--ostype", ostype,
            "--basefolder", str(folder), "--register",
            *(() if platform == "x86" else ("--platform-architecture", platform)),
        )  # fmt: skip
        machine = next(m for m in find(manage, name) if m.uuid not in before)
        extradata.write(manage, machine.uuid, OWNER_KEY, mark)
    except FileFailedError as error:
        raise NotOursError(
            f"the settings of another VM are in the way: {error}",
            hint=f"move what is in {folder} elsewhere",
        ) from error
    except BaseException:
        for machine in find(manage, name):
            if machine.uuid not in before and machine.settings.is_relative_to(folder):
                manage.run("unregistervm", machine.uuid, "--delete")
        raise
    return machine


def reclaim(manage: VBoxManage, name: str, mark: str, *, folder: Path) -> None:
    """Take over what a `create` that was killed left: it has no mark and no controller yet."""
    for machine in find(manage, name):
        ours = machine.settings.is_relative_to(folder) and not machine.controllers
        if ours and owner(manage, machine) is None:
            extradata.write(manage, machine.uuid, OWNER_KEY, mark)


def ensure(manage: VBoxManage, name: str, mark: str, *, folder: Path, **kind: str) -> Machine:
    """Return our machine of this name, made if there is none.

    A machine without a mark in our own ``folder`` that has no controller yet was left by a
    `create` that was killed; it is taken over.

    Args:
        manage: the VirtualBox.
        name: its name.
        mark: our mark.
        folder: as for `create`.
        kind: what else `create` takes.

    Raises:
        NotOursError: the name is taken by another's machine.
    """
    reclaim(manage, name, mark, folder=folder)
    return find_owned(manage, name, mark) or create(manage, name, mark, folder=folder, **kind)


def modify(manage: VBoxManage, machine: Machine, **options: str | int | bool) -> None:
    """Change settings of a machine that is off: ``memory=2048`` becomes ``--memory 2048``.

    Args:
        manage: the VirtualBox.
        machine: which.
        options: modifyvm's own names with ``_`` for ``-``; a bool becomes on or off.

    Raises:
        CommandError: an option that this VirtualBox does not know.
        LockedError: the machine runs.
        WrongStateError: its state is saved, see `discard_state`.
    """
    arguments = []
    for option, value in options.items():
        text = ("on" if value else "off") if isinstance(value, bool) else str(value)
        arguments += [f"--{option.replace('_', '-')}", text]
    manage.run("modifyvm", machine.uuid, *arguments)


def ensure_controller(
    manage: VBoxManage, machine: Machine, name: str, *, kind: str = "sata", ports: int = 4
) -> None:
    """Have a storage controller of this name; a SATA one is an AHCI, which every guest knows."""
    if name in machine.controllers:
        return
    chip = ["--controller", "IntelAhci", "--portcount", str(ports)] if kind == "sata" else []
    manage.run("storagectl", machine.uuid, "--name", name, "--add", kind, *chip, "--bootable", "on")


def start(manage: VBoxManage, machine: Machine, *, timeout: float = 180) -> Machine:
    """Power on without a window and return the running machine.

    Raises:
        VBoxError: VirtualBox could not start it; without a driver the hint says so.
    """
    try:
        manage.run("startvm", machine.uuid, "--type", "headless", timeout=timeout)
    except WrongStateError:
        raise
    except VBoxError as error:
        raise type(error)(
            f"{error}{_log_tail(machine)}", code=error.code, hint=error.hint or _START_HINT
        ) from error
    return show(manage, machine.uuid)


_START_HINT = (
    "is the VirtualBox driver loaded? sudo /sbin/vboxconfig, or sudo modprobe vboxdrv;"
    " `appliance doctor` says more"
)


def _log_tail(machine: Machine) -> str:
    """Why the machine did not start: the errors in its log."""
    try:
        lines = machine.log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    errors = [line.partition(" ")[2] for line in lines if "VERR_" in line or "rror:" in line]
    return ": " + "; ".join(errors[-2:]) if errors else ""


def stop(manage: VBoxManage, machine: Machine, *, grace: float = 90) -> None:
    """Press the power button; cut the power after ``grace`` seconds. Idempotent."""
    uuid = machine.uuid
    state = show(manage, uuid).state
    if state == "running" and grace > 0:
        with contextlib.suppress(VBoxError):  # a guest without ACPI yet
            manage.run("controlvm", uuid, "acpipowerbutton")
            if wait_for(manage, machine, OFF, timeout=grace):
                return
    power_off(manage, machine)


def power_off(manage: VBoxManage, machine: Machine) -> None:
    """Cut the power of a machine, if it has any, and wait until VirtualBox has let go of it."""
    if show(manage, machine.uuid).state not in OFF:
        with contextlib.suppress(VBoxError):  # it may have gone off by itself meanwhile
            manage.run("controlvm", machine.uuid, "poweroff")
        if not wait_for(manage, machine, OFF, timeout=30):
            raise WrongStateError(
                f"the VM {machine.name!r} did not go off",
                hint=f"VBoxManage startvm {machine.uuid} --type emergencystop",
            )


def save_state(manage: VBoxManage, machine: Machine) -> None:
    """Freeze a running machine to disk; nothing of it can be changed until it runs again."""
    manage.run("controlvm", machine.uuid, "savestate", timeout=None)


def discard_state(manage: VBoxManage, machine: Machine) -> None:
    """Forget a saved state, as if the power had been cut; nothing to do for another state."""
    if show(manage, machine.uuid).state in {"saved", "aborted-saved"}:
        manage.run("discardstate", machine.uuid)


def wait_for(
    manage: VBoxManage, machine: Machine, states: frozenset[str], *, timeout: float
) -> bool:
    """Wait until the machine is in one of ``states`` and nobody's session; False: not in time."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            seen = show(manage, machine.uuid)
        except NotFoundError:
            raise
        except VBoxError:  # while a session ends, neither it nor the machine may answer
            if time.monotonic() > deadline:
                raise
        else:
            if seen.state in states and not (states <= OFF and seen.properties.get("SessionName")):
                return True
            if time.monotonic() > deadline:
                return False
        time.sleep(POLL_SECONDS)


def delete(manage: VBoxManage, machine: Machine) -> None:
    """Unregister a machine and delete its settings, snapshots, logs and attached media.

    It is powered off before; a medium that is gone behind VirtualBox's back does not hinder.
    """
    power_off(manage, machine)
    discard_state(manage, machine)
    try:
        manage.run("unregistervm", machine.uuid, "--delete", timeout=None)
    except (NotFoundError, FileFailedError):
        with contextlib.suppress(NotFoundError):
            manage.run("unregistervm", machine.uuid)
