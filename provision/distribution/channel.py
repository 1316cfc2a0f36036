"""A channel: which version is current, and since how many changes.

A channel is one file, ``channels/NAME.minisig``: the signature of its version's SHA256SUMS, whose
trusted comment names version and serial. So one signature covers all, one rename switches all
readers, and the plain minisign program checks it.
"""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from provision.distribution.manifest import SUMS, checked_name
from provision.errors import VerificationError
from provision.ova import minisign

LIMIT = 4096  # bytes of its file
_COMMENT = re.compile(r"channel=(\S+) serial=(\d{1,18}) version=(\S+)")


@dataclass(frozen=True)
class Channel:
    """What a channel says.

    Args:
        name: ``stable``, ``next``, ...
        serial: grows with each change; a seat refuses a lower one than it has seen.
        version: the version's directory below ``versions/``.
    """

    name: str
    serial: int
    version: str

    @property
    def comment(self) -> str:
        """The trusted comment."""
        return f"channel={self.name} serial={self.serial} version={self.version}"


def path(name: str) -> str:
    """Where a channel's file is below the published folder."""
    return f"channels/{checked_name(name)}.minisig"


def claim(signature: bytes) -> Channel:
    """What a signature says of itself, which proves nothing yet: where to look for the rest.

    Raises:
        VerificationError: it is no channel of ours.
    """
    found = _COMMENT.search(signature.decode(errors="replace"))
    if not found:
        raise VerificationError("the channel's file is no signature of a channel")
    return Channel(checked_name(found[1]), int(found[2]), checked_name(found[3]))


def verify(signature: bytes, sums: bytes, key: minisign.PublicKey, name: str) -> Channel:
    """Check a channel's signature over its version's checksums.

    Raises:
        VerificationError: signed by another key, changed, or of another channel.
    """
    with tempfile.TemporaryDirectory() as place:
        signed, beside = Path(place, SUMS), Path(place, "signature")
        signed.write_bytes(sums)
        beside.write_bytes(signature)
        found = claim(minisign.verify(signed, beside, key).encode())
    if found.name != name:
        raise VerificationError(f"asked for the channel {name!r}, got {found.name!r}")
    return found


def sign(channel: Channel, sums: bytes, secret: Path) -> bytes:
    """Make a channel's file."""
    with tempfile.TemporaryDirectory() as place:
        signed = Path(place, SUMS)
        signed.write_bytes(sums)
        return minisign.sign(signed, secret, channel.comment).read_bytes()
