"""The appliance in VirtualBox: define it from disks or an OVA, start, stop, reach it."""

import contextlib
import platform
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import vbox
from provision import locks
from provision.config.distributions import DISTRIBUTIONS
from provision.errors import ApplianceError, HostNotReadyError, HypervisorError
from provision.jeos.disk import convert
from provision.machine import SSH, SshEndpoint
from provision.progress import advance, note, step
from vbox import VBoxManage, appliance, extradata, machine, medium, nat, ports
from vbox.errors import (
    LicenceError,
    NoRoomError,
    NotInstalledError,
    NotOursError,
    PortTakenError,
    VBoxError,
)
from vbox.machine import Machine
from vbox.nat import Forward

if TYPE_CHECKING:
    from provision.config import Config

BOOT_SECONDS = 300.0
SHUTDOWN_SECONDS = 90.0
ALIVE_SECONDS = 1.0
CONTROLLER = "SATA"
MIB = 1 << 20
COMPLETE_KEY = "appliance/complete"
PUBLISHED = "appliance/published"  # of a VM that was pulled: what `provision.distribution` brought
ROOT_PORT = 0
CONSOLE = "console.log"
EVERYWHERE = ""
INSTALL_HINT = "install VirtualBox: https://www.virtualbox.org/wiki/Linux_Downloads"


def mark(name: str) -> str:
    """What tells our VM from one of the same name that somebody else made."""
    return f"classroom-appliance:{name}"


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn VirtualBox's failures into the appliance's, with their exit codes."""
    try:
        yield
    except (NotInstalledError, PortTakenError) as error:
        raise HostNotReadyError(str(error), hint=error.hint or None) from error
    except NoRoomError as error:
        hint = (
            "free some room there, or set XDG_DATA_HOME to a larger disk; nothing half-made stays"
        )
        raise HostNotReadyError(f"the disk is full: {error}", hint=hint) from error
    except LicenceError as error:
        hint = f"{error.hint}; then: appliance import --accept-licence FILE.ova"
        raise HypervisorError(str(error), hint=hint) from error
    except VBoxError as error:
        raise HypervisorError(str(error), hint=error.hint or None) from error


def refuse_snapshots(vm: Machine) -> None:
    """Make sure that no snapshot holds on to a VM's disks.

    Raises:
        HypervisorError: one does.
    """
    if "CurrentSnapshotUUID" in vm.properties:
        raise HypervisorError(
            f"the VM {vm.name!r} has snapshots, which hold on to its disks",
            hint="`appliance snapshot list`, then `appliance snapshot delete NAME`",
        )


def found() -> VBoxManage:
    """Find VirtualBox.

    Raises:
        HostNotReadyError: there is none.
    """
    with translated():
        return vbox.find()


def manage() -> VBoxManage:
    """Find VirtualBox, or fetch one from Debian and say so.

    Raises:
        HostNotReadyError: there is none and this host cannot fetch one.
    """
    with translated():
        try:
            return vbox.find()
        except NotInstalledError:
            if platform.system() != "Linux":
                raise
            with step("fetch VirtualBox from Debian"):
                fetched = vbox.portable.fetch(on_progress=lambda percent: advance(percent, 100))
            note(
                f"VirtualBox is not installed; using Debian's, unpacked in {fetched.path.parent}:"
                " it makes, imports and exports VMs but has no driver to start them"
            )
            return fetched


@dataclass(frozen=True)
class VirtualBoxMachine:
    """The appliance of one configuration as a VM of VirtualBox.

    Args:
        config: the appliance.
        manage: the VirtualBox that has it.
        folder: directory for the VM, its console log and its pinned host key; ours alone.
        key: private key of the admin.
    """

    config: "Config"
    manage: VBoxManage
    folder: Path
    key: Path

    @property
    def mark(self) -> str:
        """What tells our VM from one of the same name that somebody else made."""
        return mark(self.config.name)

    @property
    def console(self) -> Path:
        """The file that takes the guest's serial console."""
        return self.folder / CONSOLE

    @property
    def known_hosts(self) -> Path:
        """The guest's pinned host key."""
        return self.folder / "known_hosts"

    def find(self) -> Machine | None:
        """The VM, or None when it is not defined; one that was left half-made counts as None.

        Raises:
            HypervisorError: the name belongs to a VM that is not ours, or ours is on a disk that
                is not there.
        """
        wanted = self.manage, self.config.name, self.mark
        with translated():
            machine.refuse_away(self.manage, self._machines)
            try:
                return machine.owned(*wanted, having=COMPLETE_KEY)
            except NotOursError:  # or ours, killed before it could be marked
                machine.reclaim(*wanted, folder=self._machines)
                return machine.owned(*wanted, having=COMPLETE_KEY)

    def get(self) -> Machine:
        """The VM.

        Raises:
            HypervisorError: it is not defined, or the name is another's.
        """
        if found := self.find():
            return found
        raise HypervisorError(
            f"there is no VM {self.config.name!r} in VirtualBox",
            hint="`appliance build` makes its OVA, `appliance import FILE.ova` brings it here",
        )

    def define(self, disks: Sequence[Path]) -> Machine:
        """Make the VM from copies of disk images: raw, VDI or VMDK, the root disk first.

        Interrupted, the next call begins anew; the images are never changed.

        Raises:
            HypervisorError: the VM exists already, or the name belongs to another's.
        """

        def copy(made: Machine) -> None:
            for port, source in enumerate(disks):
                target = made.settings.parent / f"{source.stem}.vdi"
                with step(f"copy {source.name}"):
                    self.copy(source, target)
                medium.attach(self.manage, made, CONTROLLER, port, target)

        return self.make(copy, ports=len(disks))

    def make(self, attach: Callable[[Machine], None], *, ports: int) -> Machine:
        """Make the VM around disks that ``attach`` puts into the slots of its controller.

        Args:
            attach: called once with the VM; killed in it, the next call begins anew.
            ports: how many slots there are.

        Raises:
            HypervisorError: the VM exists already, or the name belongs to another's.
        """
        with self._making():
            made = machine.ensure(
                self.manage, self.config.name, self.mark, folder=self._machines, ostype=self._ostype
            )
            machine.ensure_controller(self.manage, made, CONTROLLER, ports=ports)
            attach(made)
            self.settle(made)
        return self.get()

    def bring(self, ova: Path, *, accept_licence: bool = False) -> Machine:
        """Make the VM from an OVA. Interrupted, the next call begins anew.

        Args:
            ova: the file.
            accept_licence: agree to the licence that it may have.

        Raises:
            HypervisorError: the VM exists already, the name belongs to another's, or the file
                is no OVA of one machine that VirtualBox takes.
            HostNotReadyError: there is no room.
        """
        with self._making(), step(f"import {ova.name}"):
            made = appliance.bring(
                self.manage, ova, self.config.name, self.mark, folder=self._machines,
                accept_licence=accept_licence,
                on_progress=lambda percent: advance(percent, 100),
            )  # fmt: skip
            self.settle(made)
        return self.get()

    def start(self, *, timeout: float = BOOT_SECONDS) -> SshEndpoint:
        """Power on, if it is off, and wait until SSH lets us in.

        Raises:
            HypervisorError: not defined, or VirtualBox cannot start it.
            HostNotReadyError: a port is taken, and may not be corrected.
            GuestError: SSH does not answer in time, or refuses us.
        """
        from provision.machine.ssh import wait_for_ssh  # noqa: PLC0415 (no need where disks change)

        self.power_on()
        endpoint = self.endpoint()
        with step(f"wait for {self.config.name} on port {endpoint.port}"):
            wait_for_ssh(endpoint, timeout=timeout, alive=self._alive())
        return endpoint

    def power_on(self) -> Machine:
        """Power on, if it is off, with every forward checked before and after.

        Raises:
            HypervisorError, HostNotReadyError: as `start`.
        """
        found = self.get()
        if found.state in machine.RUNNING:
            return found
        with translated(), self._ports_locked(), step(f"start {self.config.name}"):
            if found.state in {"saved", "aborted-saved"}:  # frozen with the ports it had
                nat.check(nat.listed(found))
                return self._started(found)
            for attempt in (1, 2):
                nat.ensure(self.manage, found, self._free_forwards())
                with contextlib.suppress(FileNotFoundError):
                    self.console.unlink()
                running = self._started(found)
                try:
                    nat.verify(running)
                except PortTakenError as error:
                    machine.power_off(self.manage, running)
                    if attempt == 2 or not self.config.network.auto:
                        raise
                    note(f"{error}; once more")
                    found = self.get()
                else:
                    return running
            raise AssertionError("unreachable")

    def stop(self, *, grace: float = SHUTDOWN_SECONDS) -> None:
        """Press the power button; cut the power after ``grace`` seconds. Idempotent."""
        if found := self.find():
            with translated(), step(f"stop {self.config.name}"):
                machine.stop(self.manage, found, grace=grace)

    def save(self) -> None:
        """Freeze the running VM to disk; `start` wakes it up."""
        with translated(), step(f"save {self.config.name}"):
            machine.save_state(self.manage, self.get())

    def destroy(self) -> bool:
        """Delete the VM with its disks, snapshots and logs; False when there was none."""
        with translated():
            machine.refuse_away(self.manage, self._machines)
            found = machine.owned(self.manage, self.config.name, self.mark)
            if found:
                with step(f"destroy {self.config.name}"):
                    machine.delete(self.manage, found)
        for file in (self.console, self.known_hosts):
            file.unlink(missing_ok=True)
        return found is not None

    def forwards(self) -> tuple[Forward, ...]:
        """The forwards that the VM has now; a taken port may have been corrected."""
        return nat.listed(self.get())

    def forwarded(self, guest_port: int) -> int:
        """The loopback port of this host that reaches ``guest_port``.

        Raises:
            HypervisorError: no forward leads there.
        """
        for forward in self.forwards():
            if forward.guest_port == guest_port and forward.protocol == "tcp":
                return forward.host_port
        raise HypervisorError(
            f"no port of this host leads to port {guest_port} of {self.config.name!r}",
            hint="name one under network.forwards in appliance.yml",
        )

    def endpoint(self) -> SshEndpoint:
        """How to reach the admin in the guest."""
        return SshEndpoint(
            nat.LOOPBACK, self.forwarded(SSH), self.config.admin.user, self.key, self.known_hosts
        )

    @property
    def _machines(self) -> Path:
        return self.folder / "machines"

    @property
    def _ostype(self) -> str:
        return DISTRIBUTIONS[self.config.distribution].ostype

    @contextlib.contextmanager
    def _making(self) -> Iterator[None]:
        """Refuse a VM that is there, clear away a half-made one, and have none left on failure."""
        if self.find():
            raise HypervisorError(
                f"the VM {self.config.name!r} exists already",
                hint="`appliance up` starts it; `appliance destroy` deletes it with its disks and"
                " all that its users made",
            )
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.destroy()
        with translated():
            try:
                yield
            except BaseException:
                with contextlib.suppress(VBoxError, ApplianceError):
                    self.destroy()
                raise

    def copy(self, source: Path, target: Path) -> None:
        """Copy a disk image, raw, VDI or VMDK, to a VDI with an identity of its own."""
        with source.open("rb") as file:
            head = file.read(68)
        known = head.startswith(b"KDMV") or head[64:68] == b"\x7f\x10\xda\xbe"
        if known:
            medium.clone(
                self.manage, source, target, on_progress=lambda percent: advance(percent, 100)
            )
        else:  # VirtualBox reads all of a sparse raw image: a minute for 12 GiB, qemu-img 1.5 s
            convert(source, target, "vdi", identity=uuid.uuid4())

    def settle(self, made: Machine) -> None:
        """Give the VM its hardware; the last key says that it is complete.

        The network card is virtio: every Linux kernel has its driver, and the cloud kernels
        have no other that VirtualBox offers.
        """
        config = self.config
        machine.modify(
            self.manage,
            made,
            description=f"{config.name} {config.version}, made by `appliance`",
            memory=config.memory // MIB,
            cpus=config.cpus,
            firmware="bios",
            ioapic=True,
            rtc_use_utc=True,
            graphicscontroller="vmsvga",
            vram=16,
            mouse="ps2",
            audio_enabled=False,
            usb_ohci=False,
            usb_ehci=False,
            usb_xhci=False,
            vrde=False,
            clipboard_mode="disabled",
            draganddrop="disabled",
            nic1="nat",
            nictype1="virtio",
            nat_localhostreachable1=False,
            boot1="disk",
            boot2="none",
            boot3="none",
            boot4="none",
            bios_boot_menu="disabled",
            bios_logo_display_time=0,
        )
        self.manage.run(
            "modifyvm", made.uuid, "--uart1", "0x3f8", "4",
            "--uartmode1", "file", str(self.console),
        )  # fmt: skip
        now = machine.show(self.manage, made.uuid)
        for attached in now.attachments:  # an import knows nothing of discard
            medium.solid_state(self.manage, now, attached)
        nat.ensure(self.manage, now, self._wanted())
        extradata.write(self.manage, made.uuid, COMPLETE_KEY, config.version)

    def _wanted(self) -> tuple[Forward, ...]:
        return tuple(
            Forward(
                name,
                forward.host,
                forward.guest,
                host_ip=EVERYWHERE if forward.public else nat.LOOPBACK,
            )
            for name, forward in self.config.network.forwards.items()
        )

    def _free_forwards(self) -> tuple[Forward, ...]:
        wanted = self._wanted()
        if not self.config.network.auto:
            nat.check(wanted)
            return wanted
        corrected = _corrected(wanted)
        for before, after in zip(wanted, corrected, strict=True):
            if before != after:
                holder = ports.holder(before.host_port)
                note(
                    f"port {before.host_port} is held by {holder}:"
                    f" {before.name} is on port {after.host_port}"
                )
        return corrected

    def _started(self, found: Machine) -> Machine:
        try:
            return machine.start(self.manage, found)
        except VBoxError as error:
            if vbox.portable.fetched() == self.manage:
                error.hint = f"Debian's VirtualBox in the cache has no driver; {INSTALL_HINT}"
            raise

    def _alive(self) -> Callable[[], None]:
        """A check for `wait_for_ssh` that the VM still runs, made at most once a second."""
        uuid_, last = self.get().uuid, time.monotonic()

        def check() -> None:
            nonlocal last
            if time.monotonic() - last < ALIVE_SECONDS:
                return
            last = time.monotonic()
            with translated():
                state = machine.show(self.manage, uuid_).state
            if state not in machine.RUNNING:
                raise HypervisorError(
                    f"the VM {self.config.name!r} went {state} while it booted",
                    hint="`appliance logs` shows its console, `appliance logs --vbox` the VM's log",
                )

        return check

    @contextlib.contextmanager
    def _ports_locked(self) -> Iterator[None]:
        """Have no other start of ours take a port between our check and VirtualBox's bind."""
        with locks.held(self.folder.parent / "ports.lock", wait=True):
            yield


def _corrected(wanted: tuple[Forward, ...]) -> tuple[Forward, ...]:
    """Free ports; a browser finds the sessions' by the notebook's, so that these move together."""
    while True:
        found = nat.corrected(wanted)
        moved = {
            before.name: after.host_port - before.host_port
            for before, after in zip(wanted, found, strict=True)
            if before.name in ("notebook", "sessions")
        }
        if len(set(moved.values())) < 2:
            return found
        by = max(moved.values())
        wanted = tuple(
            replace(each, host_port=each.host_port + by) if each.name in moved else each
            for each in wanted
        )
