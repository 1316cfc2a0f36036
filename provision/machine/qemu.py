"""The runtime for everywhere: disks booted by QEMU, at full speed where KVM really works.

Without KVM the guest is emulated, about 20 times slower. QEMU ends with this process, even when
it is killed, and the given disks are never written unless that is asked for.
"""

import contextlib
import functools
import json
import re
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from provision import temporary
from provision.config.architectures import ARCHITECTURES, of_this_host
from provision.config.architectures import Name as ArchName
from provision.errors import HostNotReadyError, HypervisorError
from provision.machine import SSH, SshEndpoint, Stream, keys, kvm
from provision.machine.credentials import sign_in, smbios
from provision.machine.qmp import Monitor
from provision.machine.ssh import NoAnswerError, wait_for_ssh
from provision.process import require, run
from provision.progress import note

KVM_BOOT_SECONDS = 90
EMULATED_BOOT_SECONDS = 900
EMULATED_TRIES = 3
SHUTDOWN_SECONDS = 90
SAVED = "booted"  # the name of the saved state inside the overlays
STREAM = "stream"  # the name of its port in the guest
PANIC = b"Kernel panic - not syncing"

Accelerator = Literal["kvm", "tcg"]


class PanicError(HypervisorError):
    """The guest's kernel gave up, as its console tells."""


@dataclass(frozen=True)
class DirectBoot:
    """A kernel that QEMU starts itself, past BIOS and boot loader.

    Args:
        kernel: the Linux image.
        initrd: its initial RAM disk.
        command_line: the kernel's arguments, with ``root=``.
    """

    kernel: Path
    initrd: Path
    command_line: str


class QemuMachine:
    """A guest booted from disk images (raw, qcow2, VDI, VMDK) by the firmware of its architecture.

    Args:
        disks: images, in the order of their ports. They are only read: what the guest writes
            goes to overlays that are dropped with the machine.
        user: account to sign in as. Its key is made for this machine and passed to the guest's
            systemd at boot (see `provision.machine.credentials`).
        key: private key that the guest accepts already; nothing is passed to the guest then.
        write: let the guest write to the given disks.
        forwards: guest TCP port -> loopback port of this host, 0 for any free one; SSH is added.
        memory: bytes.
        cpus: virtual processors.
        bus: the disks' controller, SATA as in VirtualBox where the firmware has it, or virtio.
        boot: start this kernel instead of the disk's boot loader.
        arch: of the guest.
        seed: ISO image for the guest's CD drive, such as cloud-init's; with virtio, a disk.
        directory: where overlays, key and console log go; kept. By default a temporary one that
            goes with the machine.
        accelerator: forces one; by default KVM where it works, else emulation.
        streams: the guest has a `stream` to us, which is far faster than SSH when it is emulated.
    """

    def __init__(
        self,
        disks: Sequence[Path],
        *,
        user: str = "root",
        key: Path | None = None,
        write: bool = False,
        forwards: Mapping[int, int] | None = None,
        memory: int = 1 << 30,
        cpus: int = 2,
        bus: Literal["sata", "virtio"] = "sata",
        boot: DirectBoot | None = None,
        arch: ArchName = "amd64",
        seed: Path | None = None,
        directory: Path | None = None,
        accelerator: Accelerator | None = None,
        streams: bool = False,
    ) -> None:
        self._disks = tuple(disks)
        self._user = user
        self._key = key
        self._write = write
        self._wanted = {SSH: 0, **(forwards or {})}
        self._memory = memory
        self._cpus = cpus
        self._boot = boot
        self._arch = arch
        self._emulator = ARCHITECTURES[arch].emulator
        self._bus = bus if self._emulator.sata else "virtio"
        self._seed = seed
        self._kept = directory
        self._accelerator = accelerator
        self._streams = streams
        self._stream: socket.socket | None = None
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._monitor: Monitor | None = None
        self._forwards: dict[int, int] = {}
        self._told = 0  # bytes on the console before this start

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._write:
            self.stop()
        else:
            self.cut()

    @property
    def console(self) -> Path:
        """The file that takes the guest's serial console."""
        return self._place() / "console.log"

    @property
    def stream(self) -> Stream:
        """Where the guest writes, and we read."""
        if not self._streams or self._stream is None:
            raise HypervisorError("the machine has no stream, or is not running")
        return Stream(f"/dev/virtio-ports/{STREAM}", self._stream.fileno())

    def start(self) -> SshEndpoint:
        """Boot the guest: 10 s with KVM, 25-60 s emulated; 1 s where its state was saved.

        Must be called from the thread that outlives the guest: Linux ties QEMU's life to it.

        Returns:
            How to reach the account in the guest.

        Raises:
            HostNotReadyError: QEMU is not installed.
            HypervisorError: QEMU ended before SSH answered, or a forwarded port is taken.
            GuestError: SSH did not answer in time, or refused us.
        """
        accelerator = self._accelerator or ("kvm" if self._has_kvm() else "tcg")
        if accelerator == "kvm" and self._accelerator is None:
            try:
                return self._start("kvm")
            except (HypervisorError, NoAnswerError) as error:
                if "hostfwd" in str(error):
                    raise
                note(f"KVM does not run this guest, emulating it instead: {error}")
                kvm.remember(False)
                accelerator = "tcg"
        for _ in range(EMULATED_TRIES - 1):
            try:
                return self._start(accelerator)
            except PanicError as error:
                if accelerator == "kvm":
                    raise
                # Old emulators break a guest that patches its own code, once in many boots.
                note(f"the emulated guest is started again: {error}")
        return self._start(accelerator)

    def stop(self) -> None:
        """Shut the guest down by its power button; after 90 s, cut the power. Idempotent."""
        if self._process is not None and self._monitor is not None:
            with contextlib.suppress(HypervisorError, subprocess.TimeoutExpired):
                self._monitor.execute("system_powerdown")
                self._process.wait(SHUTDOWN_SECONDS)
        self.cut()

    def cut(self) -> None:
        """Cut the power; a temporary directory and its overlays go with it. Idempotent."""
        self._end()
        if self._directory is not None and self._kept is None:
            temporary.remove(self._directory)
        self._directory = None

    def host_port(self, guest_port: int) -> int:
        """The loopback port of this host that reaches ``guest_port``."""
        return self._forwards[guest_port]

    def save(self) -> None:
        """Keep the running guest's whole state in the overlays, for `restore` and `start`.

        Raises:
            HypervisorError: a disk is neither raw nor qcow2, whose state QEMU cannot save.
        """
        answer = self._running().console(f"savevm {SAVED}")
        if answer.strip():
            raise HypervisorError(f"QEMU cannot save the machine: {answer.strip()}")
        (self._place() / SAVED).touch()

    def restore(self) -> None:
        """Set the running guest back to its saved state, in about a second; its clock too."""
        answer = self._running().console(f"loadvm {SAVED}")
        if answer.strip():
            raise HypervisorError(f"QEMU cannot restore the machine: {answer.strip()}")

    def _start(self, accelerator: Accelerator) -> SshEndpoint:
        directory = self._place()
        saved = (directory / SAVED).exists()
        self._told = self.console.stat().st_size if self.console.exists() else 0
        key = self._key or directory / "key"
        if not key.exists():
            keys.generate(key, comment="verify")
        ours, theirs = socket.socketpair()
        self._stream, sending = socket.socketpair()
        with theirs, sending, (directory / "qemu.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(require("setpriv", "util-linux"), "--pdeathsig", "KILL"),
                    *self._argv(accelerator, saved, key, theirs.fileno(), sending.fileno()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[theirs.fileno(), sending.fileno()],
            )
        self._monitor = Monitor(ours)
        try:
            try:
                self._monitor.negotiate()
                self._forwards = _forwards(self._monitor.console("info usernet"))
            except HypervisorError:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(5)
                self._check_alive()
                raise
            endpoint = SshEndpoint(
                host="127.0.0.1",
                port=self._forwards[SSH],
                user=self._user,
                key=key,
                known_hosts=directory / f"known_hosts-{self._forwards[SSH]}",
            )
            seconds = KVM_BOOT_SECONDS if accelerator == "kvm" else EMULATED_BOOT_SECONDS
            wait_for_ssh(endpoint, timeout=seconds, alive=self._check_alive, refusal=seconds / 4)
        except BaseException:
            self._end()
            raise
        return endpoint

    def _has_kvm(self) -> bool:
        """Whether the host's own processor can run the guest."""
        return self._arch == of_this_host() and kvm.works()

    def _firmware(self) -> list[str]:
        if self._emulator.firmware is None:
            return []
        file, package = self._emulator.firmware
        if not file.exists():
            raise HostNotReadyError(f"{file} is missing", hint=f"sudo apt-get install {package}")
        return ["-bios", str(file)]

    def _argv(
        self, accelerator: Accelerator, saved: bool, key: Path, monitor: int, stream: int
    ) -> list[str]:
        forwards = "".join(
            f",hostfwd=tcp:127.0.0.1:{host}-:{guest}" for guest, host in self._wanted.items()
        )
        network = "virtio-net-pci" if self._bus == "virtio" else "e1000"
        argv = [
            require(self._emulator.program, self._emulator.package),
            *("-accel", "kvm" if accelerator == "kvm" else f"tcg,thread={self._threads()}"),
            *("-cpu", self._cpu(accelerator), "-smp", str(self._cpus)),
            *("-machine", self._emulator.board, "-m", f"{self._memory >> 20}M"),
            *("-nodefaults", "-display", "none", *self._emulator.devices, "-no-user-config"),
            *self._firmware(),
            *("-chardev", f"socket,id=monitor,fd={monitor}"),
            *("-mon", "chardev=monitor,mode=control"),
            *("-chardev", f"file,id=serial,path={_escape(self.console)},append=on"),
            *("-serial", "chardev:serial"),
            *("-netdev", f"user,id=net{forwards}", "-device", f"{network},netdev=net"),
        ]
        for number, disk in enumerate(self._disks):
            image, form = (disk, _format(disk)) if self._write else self._overlay(number, disk)
            cache = "writeback" if self._write else "unsafe"
            device = "virtio-blk-pci" if self._bus == "virtio" else f"ide-hd,bus=ide.{number}"
            argv += [
                "-drive",
                f"file={_escape(image)},format={form},if=none,id=disk{number},"
                f"cache={cache},discard=unmap",
                *("-device", f"{device},drive=disk{number},serial=disk{number}"),
            ]
        if self._seed:
            file = _escape(self._seed)
            drive = f"file={file},format=raw,if=none,id=seed,read-only=on"
            if self._bus == "virtio":
                argv += ["-drive", drive, "-device", "virtio-blk-pci,drive=seed"]
            else:
                argv += ["-drive", f"{drive},media=cdrom"]
                argv += ["-device", f"ide-cd,bus=ide.{len(self._disks)},drive=seed"]
        if self._streams:
            argv += [
                *("-device", "virtio-serial-pci"),
                *("-chardev", f"socket,id={STREAM},fd={stream}"),
                *("-device", f"virtserialport,chardev={STREAM},name={STREAM}"),
            ]
        if self._boot:
            argv += [
                *("-kernel", str(self._boot.kernel), "-initrd", str(self._boot.initrd)),
                *("-append", self._boot.command_line),
            ]
        if self._key is None:
            public = key.with_name(key.name + ".pub").read_text().strip()
            argv += smbios(sign_in(self._user, public))
        return [*argv, "-loadvm", SAVED] if saved else argv

    def _threads(self) -> str:
        """How processors are emulated. Side by side, old x86 breaks code that patches itself."""
        return "single" if self._is_old_x86() else "multi"

    def _cpu(self, accelerator: Accelerator) -> str:
        if accelerator == "kvm":
            return "host"
        # Old QEMU emulates cmpxchg16b wrongly now and then, and the guest's kernel crashes.
        return self._emulator.processor + ",cx16=off" * self._is_old_x86()

    def _is_old_x86(self) -> bool:
        program = require(self._emulator.program, self._emulator.package)
        return self._arch == "amd64" and _version(program) < (8, 0)

    def _overlay(self, number: int, disk: Path) -> tuple[Path, str]:
        overlay = self._place() / f"disk{number}.qcow2"
        if not (self._place() / SAVED).exists():
            overlay.unlink(missing_ok=True)
            run(
                [
                    require("qemu-img", "qemu-utils"),
                    *("create", "-q", "-f", "qcow2", "-F", _format(disk)),
                    *("-b", str(disk.resolve()), str(overlay)),
                ]
            )
        return overlay, "qcow2"

    def _place(self) -> Path:
        if self._directory is None:
            if self._kept is not None:
                self._kept.mkdir(parents=True, exist_ok=True)
            self._directory = self._kept or temporary.make()
        return self._directory

    def _running(self) -> Monitor:
        if self._monitor is None:
            raise HypervisorError("the machine is not running")
        return self._monitor

    def _check_alive(self) -> None:
        """Raise when QEMU or the guest's kernel has ended, or KVM met what it cannot run."""
        if self.console.exists() and PANIC in self.console.read_bytes()[self._told :]:
            raise PanicError("the guest's kernel panicked")
        if self._process is not None and self._process.poll() is not None:
            log = self._place() / "qemu.log"
            told = log.read_text(errors="replace").strip().splitlines()[-5:]
            raise HypervisorError(
                f"QEMU ended with status {self._process.returncode}: " + " | ".join(told)
            )
        status = self._running().execute("query-status")["status"]
        if status != "running":
            raise HypervisorError(f"QEMU stopped the guest: {status}")

    def _end(self) -> None:
        """End the QEMU process at once."""
        process, self._process = self._process, None
        monitor, self._monitor = self._monitor, None
        if process is not None:
            process.kill()
            process.wait()
        if monitor is not None:
            monitor.close()
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self._forwards = {}


def disk_path(number: int, bus: Literal["sata", "virtio"] = "sata") -> str:
    """Where the guest finds one of its disks, whatever order the kernel met them in."""
    prefix = "virtio-" if bus == "virtio" else "ata-QEMU_HARDDISK_"
    return f"/dev/disk/by-id/{prefix}disk{number}"


def _forwards(told: str) -> dict[int, int]:
    """Read guest port -> host port from QEMU's list of connections."""
    rule = re.compile(r"TCP\[HOST_FORWARD\]\s+\d+\s+\S+\s+(\d+)\s+\S+\s+(\d+)\s")
    return {int(guest): int(host) for host, guest in rule.findall(told)}


def _format(disk: Path) -> str:
    told = run([require("qemu-img", "qemu-utils"), "info", "-U", "--output=json", str(disk)])
    form: str = json.loads(told)["format"]
    return form


def _escape(path: Path) -> str:
    """Write a path as a value of QEMU's option lists, where a comma is doubled."""
    return str(path.resolve()).replace(",", ",,")


@functools.cache
def _version(program: str) -> tuple[int, int]:
    """The major and minor version of an installed QEMU."""
    found = re.search(r"version (\d+)\.(\d+)", run([program, "--version"]))
    return (int(found[1]), int(found[2])) if found else (0, 0)
