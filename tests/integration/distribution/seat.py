"""One seat of a room without a VirtualBox: signature, manifest, disks; run as a program.

seat.py URL KEY PLACE [share | whole FILE | alone]: exchange chunks, or download one file.
"""

import contextlib
import json
import sys
import time
import urllib.request
import uuid
from pathlib import Path

from provision.distribution import manifest
from provision.distribution.assemble import assemble
from provision.distribution.chunks import ChunkStore
from provision.distribution.manifest import MANIFEST
from provision.distribution.peers import Sharing
from provision.distribution.pull import build_chain, fetch_offer
from provision.distribution.source import Web
from provision.ova import minisign

LINGER = 300


def main(url: str, key: str, place: Path, how: str, *more: str) -> None:
    place.mkdir(parents=True, exist_ok=True)
    if how == "whole":
        urllib.request.urlretrieve(f"{url}/{more[0]}", place / "whole")
        say(end=time.monotonic())
        return
    source = Web(url)
    with contextlib.ExitStack() as stack:
        sharing = None
        if how == "share":
            sharing = stack.enter_context(Sharing(source, place.name, ChunkStore(place / "spool")))
        offer = fetch_offer(source, "stable", [minisign.public_key(Path(key))])
        described = manifest.read(offer.get(source, MANIFEST))
        versions = place / described.name / "versions"
        here = {path.stem for path in versions.glob("*/*.vdi")}
        wanted = [disk for disk in described.disks if not (disk.keep and disk.name in here)]
        lists = {disk.name: offer.get(source, disk.pieces_file) for disk in wanted}
        pieces = {name: manifest.read_pieces(listed) for name, listed in lists.items()}
        chain = build_chain(source, place, None, sharing, pieces.values())
        directory = versions / offer.channel.version
        for disk in wanted:
            assemble(
                disk,
                pieces[disk.name],
                directory / f"{disk.name}.vdi",
                identity=uuid.uuid4(),
                fetch=chain.fetch,
                workers=2,
            )
            (directory / disk.pieces_file).write_bytes(lists[disk.name])
        end = time.monotonic()
        if sharing:
            sharing.report(state="ready", version=offer.channel.version)
            sharing.linger(LINGER)
    shared = (sharing.from_server, sharing.from_peers) if sharing else (0, 0)
    say(end=end, from_server=shared[0], from_peers=shared[1])


def say(**values: float) -> None:
    sys.stdout.write(json.dumps(values) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), *sys.argv[4:])
