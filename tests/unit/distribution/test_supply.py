"""Who is asked for a chunk, and in which order."""

from pathlib import Path

import pytest

from provision.distribution import chunks
from provision.distribution.chunks import ChunkStore, Piece
from provision.distribution.source import SourceError
from provision.distribution.supply import Chain, Seed, of_images, of_server, of_store
from provision.errors import VerificationError

CONTENT = b"a chunk" * 600
PIECE = Piece(0, len(CONTENT), chunks.name(CONTENT), 77)


def test_the_nearest_that_has_it_gives_it_and_each_counts_its_own() -> None:
    other = Piece(0, 1, "0" * 64, 5)
    chain = Chain(
        cache=lambda piece: CONTENT if piece is PIECE else None,
        seats=None,
        server=lambda _: b"far",
    )
    assert [chain.fetch(PIECE), chain.fetch(other), chain.fetch(other)] == [CONTENT, b"far", b"far"]
    assert {name: (each.chunks, each.size) for name, each in chain.counts.items()} == {
        "cache": (1, 77),
        "server": (2, 10),
    }


def test_what_nobody_has_is_said() -> None:
    with pytest.raises(SourceError, match="nowhere"):
        Chain(cache=lambda _: None).fetch(PIECE)


def test_a_damaged_or_missing_chunk_of_a_store_is_none(tmp_path: Path) -> None:
    supply = of_store(ChunkStore(tmp_path))
    assert supply(PIECE) is None
    ChunkStore(tmp_path).put(PIECE.name, chunks.compress(b"another"))
    assert supply(PIECE) is None
    ChunkStore(tmp_path).put(PIECE.name, chunks.compress(CONTENT))
    assert supply(PIECE) == CONTENT


def test_a_disk_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "torn.vdi").write_bytes(b"no VDI")
    seeds = [Seed(tmp_path / name, (PIECE,)) for name in ("torn.vdi", "gone.vdi")]
    assert of_images(seeds)(PIECE) is None


def test_the_server_is_asked_once_more_where_a_chunk_was_spoilt_on_the_way() -> None:
    sent = iter([chunks.compress(b"spoilt"), chunks.compress(CONTENT)])
    assert of_server(lambda _: next(sent))(PIECE) == CONTENT
    with pytest.raises(VerificationError):
        of_server(lambda _: chunks.compress(b"spoilt"))(PIECE)
