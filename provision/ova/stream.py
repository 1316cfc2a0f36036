"""Read a tar archive once from front to back, believing nothing that it says."""

import hashlib
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Protocol

from provision.errors import VerificationError

CHUNK = 2**20
ALGORITHMS = ("SHA1", "SHA256", "SHA384", "SHA512")
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf": "7z",
}
_LONGEST_NAME = 4096

_CHECKSUM = slice(148, 156)
_CHECKSUM_FORMS = re.compile(rb"[0-7]{6}\0 |[0-7]{6} \0|[0-7]{7}\0")
_PLAIN_NAME = re.compile(r"[^/\\\x00-\x1f\x7f:]+")


class Hash(Protocol):
    """What hashlib's objects do."""

    def update(self, data: bytes, /) -> None:
        """Take more bytes."""

    def hexdigest(self) -> str:
        """Return the digest so far."""


class ByteStream:
    """A stream that counts what was read and refuses to end early.

    Args:
        stream: any readable binary stream; it is never sought.
        name: what errors call it.
    """

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream = stream
        self.name = name
        self.offset = 0

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes.

        Raises:
            VerificationError: the stream ends before.
        """
        data = self.read_some(size)
        while len(data) < size:
            more = self.read_some(size - len(data))
            if not more:
                raise VerificationError(
                    f"{self.name} is truncated: it ends at byte {self.offset},"
                    f" {size - len(data)} bytes early",
                    hint="copy or download it again",
                )
            data += more
        return data

    def read_some(self, size: int) -> bytes:
        """Return up to ``size`` bytes; none at the end."""
        data = self._stream.read(size)
        self.offset += len(data)
        return data


@dataclass
class Member:
    """One file of the archive while it streams by.

    Args:
        name: a plain file name.
        size: its bytes.
    """

    source: ByteStream
    name: str
    size: int
    hashes: dict[str, Hash]
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.size

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes of it.

        Raises:
            VerificationError: it, or the archive, is shorter.
        """
        if size > self.left:
            raise VerificationError(
                f"{self.name} ends too early: at its byte {self.position},"
                f" {size} bytes should follow and {self.left} do"
            )
        data = self.source.read(size)
        self.left -= size
        for digest in self.hashes.values():
            digest.update(data)
        return data

    @property
    def position(self) -> int:
        """How many bytes of it have been read."""
        return self.size - self.left

    def drain(self) -> None:
        """Read what is left of it."""
        while self.left:
            self.read(min(CHUNK, self.left))

    def digests(self) -> dict[str, str]:
        """Return the digest of what was read, by algorithm."""
        return {name: digest.hexdigest() for name, digest in self.hashes.items()}


def members(source: ByteStream) -> Iterator[Member]:
    """Yield each member; it is read to its end before the next one comes.

    Raises:
        VerificationError: the archive is damaged, truncated or holds what no OVA may: anything
            but ordinary files with plain names, each name once.
    """
    seen: set[str] = set()
    while True:
        place = source.offset
        block = source.read_some(tarfile.BLOCKSIZE)
        if not block:  # VirtualBox leaves out the two blocks of zeros that end an archive
            return
        block += source.read(tarfile.BLOCKSIZE - len(block))
        if block.count(0) == tarfile.BLOCKSIZE:
            break
        _refuse_packed(source, block, place)
        long_name = None
        if block[156:157] == tarfile.GNUTYPE_LONGNAME:
            long_name = _long_name(source, block, place)
            place = source.offset
            block = source.read(tarfile.BLOCKSIZE)
        member = _member(source, block, place, long_name)
        if member.name.casefold() in seen:
            raise VerificationError(f"{source.name} holds {member.name} twice")
        seen.add(member.name.casefold())
        yield member
        member.drain()
        _expect_zeros(source, source.read(-member.size % tarfile.BLOCKSIZE))
    _expect_zeros(source, source.read(tarfile.BLOCKSIZE))
    while rest := source.read_some(CHUNK):
        _expect_zeros(source, rest)


def _refuse_packed(source: ByteStream, block: bytes, place: int) -> None:
    for magic, program in _PACKED.items():
        if place == 0 and block.startswith(magic):
            raise VerificationError(
                f"{source.name} is compressed by {program}, and so no OVA yet",
                hint="unpack it first; VirtualBox and VMware do not read it so either",
            )


def _long_name(source: ByteStream, block: bytes, place: int) -> str:
    """GNU tar's form of a name of more than 100 bytes: a member before the one it names."""
    size = _info(source, block, place).size
    if not 0 < size <= _LONGEST_NAME:
        raise VerificationError(f"{source.name}: damaged tar header at byte {place}")
    text = source.read(size)
    _expect_zeros(source, source.read(-size % tarfile.BLOCKSIZE))
    try:
        return text.removesuffix(b"\0").decode()
    except UnicodeDecodeError as error:
        raise VerificationError(f"{source.name}: damaged name at byte {place}") from error


def _info(source: ByteStream, block: bytes, place: int) -> tarfile.TarInfo:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError) as error:
        raise VerificationError(
            f"{source.name} is damaged, or no OVA: no tar header at byte {place} ({error})"
        ) from error
    if not _CHECKSUM_FORMS.fullmatch(block[_CHECKSUM]):
        raise VerificationError(f"{source.name}: damaged tar header at byte {place}")
    return info


def _member(source: ByteStream, block: bytes, place: int, long_name: str | None) -> Member:
    info = _info(source, block, place)
    info.name = long_name or info.name
    if info.type in (tarfile.XHDTYPE, tarfile.XGLTYPE):
        raise VerificationError(
            f"{source.name} is a pax archive, which VirtualBox refuses",
            hint="pack it again with tar --format=ustar, the .ovf first",
        )
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise VerificationError(f"{source.name}: {info.name!r} is no ordinary file")
    if info.size < 0:  # it may be written as a negative number, octal or in base 256
        raise VerificationError(f"{source.name}: {info.name!r} has a negative size")
    if not _PLAIN_NAME.fullmatch(info.name) or info.name.startswith("."):
        raise VerificationError(f"{source.name}: {info.name!r} is no plain file name")
    return Member(
        source, info.name, info.size, {name: hashlib.new(name.lower()) for name in ALGORITHMS}
    )


def _expect_zeros(source: ByteStream, data: bytes) -> None:
    if data.count(0) != len(data):
        raise VerificationError(
            f"{source.name} is damaged: zeros expected before byte {source.offset}"
        )
