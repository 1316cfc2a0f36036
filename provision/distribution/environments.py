"""The notebook's packages in a published folder, for appliances that renew them by themselves.

They are in ``notebook/``, a folder like the published one: ``channels/NAME.minisig`` is the
signature of ``versions/ENVIRONMENT/SHA256SUMS``, which has the digest of ``environment.json``,
which has those of ``packages/SHA256``. So the channel is signed, counted, and expires as any other.
Who reads it is ``fleet/inside/update_notebook.py``.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from provision import progress
from provision.distribution import channel
from provision.distribution.channel import Channel
from provision.distribution.manifest import SUMS, checked_name
from provision.distribution.publication import Publication
from provision.files import write_whole

PLACE = "notebook"
TOLD = "environment.json"


def publish(
    root: Path,
    name: str,
    told: str,
    packages: Mapping[str, bytes],
    *,
    secret: Path,
    channel_name: str = "stable",
    days: float = channel.LIFE_DAYS,
) -> Channel:
    """Add an environment and point a channel to it.

    Args:
        root: the published folder.
        name: of the environment.
        told: what ``environment.json`` says.
        packages: by their digests.
        secret: the minisign secret key.
        channel_name: the channel.
        days: how long it is good; less than half of it left, it is signed anew.

    Raises:
        ApplianceError: the key cannot be used, or another publish is at work.
    """
    folder = Publication(root / PLACE)
    with folder.locking():
        channel.try_key(secret)  # a bad one fails before the work
        store = folder.root / "packages"
        with progress.step(f"publish {len(packages)} packages"):
            for digest, data in packages.items():
                if not (store / digest).exists():
                    write_whole(store / digest, data)
        target = folder.root / "versions" / checked_name(name)
        write_whole(target / TOLD, told.encode())
        sums = f"{hashlib.sha256(told.encode()).hexdigest()}  {TOLD}\n"
        write_whole(target / SUMS, sums.encode())
        return folder.point(channel_name, name, secret, days)
