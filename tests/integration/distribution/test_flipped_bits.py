"""One bit flipped in each file of a published folder, in turn: found, or of no consequence.

Of no consequence are minisign's untrusted comment and an unused bit of a compressed frame.
"""

import random
import uuid
from pathlib import Path

from publishing import disk, sbom, tree

from provision.config import Config
from provision.distribution import chunks, manifest
from provision.distribution.assemble import assemble
from provision.distribution.manifest import MANIFEST, definition
from provision.distribution.publication import Image, Publication
from provision.distribution.pull import verified
from provision.distribution.source import Directory
from provision.errors import ApplianceError
from provision.ova import minisign

# What a seat does not read: for people, and for the publisher.
UNREAD = {"minisign.pub", ".lock", "sbom.cdx.json", "packages.txt", "changelog.txt"}


def _install(root: Path, key: minisign.PublicKey, target: Path) -> bytes:
    """What a seat does up to the moment when it would attach the disk."""
    source = Directory(root)
    offer = verified(source, "stable", [key])
    described = manifest.read(offer.get(source, MANIFEST))
    (only,) = described.disks
    assemble(
        only,
        manifest.read_pieces(offer.get(source, only.pieces_file)),
        target,
        identity=uuid.UUID(int=1),
        fetch=lambda piece: chunks.decompress(
            source.get(f"chunks/{chunks.relative(piece.name)}"), piece.name
        ),
    )
    return target.read_bytes()


def test_a_flipped_bit_in_any_file(tmp_path: Path) -> None:
    raw = disk(tree(tmp_path / "tree", version=1, files=6), tmp_path / "root.raw", size="8M")
    key = minisign.generate(tmp_path / "secret.key")
    root = tmp_path / "published"
    Publication(root).publish(
        [Image("root", raw, keep=False)],
        definition=definition(Config(name="sage")),
        sbom=sbom(bash="5"),
        secret=tmp_path / "secret.key",
    )
    whole = _install(root, key, tmp_path / "whole.vdi")
    source = random.Random(7)  # noqa: S311 (which bit)
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and path.stat().st_size]
    found = 0
    for number, path in enumerate(files):
        good = path.read_bytes()
        bit = source.randrange(len(good) * 8)
        path.write_bytes(
            good[: bit // 8] + bytes([good[bit // 8] ^ 1 << bit % 8]) + good[bit // 8 + 1 :]
        )
        target = tmp_path / f"{number}.vdi"
        try:
            assert _install(root, key, target) == whole, f"{path.name}, bit {bit}"
        except ApplianceError as error:
            assert path.name not in UNREAD, f"{path.name}, bit {bit}: {error}"
            assert not target.exists(), f"{path.name}, bit {bit}: {error}"
            found += 1
        path.write_bytes(good)
    assert found > 20
    assert _install(root, key, tmp_path / "again.vdi") == whole
