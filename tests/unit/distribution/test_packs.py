"""Packs of chunks: what is in one follows from the list, and is believed only chunk by chunk."""

import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from provision.distribution import chunks, packs
from provision.distribution.chunks import Piece
from provision.distribution.packs import Pack, Packed, divide
from provision.distribution.source import MissingError, SourceError
from provision.errors import VerificationError


def listed(disk: Path) -> list[Piece]:
    return [
        Piece(offset, len(content), chunks.name(content), 0)
        for offset, content in chunks.cut(chunks.read(disk))
    ]


def contents(disk: Path) -> dict[str, bytes]:
    return {chunks.name(content): content for _, content in chunks.cut(chunks.read(disk))}


def made(pack: Pack, disk: Path) -> bytes:
    found = contents(disk)
    return packs.compress(pack, (chunks.compress(found[piece.name]) for piece in pack.pieces))


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """20 MB, a part of which it has twice, a hole, and an end that is no whole block."""
    drawn = random.Random(3)  # noqa: S311 (data, not secrets)
    twice = drawn.randbytes(1 << 20)
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.write(twice + drawn.randbytes(9 << 20))
        file.seek(4 << 20, os.SEEK_CUR)
        file.write(twice + drawn.randbytes(9 << 20) + b"end")
    return path


def test_a_disks_packs_have_each_chunk_once_and_unpack_to_it(disk: Path) -> None:
    wanted, divided = contents(disk), divide(listed(disk))
    members = [piece.name for pack in divided for piece in pack.pieces]
    assert sorted(members) == sorted(wanted)
    assert len(divided) > 3
    assert {pack.name for pack in divided} == {pack.name for pack in divide(listed(disk))}
    for pack in divided:
        assert sum(piece.length for piece in pack.pieces) <= packs.SIZE
        data = made(pack, disk)
        assert len(data) < packs.FILE_LIMIT
        assert packs.unpack(data, pack).items() <= wanted.items()


def test_a_changed_chunk_leaves_other_packs_as_they_were(disk: Path) -> None:
    before = {pack.name for pack in divide(listed(disk))}
    with disk.open("r+b") as file:
        file.seek(5 << 20)
        file.write(b"changed")
    after = {pack.name for pack in divide(listed(disk))}
    assert before != after
    assert len(before - after) == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-9],
        lambda data: b"",
        lambda data: zstandard.compress(zstandard.decompress(data)[:-1] + b"?"),
        lambda data: zstandard.compress(zstandard.decompress(data) + b"more"),
        lambda data: zstandard.ZstdCompressor(write_content_size=False).compress(data),
        lambda _: zstandard.compress(bytes(200 << 20)),
    ],
)
def test_another_pack_is_refused(disk: Path, spoil: Callable[[bytes], bytes]) -> None:
    pack = divide(listed(disk))[0]
    with pytest.raises(VerificationError):
        packs.unpack(spoil(made(pack, disk)), pack)


def test_each_pack_is_fetched_once_for_all_its_chunks(disk: Path) -> None:
    asked, heard = list[str](), dict[str, bytes]()

    def get(pack: Pack) -> bytes:
        asked.append(pack.name)
        return made(pack, disk)

    divided = divide(listed(disk))
    packed = Packed(divided, get, fetched=heard.update)
    found = {piece.name: packed.supply(piece) for piece in listed(disk)}
    assert found == heard == contents(disk)
    assert sorted(asked) == sorted(pack.name for pack in divided)
    assert packed.supply(Piece(0, 1, "0" * 64, 1)) is None
    keepers = {packed.keeper(piece) for piece in listed(disk)}
    assert keepers == set(asked)


def test_a_folder_without_packs_is_asked_once(disk: Path) -> None:
    asked = list[str]()

    def get(pack: Pack) -> bytes:
        asked.append(pack.name)
        raise MissingError(pack.path)

    packed = Packed(divide(listed(disk)), get)
    assert {packed.supply(piece) for piece in listed(disk)} == {None}
    assert len(asked) <= packs.AHEAD


@pytest.mark.parametrize("error", [SourceError("down"), VerificationError("damaged")])
def test_a_pack_that_cannot_be_had_leaves_its_chunks_to_others(
    disk: Path, error: Exception
) -> None:
    divided = divide(listed(disk))

    def get(pack: Pack) -> bytes:
        if pack == divided[0]:
            raise error
        return made(pack, disk)

    packed = Packed(divided, get)
    missing = {piece.name for piece in listed(disk) if packed.supply(piece) is None}
    assert missing == {piece.name for piece in divided[0].pieces}


def test_the_next_are_fetched_while_one_is_read(disk: Path) -> None:
    divided = divide(listed(disk))
    all_at_once = threading.Barrier(3, timeout=20)

    def get(pack: Pack) -> bytes:
        all_at_once.wait()
        return made(pack, disk)

    packed = Packed(divided[:3], get, ahead=3)
    assert packed.supply(divided[0].pieces[0])


def test_who_asks_for_a_chunk_on_its_way_waits_for_it(disk: Path) -> None:
    divided, told = divide(listed(disk)), list[str]()
    begun, go_on = threading.Event(), threading.Event()

    def get(pack: Pack) -> bytes:
        begun.set()
        assert go_on.wait(20)
        return made(pack, disk)

    packed = Packed(divided, get, ahead=1, fetched=told.extend)
    asking = threading.Thread(target=packed.supply, args=(divided[0].pieces[0],))
    asking.start()
    assert begun.wait(20)
    packed.wait(divided[1].pieces[0].name)  # of which nothing is on its way
    packed.wait("0" * 64)
    waiting = threading.Thread(target=packed.wait, args=(divided[0].pieces[-1].name,))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive() and not told
    go_on.set()
    waiting.join(20)
    assert divided[0].pieces[-1].name in told
    asking.join(20)


def test_who_shares_fetches_only_what_is_asked_for(disk: Path) -> None:
    asked = list[Pack]()

    def get(pack: Pack) -> bytes:
        asked.append(pack)
        return made(pack, disk)

    divided = divide(listed(disk))
    packed = Packed(divided, get, ahead=1)
    assert packed.supply(divided[1].pieces[-1])
    assert packed.supply(divided[1].pieces[0])
    assert asked == [divided[1]]
