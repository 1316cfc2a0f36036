"""A channel: which version is current, and since how many changes.

A channel is one file, ``channels/NAME.minisig``: the signature of its version's SHA256SUMS, whose
trusted comment names version and serial, and until when it is good. So one signature covers all,
one rename switches all readers, and the plain minisign program checks it. It has the part of the
timestamp role of The Update Framework (theupdateframework.io): whoever serves an old folder for
ever is found out when its signature expires.
"""

import calendar
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from provision.distribution.manifest import SUMS, checked_name
from provision.errors import VerificationError
from provision.ova import minisign

LIMIT = 4096  # bytes of its file
DAY = 24 * 3600.0
LIFE_DAYS = 92  # a term, and some days
SKEW_SECONDS = DAY  # that a seat's clock may be wrong, its time zone included
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
_COMMENT = re.compile(
    r"channel=(\S+) serial=(\d{1,18}) version=(\S+)"
    rf"(?: signed=({_TIME}) expires=({_TIME}))?(?=\s|$)"
)


@dataclass(frozen=True)
class Channel:
    """What a channel says.

    Args:
        name: ``stable``, ``next``, ...
        serial: grows with each change; a seat refuses a lower one than it has seen.
        version: the version's directory below ``versions/``.
        signed: when it was signed, in seconds since 1970; 0: not told.
        expires: until when it is good, likewise.
    """

    name: str
    serial: int
    version: str
    signed: int = 0
    expires: int = 0

    @property
    def comment(self) -> str:
        """The trusted comment."""
        said = f"channel={self.name} serial={self.serial} version={self.version}"
        if not self.expires:
            return said
        return f"{said} signed={_text(self.signed)} expires={_text(self.expires)}"

    @property
    def last_day(self) -> str:
        """The day on which it expires, by the world's time; empty: it does not say."""
        return _text(self.expires)[:10] if self.expires else ""

    def good_for(self, now: float) -> float:
        """Seconds until it expires; less than nothing: it has."""
        return self.expires - now


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
    try:
        signed, expires = (_seconds(each) for each in (found[4], found[5]))
    except ValueError as error:
        raise VerificationError(f"the channel's file has no time: {error}") from error
    return Channel(checked_name(found[1]), int(found[2]), checked_name(found[3]), signed, expires)


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


def try_key(secret: Path) -> None:
    """Sign nothing, so that a key that cannot be used is known before the work.

    Raises:
        ApplianceError: it cannot be used.
    """
    sign(Channel("test", 1, "test"), b"", secret)


def check_fresh(found: Channel, now: float) -> None:
    """Refuse a channel that was good once: who serves it may hold back what came since.

    Args:
        found: the channel, its signature verified.
        now: seconds since 1970, no earlier than anything that this seat has seen signed.

    Raises:
        VerificationError: it has expired, or says not when it does.
    """
    if not found.expires:
        raise VerificationError(
            f"the channel {found.name!r} does not say when it expires",
            hint="it was published by an older program: appliance publish DIR --renew",
        )
    if found.good_for(now) < -SKEW_SECONDS:
        raise VerificationError(
            f"the channel {found.name!r} expired on {found.last_day}, and this host's"
            f" clock says {_text(int(now))[:10]}: a newer version may be held back",
            hint="is the clock right? Else the publisher renews it: appliance publish DIR --renew;"
            " an old stick or copy is taken with --accept-expired",
        )


def _text(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _seconds(text: str | None) -> int:
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) if text else 0
