"""Write a reproducible OVA in one pass: envelope, manifest, then the disks.

Envelope and manifest come first though they need the disks' sizes and digests: room of a known
size is left for them and filled at the end.
"""

import contextlib
import errno
import hashlib
import os
import re
import tarfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BufferedRandom
from pathlib import Path

import jinja2

from provision import progress, resources
from provision.errors import ApplianceError, HostNotReadyError
from provision.ova import earlier, vmdk
from provision.ova.model import OvaAppliance, OvaDisk, OvaResult

MIB = 2**20
MAX_MEMBER = 8**11 - 1  # the size field of a ustar header: 11 octal digits
_NAMESPACE = uuid.UUID("6f2e6f0b-6d1b-5f0e-9d3a-3c1c7a2b9e54")


@dataclass(frozen=True)
class _Member:
    """A disk as the envelope names it; until it is written, its size is the largest there is."""

    name: str
    file: str
    capacity: int
    uuid: uuid.UUID
    raw: Path
    known: vmdk.Known
    size: int = MAX_MEMBER
    sha256: str = "0" * 64


def write_ova(path: Path, appliance: OvaAppliance, disks: Sequence[OvaDisk]) -> OvaResult:
    """Write an OVA; the same inputs give the same bytes.

    Args:
        path: the file to make; an older one stays until the new one is whole.
        appliance: the VM and product.
        disks: its disks in the order of their SATA ports.

    Raises:
        HostNotReadyError: the file system has no room left.
        ApplianceError: a disk's size is no multiple of 512 bytes, or too big for an OVA.
    """
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", appliance.name).strip("-.")[:60] or "appliance"
    members = [_member(stem, appliance, disk) for disk in disks]
    room = len(_envelope(appliance, members))
    with _whole_or_nothing(path) as file, earlier.opening(path) as before:
        file.write(bytes(len(_front(stem, appliance, members, room))))
        done = [_write_disk(file, member, appliance.epoch, before) for member in members]
        file.write(bytes(2 * tarfile.BLOCKSIZE))
        file.seek(0)
        file.write(_front(stem, appliance, done, room))
        size = file.seek(0, os.SEEK_END)
        with progress.step("hash the OVA"):
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return OvaResult(path=path, size=size, sha256=sha256, disks={m.file: m.sha256 for m in done})


def _member(stem: str, appliance: OvaAppliance, disk: OvaDisk) -> _Member:
    capacity = disk.raw_path.stat().st_size
    if not capacity or capacity % vmdk.SECTOR:
        raise ApplianceError(
            f"{disk.raw_path} has {capacity} bytes, no multiple of {vmdk.SECTOR}",
            hint="make the raw image with `truncate` or `qemu-img create -f raw`",
        )
    return _Member(
        name=disk.name,
        file=f"{stem}-{disk.name}.vmdk",
        capacity=capacity,
        uuid=disk.uuid or _derive_uuid(appliance.name, appliance.version, disk.name),
        raw=disk.raw_path,
        known=disk.known,
    )


def _derive_uuid(*parts: str) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, "\0".join(parts))


def _write_disk(
    file: BufferedRandom, member: _Member, epoch: int, before: earlier.Earlier
) -> _Member:
    """Append one disk behind a header that is filled in once its size is known."""
    start = file.tell()
    file.write(bytes(tarfile.BLOCKSIZE))
    digest = hashlib.sha256()

    def emit(data: bytes | bytearray) -> None:
        digest.update(data)
        file.write(data)

    front = vmdk.front(member.capacity, member=member.file, identity=member.uuid)
    known = before.disk(member.file, front)
    with progress.step(f"compress the {member.name} disk"):
        vmdk.write(
            member.raw,
            emit,
            member=member.file,
            identity=member.uuid,
            advanced=lambda done: progress.advance(done, member.capacity),
            known=lambda table: {**known(table), **member.known(table)},
        )
    end = file.tell()
    size = end - start - tarfile.BLOCKSIZE
    file.seek(start)
    file.write(_tar_header(member.file, size, epoch))
    file.seek(end)
    return replace(member, size=size, sha256=digest.hexdigest())


def _front(stem: str, appliance: OvaAppliance, members: Sequence[_Member], room: int) -> bytes:
    """Envelope and manifest with their tar headers, of the same length for any disk sizes."""
    envelope = _envelope(appliance, members).ljust(room)
    digests = {f"{stem}.ovf": hashlib.sha256(envelope).hexdigest()}
    digests |= {member.file: member.sha256 for member in members}
    manifest = "".join(f"SHA256({name})= {digest}\n" for name, digest in digests.items()).encode()
    return b"".join(
        _tar_header(name, len(data), appliance.epoch) + data + bytes(-len(data) % tarfile.BLOCKSIZE)
        for name, data in ((f"{stem}.ovf", envelope), (f"{stem}.mf", manifest))
    )


def _envelope(appliance: OvaAppliance, members: Sequence[_Member]) -> bytes:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resources.templates()),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return (
        environment.get_template("host/appliance.ovf.j2")
        .render(
            appliance=appliance,
            disks=members,
            machine_uuid=_derive_uuid(appliance.name, appliance.version),
            mebibytes=appliance.memory // MIB,
            time=datetime.fromtimestamp(appliance.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        .encode()
    )


def _tar_header(name: str, size: int, epoch: int) -> bytes:
    if size > MAX_MEMBER:
        raise ApplianceError(
            f"{name} takes {size} bytes compressed; a member of an OVA has room for {MAX_MEMBER}",
            hint="put less on this disk, or split it into two",
        )
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, epoch, 0o644
    return info.tobuf(tarfile.USTAR_FORMAT)


@contextlib.contextmanager
def _whole_or_nothing(path: Path) -> Iterator[BufferedRandom]:
    """Open a file beside ``path`` that takes its place at the end, or leaves nothing."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w+b") as file:
            yield file
        part.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise HostNotReadyError(
                f"no room left for {path}: {error.strerror}",
                hint=f"free some space (see `df -h {path.parent}`) or choose another output place",
            ) from error
        raise
    finally:
        part.unlink(missing_ok=True)
