"""VirtualBox as a `Hypervisor`; what its methods promise stands there."""

import contextlib
import platform
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import vbox
from provision import locks
from provision.config.architectures import ARCHITECTURES, Architecture, require_host
from provision.config.distributions import DISTRIBUTIONS
from provision.errors import ApplianceError, HostNotReadyError, HypervisorError
from provision.jeos.disk import convert
from provision.machine import SSH, SshEndpoint
from provision.machine.hypervisor import (
    BOOT_SECONDS,
    PUBLISHED,
    SHUTDOWN_SECONDS,
    Fallback,
    Found,
    Running,
)
from provision.ova import inspection
from provision.progress import advance, note, step
from vbox import VBoxManage, appliance, extradata, machine, medium, nat, parse, ports, snapshot
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
from vbox.snapshot import Snapshot

if TYPE_CHECKING:
    from provision.config import Config

ALIVE_SECONDS = 1.0
CONTROLLER = "SATA"
MIB = 1 << 20
COMPLETE_KEY = "appliance/complete"
CONSOLE = "console.log"
EVERYWHERE = ""
# VirtualBox puts this text into the machine's SMBIOS tables, as a string of type 11, where systemd
# finds credentials (systemd.system-credentials(7)).
CREDENTIAL_KEY = "VBoxInternal/Devices/pcbios/0/Config/DmiOEMVBoxVer"
# What a platform has of its own. ARM's machines have no PS/2.
_PARTS: Mapping[str, Mapping[str, str | bool]] = {
    "x86": {"ioapic": True, "mouse": "ps2", "usb_xhci": False},
    "arm": {"mouse": "usbtablet", "keyboard": "usb", "usb_xhci": True},
}
INSTALL_HINT = "install VirtualBox: https://www.virtualbox.org/wiki/Linux_Downloads"


def mark(name: str) -> str:
    """What tells our VM from one of the same name that somebody else made."""
    return f"classroom-appliance:{name}"


@contextlib.contextmanager
def translating() -> Iterator[None]:
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


def find_virtualbox() -> VBoxManage:
    """Find VirtualBox.

    Raises:
        HostNotReadyError: there is none.
    """
    with translating():
        return vbox.find()


def manage() -> VBoxManage:
    """Find VirtualBox, or fetch one from Debian and say so.

    Raises:
        HostNotReadyError: there is none and this host cannot fetch one.
    """
    with translating():
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
class VirtualBox:
    """The VirtualBox of this host.

    Args:
        manage: its command.
    """

    manage: VBoxManage

    def machine(self, config: "Config", folder: Path, key: Path) -> "VirtualBoxMachine":
        return VirtualBoxMachine(config, self.manage, folder, key)

    def notes(self, name: str) -> Mapping[str, str]:
        try:
            data = extradata.read(self.manage, name)
        except VBoxError:
            return {}
        whole = data.get(machine.OWNER_KEY) == mark(name) and COMPLETE_KEY in data
        return data if whole else {}

    def running(self) -> Iterator[Running]:
        with translating():
            for _, uuid_ in parse.machines(self.manage.run("list", "runningvms")):
                looked = machine.show(self.manage, uuid_)
                if (machine.owner(self.manage, looked) or "").startswith(mark("")):
                    forwards = {
                        each.guest_port: each.host_port for each in nat.read_forwards(looked)
                    }
                    yield Running(uuid_, looked.name, forwards)

    def fallback(self, uuid: str) -> Fallback | None:
        from provision.machine import fallback  # noqa: PLC0415 (few need it)

        with translating():
            pulled = PUBLISHED in extradata.read(self.manage, uuid)
        return None if pulled else fallback.VirtualBoxFallback(self.manage, uuid)


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
    def hypervisor(self) -> VirtualBox:
        return VirtualBox(self.manage)

    @property
    def mark(self) -> str:
        """What tells our VM from one of the same name that somebody else made."""
        return mark(self.config.name)

    @property
    def console(self) -> Path:
        return self.folder / CONSOLE

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def find(self) -> Machine | None:
        wanted = self.manage, self.config.name, self.mark
        with translating():
            listed = machine.refuse_away(self.manage, self._machines)
            try:
                return machine.find_owned(*wanted, having=COMPLETE_KEY, listed=listed)
            except NotOursError:  # or ours, killed before it could be marked
                machine.reclaim(*wanted, folder=self._machines)
                return machine.find_owned(*wanted, having=COMPLETE_KEY)

    def get(self) -> Machine:
        if found := self.find():
            return found
        raise HypervisorError(
            f"there is no VM {self.config.name!r} in VirtualBox",
            hint="`appliance build` makes its OVA, `appliance import FILE.ova` brings it here",
        )

    def define(self, disks: Sequence[Path]) -> Machine:
        def copy(made: Found) -> None:
            for port, source in enumerate(disks):
                target = made.settings.parent / f"{source.stem}.vdi"
                with step(f"copy {source.name}"):
                    self.copy(source, target)
                self.attach(made, port, target)

        return self.make(copy, ports=len(disks))

    def make(self, attach: Callable[[Found], None], *, ports: int) -> Machine:
        with self._making():
            made = machine.ensure(
                self.manage,
                self.config.name,
                self.mark,
                folder=self._machines,
                ostype=DISTRIBUTIONS[self.config.distribution].ostype(self.config.architecture),
                platform=self._architecture.platform,
            )
            machine.ensure_controller(self.manage, made, CONTROLLER, ports=ports)
            attach(made)
            self.settle(made)
        return self.get()

    def bring(self, ova: Path, *, accept_licence: bool = False) -> Machine:
        if envelope := inspection.envelope(ova):
            for system in envelope.systems:
                require_host(system.architecture, ova.name)
        with self._making(), step(f"import {ova.name}"):
            made = appliance.bring(
                self.manage, ova, self.config.name, self.mark, folder=self._machines,
                accept_licence=accept_licence,
                on_progress=lambda percent: advance(percent, 100),
            )  # fmt: skip
            self.settle(made)
        return self.get()

    def start(self, *, timeout: float = BOOT_SECONDS) -> SshEndpoint:
        from provision.machine.ssh import wait_for_ssh  # noqa: PLC0415 (no need where disks change)

        self.power_on()
        endpoint = self.endpoint()
        with step(f"wait for {self.config.name} on port {endpoint.port}"):
            wait_for_ssh(endpoint, timeout=timeout, alive=self._alive())
        return endpoint

    def power_on(self) -> Machine:
        found = self.get()
        if found.running:
            return found
        with translating(), self._locking_ports(), step(f"start {self.config.name}"):
            if found.saved:  # frozen with the ports it had
                nat.check(nat.read_forwards(found))
                return self._start(found)
            for attempt in (1, 2):
                nat.ensure(self.manage, found, self._free_forwards())
                with contextlib.suppress(FileNotFoundError):
                    self.console.unlink()
                running = self._start(found)
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
        if found := self.find():
            with translating(), step(f"stop {self.config.name}"):
                machine.stop(self.manage, found, grace=grace)

    def save(self) -> None:
        with translating(), step(f"save {self.config.name}"):
            machine.save_state(self.manage, self.get())

    def destroy(self) -> bool:
        with translating():
            listed = machine.refuse_away(self.manage, self._machines)
            found = machine.find_owned(self.manage, self.config.name, self.mark, listed=listed)
            if found:
                with step(f"destroy {self.config.name}"):
                    machine.delete(self.manage, found)
        for file in (self.console, self.known_hosts):
            file.unlink(missing_ok=True)
        return found is not None

    def forwards(self) -> tuple[Forward, ...]:
        return nat.read_forwards(self.get())

    def host_port(self, guest_port: int) -> int:
        for forward in self.forwards():
            if forward.guest_port == guest_port and forward.protocol == "tcp":
                return forward.host_port
        raise HypervisorError(
            f"no port of this host leads to port {guest_port} of {self.config.name!r}",
            hint="name one under network.forwards in appliance.yml",
        )

    def endpoint(self) -> SshEndpoint:
        return SshEndpoint(
            nat.LOOPBACK, self.host_port(SSH), self.config.admin.user, self.key, self.known_hosts
        )

    @property
    def _machines(self) -> Path:
        return self.folder / "machines"

    @property
    def _architecture(self) -> Architecture:
        return ARCHITECTURES[self.config.architecture]

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
        with translating():
            try:
                yield
            except BaseException:
                with contextlib.suppress(VBoxError, ApplianceError):
                    self.destroy()
                raise

    @translating()
    def copy(self, source: Path, target: Path) -> None:
        with source.open("rb") as file:
            head = file.read(68)
        known = head.startswith(b"KDMV") or head[64:68] == b"\x7f\x10\xda\xbe"
        if known:
            medium.clone(
                self.manage, source, target, on_progress=lambda percent: advance(percent, 100)
            )
        else:  # VirtualBox reads all of a sparse raw image: a minute for 12 GiB, qemu-img 1.5 s
            convert(source, target, "vdi", identity=uuid.uuid4())

    @translating()
    def settle(self, made: Found) -> None:
        # The network card is virtio: every Linux kernel has its driver, and the cloud kernels
        # have no other that VirtualBox offers. The last key says that the VM is complete.
        config, now = self.config, machine.show(self.manage, made.uuid)
        machine.modify(
            self.manage,
            now,
            description=f"{config.name} {config.version}, made by `appliance`",
            memory=config.memory // MIB,
            cpus=config.cpus,
            firmware=self._architecture.boot,
            rtc_use_utc=True,
            graphicscontroller="vmsvga",
            vram=16,
            audio_enabled=False,
            usb_ohci=False,
            usb_ehci=False,
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
            **_PARTS[self._architecture.platform],
        )
        self.manage.run(
            "modifyvm", now.uuid, "--uart1", "0x3f8", "4",
            "--uartmode1", "file", str(self.console),
        )  # fmt: skip
        for attached in now.attachments:  # an import knows nothing of discard
            medium.solid_state(self.manage, now, attached)
        nat.ensure(self.manage, now, self._wanted_forwards())
        extradata.write(self.manage, now.uuid, COMPLETE_KEY, config.version)

    @translating()
    def identify(self, made: Found, mac: str, credential: tuple[str, str]) -> None:
        self.manage.run("modifyvm", made.uuid, "--macaddress1", mac)
        if self._architecture.boot == "efi":  # that firmware of VirtualBox takes no such text
            return
        text = "io.systemd.credential:{}={}".format(*credential)
        extradata.write(self.manage, made.uuid, CREDENTIAL_KEY, text)

    @translating()
    def notes(self, of: Found) -> Mapping[str, str]:
        return extradata.read(self.manage, of.uuid)

    @translating()
    def note(self, of: Found, key: str, text: str | None) -> None:
        extradata.write(self.manage, of.uuid, key, text)

    @translating()
    def attach(self, to: Found, port: int, image: Path) -> None:
        if to.disks.get(port) != image:
            medium.attach(self.manage, machine.show(self.manage, to.uuid), CONTROLLER, port, image)

    @translating()
    def derive(self, base: Path, target: Path) -> None:
        medium.derive(self.manage, base, target)

    @translating()
    def base_of(self, image: Path) -> Path:
        parent = medium.inspect(self.manage, image).parent
        return medium.inspect(self.manage, parent).location

    @translating()
    def reset_at_start(self, image: Path, *, wanted: bool) -> None:
        medium.reset_at_start(self.manage, image, wanted=wanted)

    @translating()
    def remove(self, image: Path) -> None:
        medium.delete(self.manage, image)

    @translating()
    def take(self, name: str, description: str) -> str:
        with step(f"take snapshot {name}"):
            return snapshot.take(self.manage, self.get(), name, description).uuid

    @translating()
    def snapshots(self) -> Sequence[Snapshot]:
        return snapshot.snapshots(self.manage, self.get())

    @translating()
    def restore(self, name: str) -> None:
        with step(f"restore snapshot {name}"):
            snapshot.restore(self.manage, self.get(), name)

    @translating()
    def drop(self, name: str) -> None:
        with step(f"delete snapshot {name}"):
            snapshot.delete(
                self.manage, self.get(), name, on_progress=lambda percent: advance(percent, 100)
            )

    def _wanted_forwards(self) -> tuple[Forward, ...]:
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
        wanted = self._wanted_forwards()
        if not self.config.network.auto:
            nat.check(wanted)
            return wanted
        corrected = _correct(wanted)
        for before, after in zip(wanted, corrected, strict=True):
            if before != after:
                holder = ports.holder(before.host_port)
                note(
                    f"port {before.host_port} is held by {holder}:"
                    f" {before.name} is on port {after.host_port}"
                )
        return corrected

    def _start(self, found: Machine) -> Machine:
        try:
            return machine.start(self.manage, found)
        except VBoxError as error:
            if vbox.portable.find_fetched() == self.manage:
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
            with translating():
                state = machine.show(self.manage, uuid_).state
            if state not in machine.RUNNING:
                raise HypervisorError(
                    f"the VM {self.config.name!r} went {state} while it booted",
                    hint="`appliance logs` shows its console, `appliance logs --vbox` the VM's log",
                )

        return check

    @contextlib.contextmanager
    def _locking_ports(self) -> Iterator[None]:
        """Have no other start of ours take a port between our check and VirtualBox's bind."""
        with locks.holding(self.folder.parent / "ports.lock", wait=True):
            yield


def _correct(wanted: tuple[Forward, ...]) -> tuple[Forward, ...]:
    """Free ports; a browser finds the sessions' by the notebook's, so that these move together."""
    while True:
        found = nat.correct(wanted)
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
