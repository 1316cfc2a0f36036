"""Verify any OVA in one pass, in bounded memory, and tell what it holds."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from provision import progress
from provision.errors import VerificationError
from provision.ova import manifest, ovf, vmdk, vmdk_check
from provision.ova.ovf import Envelope, Leak
from provision.ova.stream import ByteStream, Member, members

MAX_TEXT = 16 * 2**20  # bytes of an envelope, manifest or certificate


@dataclass(frozen=True)
class DiskContent:
    """One disk image as found.

    Args:
        file: the member's name.
        size: its bytes in the OVA.
        capacity: bytes of the disk that the guest sees.
        stored: bytes that are not left out as zeros; None if the format is not ours to read.
    """

    file: str
    size: int
    capacity: int
    stored: int | None


@dataclass(frozen=True)
class Inspection:
    """A verified OVA.

    Args:
        members: bytes of each member, in the archive's order.
        envelope: what the .ovf says.
        disks: its disk images.
        manifest: the manifest's algorithm; None without a manifest.
        uncovered: the members that a manifest does not list, so that no digest vouches for them.
        signer: the subject of the certificate that signed the manifest, if any.
        leaks: what it tells of the place where it was made.
    """

    members: dict[str, int]
    envelope: Envelope
    disks: tuple[DiskContent, ...]
    manifest: str | None
    uncovered: tuple[str, ...]
    signer: str | None
    leaks: tuple[Leak, ...]


def inspect(stream: IO[bytes], name: str, size: int | None = None) -> Inspection:
    """Read an OVA once and check everything that can be checked.

    Args:
        stream: the OVA; it is never sought.
        name: what errors call it.
        size: its bytes, if known, for the progress.

    Raises:
        VerificationError: the first thing that is wrong, and where.
    """
    source = ByteStream(stream, name)
    reading = _Reading(name)
    with progress.step(f"verify {name}"):
        for member in members(source):
            reading.take(member, lambda: progress.advance(source.offset, size))
    return reading.result()


def envelope(path: Path) -> Envelope | None:
    """What the first member of an OVA, its envelope, says; None: the file is no OVA.

    Raises:
        VerificationError: the envelope is damaged.
    """
    with path.open("rb") as file, contextlib.suppress(VerificationError):
        source = ByteStream(file, path.name)
        first = next(iter(members(source)), None)
        if first and first.name.lower().endswith(".ovf") and first.size <= MAX_TEXT:
            return ovf.parse(first.name, first.read(first.size))
    return None


class _Reading:
    def __init__(self, name: str) -> None:
        self._name = name
        self._sizes: dict[str, int] = {}
        self._digests: dict[str, dict[str, str]] = {}
        self._texts: dict[str, bytes] = {}  # .ovf, .mf and .cert by suffix
        self._text_names: dict[str, str] = {}
        self._envelope: Envelope | None = None
        self._facts: dict[str, vmdk_check.VmdkFacts] = {}
        self._listed: dict[str, tuple[str, str]] | None = None

    def take(self, member: Member, advanced: Callable[[], None]) -> None:
        """Check one member as it streams by."""
        suffix = member.name.rpartition(".")[2].lower()
        if not self._sizes and suffix != "ovf":
            raise VerificationError(f"{self._name}: its first member is no .ovf: {member.name}")
        if self._listed is not None and member.name in self._listed:
            algorithm = self._listed[member.name][0]
            member.hashes = {algorithm: member.hashes[algorithm]}
        self._sizes[member.name] = member.size
        if suffix in ("ovf", "mf", "cert"):
            self._take_text(member, suffix)
        elif self._is_vmdk(member.name):
            self._facts[member.name] = vmdk_check.check(member, lambda _: advanced())
        member.drain()
        advanced()
        self._digests[member.name] = member.digests()

    def result(self) -> Inspection:
        """Check what only shows at the end: digests, missing members, capacities."""
        envelope = self._envelope
        if envelope is None:
            raise VerificationError(f"{self._name}: it is empty")
        for file in envelope.files:
            self._check_file(file)
        known = {file.name for file in envelope.files} | set(self._text_names.values())
        for member in self._sizes:
            if member not in known:
                raise VerificationError(f"{self._name}: the envelope does not know {member}")
        return Inspection(
            members=self._sizes,
            envelope=envelope,
            disks=tuple(
                self._disk(disk, disk.file) for disk in envelope.disks if disk.file is not None
            ),
            manifest=self._check_manifest(),
            uncovered=self._uncovered_members(),
            signer=self._check_signature(),
            leaks=envelope.leaks + tuple(self._image_leaks()),
        )

    def _take_text(self, member: Member, suffix: str) -> None:
        if suffix in self._texts or member.size > MAX_TEXT:
            raise VerificationError(f"{self._name}: {member.name} is a second one, or too big")
        self._text_names[suffix] = member.name
        text = self._texts[suffix] = member.read(member.size)
        if suffix == "ovf":
            self._envelope = ovf.parse(member.name, text)
        elif suffix == "mf":
            self._listed = manifest.parse(member.name, text)

    def _is_vmdk(self, name: str) -> bool:
        envelope = self._envelope
        if envelope is None or any(f.name == name and f.compression for f in envelope.files):
            return False
        # Of VMDK's kinds only this one streams; any other is checked by its digest alone.
        return any(
            disk.file == name and "vmdk" in (form := disk.format.lower()) and "#sparse" not in form
            for disk in envelope.disks
        )

    def _check_file(self, file: ovf.File) -> None:
        if file.chunked:
            raise VerificationError(
                f"{self._name}: {file.name} is in chunks, which VirtualBox cannot import",
                hint="export it again in one piece (ovftool without --chunkSize)",
            )
        size = self._sizes.get(file.name)
        if size is None:
            raise VerificationError(f"{self._name}: {file.name} is missing")
        if file.size is not None and file.size != size:
            raise VerificationError(
                f"{self._name}: {file.name} has {size} bytes, the envelope says {file.size}"
            )

    def _disk(self, disk: ovf.OvfDisk, file: str) -> DiskContent:
        facts = self._facts.get(file)
        # VirtualBox rounds an odd capacity up to whole grains in the image alone.
        if facts and not 0 <= facts.capacity - disk.capacity < vmdk.GRAIN:
            raise VerificationError(
                f"{self._name}: {file} is a disk of {facts.capacity} bytes,"
                f" the envelope says {disk.capacity}"
            )
        stored = facts.stored if facts else None
        return DiskContent(file, self._sizes[file], disk.capacity, stored)

    def _check_manifest(self) -> str | None:
        if self._listed is None:
            return None
        name = self._text_names["mf"]
        for file, (algorithm, expected) in self._listed.items():
            if file not in self._digests:
                raise VerificationError(f"{self._name}: {file}, listed in {name}, is missing")
            found = self._digests[file][algorithm]
            if found != expected:
                raise VerificationError(
                    f"{self._name}: {file} is damaged or was changed:"
                    f" its {algorithm} is {found}, {name} says {expected}",
                    hint="copy or download it again",
                )
        return "+".join(sorted({algorithm for algorithm, _ in self._listed.values()}))

    def _uncovered_members(self) -> tuple[str, ...]:
        if self._listed is None:
            return ()
        vouchers = (".mf", ".cert")
        return tuple(
            file
            for file in self._digests
            if file not in self._listed and not file.lower().endswith(vouchers)
        )

    def _check_signature(self) -> str | None:
        if "cert" not in self._texts:
            return None
        if "mf" not in self._texts:
            raise VerificationError(f"{self._name}: a certificate, but no manifest")
        names, texts = self._text_names, self._texts
        return manifest.check_certificate(names["cert"], texts["cert"], names["mf"], texts["mf"])

    def _image_leaks(self) -> list[Leak]:
        return [
            Leak("path", f"{name} {key}", value)
            for name, facts in self._facts.items()
            for key, value in facts.descriptor.items()
            if key == "ddb.comment" and value
        ]
