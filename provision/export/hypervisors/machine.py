"""A VM as its OVA describes it, and its disks in another format."""

import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from provision.config.architectures import Name as ArchName
from provision.errors import ApplianceError, HostNotReadyError, VerificationError
from provision.ova import inspect
from provision.ova.stream import ByteStream, members
from provision.process import require, run
from provision.progress import step


@dataclass(frozen=True)
class Definition:
    """What a definition tells of the appliance.

    Args:
        name: the VM's, in letters, digits, points and hyphens.
        cpus: virtual CPUs.
        memory: bytes.
        disks: files of the disks, the one that boots first; beside the definition.
        forwards: what VirtualBox hands on from its host, as (host's port, guest's port) by name.
        arch: of its processor.
    """

    name: str
    cpus: int
    memory: int
    disks: tuple[str, ...]
    forwards: Mapping[str, tuple[int, int]]
    arch: ArchName = "amd64"


@dataclass(frozen=True)
class Product:
    """How one hypervisor has it.

    Args:
        disk: the format of its disks, as qemu-img calls it.
        options: of that format.
        architectures: of the guests that it runs here described.
        disk_name: a disk's file, by its number from 0 on.
        files: what is written beside the disks: texts by their paths in the directory.
        then: what to do with it, a line each.
    """

    disk: str
    disk_name: Callable[[int], str]
    files: Callable[[Definition], Mapping[str, str]]
    then: Callable[[Definition, Path], tuple[str, ...]]
    options: str = ""
    architectures: tuple[ArchName, ...] = ("amd64",)


def export(ova: Path, hypervisor: Product, target: Path) -> Definition:
    """Write a VM's disks and definition for another hypervisor.

    Args:
        ova: one of ours; all of it is verified before anything is written.
        hypervisor: for which.
        target: a directory that is not there yet, or empty; it is there when all is in it.

    Raises:
        ApplianceError: there is something in the directory, or the hypervisor does not run guests
            of the VM's architecture.
        VerificationError: the OVA is damaged, or describes no single VM with disks.
        HostNotReadyError: no qemu-img, or no room.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ApplianceError(f"{target} is not empty", hint="name a directory that is not there")
    qemu_img = require("qemu-img", "qemu-utils")
    with ova.open("rb") as stream:
        found = inspect(stream, ova.name, ova.stat().st_size)
    if len(found.envelope.systems) != 1 or not found.disks:
        raise VerificationError(f"{ova.name} describes no single VM with disks")
    (system,) = found.envelope.systems
    if system.architecture not in hypervisor.architectures:
        raise ApplianceError(
            f"{ova.name} is for {system.architecture}, and for this hypervisor we know no such VM",
            hint="build it with `arch: amd64`; libvirt and UTM take arm64, too",
        )
    machine = Definition(
        name=re.sub(r"[^A-Za-z0-9.-]+", "-", system.name).strip("-.") or "appliance",
        cpus=system.cpus,
        memory=system.memory,
        disks=tuple(hypervisor.disk_name(number) for number in range(len(found.disks))),
        forwards={forward.name: (forward.host, forward.guest) for forward in system.forwards},
        arch=system.architecture,
    )
    places = dict(zip((disk.file for disk in found.disks), machine.disks, strict=True))
    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.absolute().parent))
    try:
        for path, text in hypervisor.files(machine).items():
            (part / path).parent.mkdir(parents=True, exist_ok=True)
            (part / path).write_text(text, encoding="utf-8")
        _convert(ova, places, part, hypervisor, qemu_img)
        part.chmod(0o755)
        if target.exists():
            target.rmdir()
        part.rename(target)
    except OSError as error:
        raise HostNotReadyError(
            f"cannot write {target}: {error.strerror}",
            hint="make room there, or name another place",
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return machine


def _convert(
    ova: Path, places: Mapping[str, str], part: Path, hypervisor: Product, qemu_img: str
) -> None:
    """Have each disk of an OVA in the hypervisor's format."""
    options = ["-o", hypervisor.options] if hypervisor.options else []
    with ova.open("rb") as stream:
        for member in members(ByteStream(stream, ova.name)):
            if member.name not in places:
                member.drain()
                continue
            packed, made = part / ".packed", part / places[member.name]
            made.parent.mkdir(parents=True, exist_ok=True)
            with step(f"convert {member.name} to {hypervisor.disk}"), packed.open("wb") as file:
                while left := member.size - member.position:
                    file.write(member.read(min(left, 1 << 20)))
                file.flush()
                convert = [qemu_img, "convert", "-f", "vmdk", "-O", hypervisor.disk, *options]
                run([*convert, str(packed), str(made)])
            packed.unlink()
