"""What one published version is: its VM, its disks and their chunks, as files of JSON and text."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import zstandard

from provision.distribution.chunks import Piece
from provision.errors import VerificationError

if TYPE_CHECKING:
    from provision.config import Config
    from provision.config.architectures import Name as ArchName

FORMAT = 1
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
SUMS_LIMIT = 1 << 20  # bytes of it
MAX_PIECES_BYTES = 256 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,99}")


@dataclass(frozen=True)
class PublishedDisk:
    """A published disk.

    Args:
        name: as in appliance.yml.
        size: bytes that the guest sees.
        digest: of all of it, see `chunks.digest`.
        keep: it holds the users' files: installed once and never replaced.
    """

    name: str
    size: int
    digest: str
    keep: bool

    @property
    def pieces_file(self) -> str:
        """The file of the version that lists its chunks."""
        return f"{self.name}.chunks.zst"


@dataclass(frozen=True)
class Manifest:
    """One version.

    Args:
        name: the appliance.
        version: its version, as in appliance.yml.
        sequence: 1 for the first version ever published in the folder, then one more each.
        definition: the part of appliance.yml that a seat needs to make the VM.
        disks: root first.
    """

    name: str
    version: str
    sequence: int
    definition: Mapping[str, Any]
    disks: tuple[PublishedDisk, ...]

    @property
    def arch(self) -> "ArchName":
        """The architecture that it is for; who knew of one only said none."""
        return cast("ArchName", self.definition.get("arch", "amd64"))

    def text(self) -> str:
        """As JSON."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"


def read(text: bytes) -> Manifest:
    """Read a manifest that was verified.

    Raises:
        VerificationError: it is of a newer kind than we know.
    """
    try:
        values = json.loads(text)
        if values.pop("format") != FORMAT:
            raise VerificationError(
                "this version was published by a newer program", hint="renew the CLI of this seat"
            )
        disks = tuple(PublishedDisk(**disk) for disk in values.pop("disks"))
        for disk in disks:
            checked_name(disk.name)
        return Manifest(**values, disks=disks)
    except (KeyError, TypeError, ValueError) as error:
        raise VerificationError(f"the manifest cannot be read: {error!r}") from error


def write_pieces(pieces: Iterable[Piece]) -> bytes:
    """The file that lists the chunks of a disk: ``offset length name size`` a line, compressed."""
    lines = "".join(
        f"{piece.offset} {piece.length} {piece.name} {piece.size}\n" for piece in pieces
    )
    return zstandard.ZstdCompressor(level=9).compress(lines.encode())


def read_pieces(data: bytes) -> tuple[Piece, ...]:
    """Read the chunks of a disk, in order."""
    try:
        text = zstandard.ZstdDecompressor().decompress(data, max_output_size=MAX_PIECES_BYTES)
        rows = (line.split() for line in text.decode().splitlines())
        return tuple(
            Piece(int(offset), int(length), chunk, int(size))
            for offset, length, chunk, size in rows
        )
    except (zstandard.ZstdError, ValueError) as error:
        raise VerificationError(f"a list of chunks cannot be read: {error}") from error


def definition(config: "Config") -> dict[str, Any]:
    """What a seat must know of a configuration to make and reach the VM; nothing of the build's."""
    values = config.model_dump(mode="json")
    kept = ("name", "version", "distribution", "suite", "cpus", "memory", "network", "disks")
    notebook = ("port", "secure", "directory", "max_sessions", "server_pool")
    return {
        **{key: values[key] for key in kept},
        # Seats that know of one only would refuse the word.
        **({} if config.architecture == "amd64" else {"arch": config.architecture}),
        "admin": {"user": values["admin"]["user"], "keys": values["admin"]["keys"]},
        "pool": {key: values["pool"][key] for key in ("count", "prefix", "group", "limits")},
        "notebook": {key: values["notebook"][key] for key in notebook},
    }


def checked_name(text: str) -> str:
    """A name that may become part of a path.

    Raises:
        VerificationError: it may not.
    """
    if not _NAME.fullmatch(text):
        raise VerificationError(f"{text!r} is no name of a version, a channel or a disk")
    return text
