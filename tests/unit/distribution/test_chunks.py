"""Cutting, naming and believing chunks."""

import contextlib
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.distribution import chunks
from provision.distribution.chunks import BLOCK, MAX_BLOCKS, ChunkStore
from provision.errors import VerificationError


def _content(blocks: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(blocks * BLOCK)  # noqa: S311 (content for a test)


def _runs(content: bytes, sizes: list[int]) -> list[tuple[int, bytes]]:
    runs, position = [], 0
    for size in [*sizes, len(content)]:
        if part := content[position : position + size * BLOCK]:
            runs.append((position, part))
        position += len(part)
    return runs


@given(st.lists(st.integers(1, 9), max_size=30))
def test_division_into_runs_makes_no_difference(sizes: list[int]) -> None:
    content = _content(20) + bytes(5 * BLOCK) + _content(90, seed=2)
    assert list(chunks.cut(_runs(content, sizes))) == list(chunks.cut([(0, content)]))


def test_chunks_and_zeros_are_the_whole_disk() -> None:
    content = bytes(3 * BLOCK) + _content(300) + bytes(BLOCK) + _content(7, seed=2)
    rebuilt = bytearray(len(content))
    for offset, chunk in chunks.cut([(0, content)]):
        assert 0 < len(chunk) <= MAX_BLOCKS * BLOCK
        rebuilt[offset : offset + len(chunk)] = chunk
    assert rebuilt == content


def test_what_moved_is_found_again() -> None:
    """An inserted block costs a chunk or two, not all that follows."""
    old = _content(600)
    new = old[: 50 * BLOCK] + _content(1, seed=9) + old[50 * BLOCK :]
    known = {chunks.name(chunk) for _, chunk in chunks.cut([(0, old)])}
    fresh = [chunk for _, chunk in chunks.cut([(0, new)]) if chunks.name(chunk) not in known]
    assert sum(map(len, fresh)) < len(new) / 5


def test_holes_are_not_read(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    with image.open("wb") as file:
        file.truncate(8 << 30)
        file.seek(5 << 30)
        file.write(_content(3))
    (only,) = chunks.cut(chunks.read(image))
    assert only == (5 << 30, _content(3))


def test_digest_tells_place_and_content_apart() -> None:
    one, two = chunks.name(b"1"), chunks.name(b"2")
    digests = {chunks.digest(pairs) for pairs in ([(0, one)], [(4096, one)], [(0, two)], [])}
    assert len(digests) == 4


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_a_flipped_bit_is_never_believed(position: int, bit: int) -> None:
    content = b"abc" * 5000
    data = bytearray(chunks.compress(content))
    data[position % len(data)] ^= 1 << bit
    with contextlib.suppress(VerificationError):
        assert chunks.decompress(bytes(data), chunks.name(content)) == content


@pytest.mark.parametrize("data", [b"", b"no zstd", chunks.compress(b"something else")])
def test_other_data_is_not_believed(data: bytes) -> None:
    with pytest.raises(VerificationError):
        chunks.decompress(data, chunks.name(b"wanted"))


def test_store_keeps_and_leaves_no_parts(tmp_path: Path) -> None:
    store = ChunkStore(tmp_path)
    name = chunks.name(b"x")
    store.put(name, b"data")
    assert store.path(name).read_bytes() == b"data"
    assert [path.name for path in tmp_path.rglob("*.*")] == [f"{name}.zst"]
