"""What a seat remembers of a publisher: the key, and how far each channel was.

Both are written through to the disk. A file that a power cut tore nevertheless ends no pull: a
channel's number is learnt anew, and a key is given once more.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from provision import progress
from provision.distribution.channel import Channel
from provision.errors import VerificationError
from provision.files import write_whole
from provision.ova import minisign

KEY = "minisign.pub"
SERIALS = "serials.json"


def known_keys(files: Iterable[Path]) -> list[minisign.PublicKey]:
    """The publishers' keys that this host has pinned; a damaged file is passed over, and told."""
    found = []
    for path in files:
        try:
            found.append(minisign.public_key(path))
        except VerificationError as error:
            progress.note(f"{error}; give the key once more: --public-key minisign.pub")
    return found


def check(folder: Path, offered: Channel, key: minisign.PublicKey) -> None:
    """Compare with what this appliance saw before: its publisher, and how far the channel was.

    Args:
        folder: the appliance's.
        offered: the channel, its signature verified.
        key: who signed it.

    Raises:
        VerificationError: another publisher, or the channel went back.
    """
    if (folder / KEY).exists() and known_keys([folder / KEY]) not in ([], [key]):
        raise VerificationError(
            f"{folder.name} is from another publisher than the one of {offered.version}",
            hint=f"has the publisher a new key? Remove {folder / KEY}, and give --public-key",
        )
    seen, now = _serials(folder).get(offered.name), (offered.serial, offered.version)
    if seen and (now[0] < seen[0] or (now[0] == seen[0] and now != seen[:2])):
        raise VerificationError(
            f"the channel {offered.name!r} went back: this seat has seen number {seen[0]}"
            f" ({seen[1]}), the source offers number {now[0]} ({now[1]})",
            hint="is it an old copy of the folder? To go back on purpose: appliance pull --rollback"
            " here, or publish the old version anew",
        )


def pin(folder: Path, key: minisign.PublicKey) -> None:
    """Trust this publisher alone from now on."""
    text = key.text().encode()
    if not (folder / KEY).exists() or (folder / KEY).read_bytes() != text:
        write_whole(folder / KEY, text, durable=True)


def remember(folder: Path, offered: Channel) -> None:
    """Take no earlier state of this channel from now on."""
    before, now = _serials(folder), (offered.serial, offered.version, offered.signed)
    if before.get(offered.name) != now:
        text = json.dumps({**before, offered.name: now})
        write_whole(folder / SERIALS, text.encode(), durable=True)


def latest(folder: Path) -> float:
    """The time of the latest signature that this seat has seen: it is no earlier than that."""
    return max((float(signed) for _, _, signed in _serials(folder).values()), default=0.0)


def _serials(folder: Path) -> dict[str, tuple[int, str, int]]:
    """Number, version and time of each channel that this seat has seen."""
    try:
        found = json.loads((folder / SERIALS).read_bytes())
        return {
            str(name): (int(serial), str(version), int(*signed))
            for name, (serial, version, *signed) in found.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        progress.note(f"{folder / SERIALS} is damaged ({error}); what is offered now is taken")
        return {}
