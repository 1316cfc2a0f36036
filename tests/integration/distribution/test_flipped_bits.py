"""One bit flipped in each file of a published folder, in turn: found, or of no consequence."""

import contextlib
import random
import uuid
from pathlib import Path

import pytest
import zstandard
from publishing import disk, sbom, tree

from provision.config import Config
from provision.distribution import chunks, manifest
from provision.distribution.assemble import assemble
from provision.distribution.chunks import Piece
from provision.distribution.manifest import MANIFEST, definition
from provision.distribution.packs import PLACE, Packed, divide
from provision.distribution.publication import DiskImage, Publication
from provision.distribution.pull import fetch_offer
from provision.distribution.source import Directory
from provision.errors import ApplianceError
from provision.ova import minisign

# What a seat does not read: for people, and for the publisher.
UNREAD = {"minisign.pub", ".lock", "sbom.cdx.json", "packages.txt", "changelog.txt"}


def _install(root: Path, key: minisign.PublicKey, target: Path, *, by_packs: bool = False) -> bytes:
    """What a seat does up to the moment when it would attach the disk."""
    source = Directory(root)
    offer = fetch_offer(source, "stable", [key])
    described = manifest.read(offer.get(source, MANIFEST))
    (only,) = described.disks
    pieces = manifest.read_pieces(offer.get(source, only.pieces_file))
    packs = divide(pieces) if by_packs else ()
    packed = Packed(packs, lambda pack: source.get(pack.path))

    def fetch(piece: Piece) -> bytes:
        return packed.supply(piece) or chunks.decompress(
            source.get(f"chunks/{chunks.relative(piece.name)}"), piece.name
        )

    assemble(only, pieces, target, identity=uuid.UUID(int=1), fetch=fetch)
    return target.read_bytes()


def test_a_flipped_bit_in_any_file(tmp_path: Path) -> None:
    raw = disk(tree(tmp_path / "tree", version=1, files=6), tmp_path / "root.raw", size="8M")
    key = minisign.generate(tmp_path / "secret.key")
    root = tmp_path / "published"
    Publication(root).publish(
        [DiskImage("root", raw, keep=False)],
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
        changed = good[: bit // 8] + bytes([good[bit // 8] ^ 1 << bit % 8]) + good[bit // 8 + 1 :]
        path.write_bytes(changed)
        target = tmp_path / f"{number}.vdi"
        chunk = path.is_relative_to(root / "chunks")
        if path.is_relative_to(root / PLACE):
            assert _install(root, key, target, by_packs=True) == whole
        elif path.name in UNREAD:
            assert _install(root, key, target) == whole
        elif _same_content(good, changed) if chunk else _untrusted(good, bit // 8):
            with contextlib.suppress(ApplianceError):  # when it is no text any more
                assert _install(root, key, target) == whole
        else:
            with pytest.raises(ApplianceError) as caught:
                _install(root, key, target)
                pytest.fail(f"{path.name}, bit {bit}")
            assert not target.exists(), f"{path.name}, bit {bit}: {caught.value}"
            found += 1
        path.write_bytes(good)
    assert found > 20
    assert _install(root, key, tmp_path / "again.vdi") == whole


def _same_content(good: bytes, changed: bytes) -> bool:
    """Whether a chunk unpacks to the same: not every bit of a compressed frame means something."""
    try:
        if zstandard.frame_content_size(changed) != zstandard.frame_content_size(good):
            return False  # it may claim more than the memory has room for
        return zstandard.decompress(changed) == zstandard.decompress(good)
    except zstandard.ZstdError:
        return False


def _untrusted(content: bytes, position: int) -> bool:
    """Whether a byte is in minisign's untrusted comment, which is no part of what is signed."""
    start = content.rfind(b"\n", 0, position) + 1
    return b"untrusted comment" in content[start : start + 20]
