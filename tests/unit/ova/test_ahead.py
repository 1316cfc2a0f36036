"""A disk that is compressed while it is written: the same bytes, and less to do afterwards."""

import os
import time
import uuid
from pathlib import Path

import pytest

from provision.ova import ahead, vmdk
from provision.ova.ahead import Ahead

TABLES = 3


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def written(raw: Path, known: vmdk.Known = vmdk.nothing) -> bytes:
    data = bytearray()
    vmdk.write(
        raw, data.extend, member="x.vmdk", identity=uuid.UUID(int=7), advanced=id, known=known
    )
    return bytes(data)


def follow(raw: Path) -> Ahead:
    """Fill an image table by table, and give the grains that were compressed meanwhile."""
    followed = Ahead()
    with followed.following(raw):
        with raw.open("wb") as file:
            file.truncate(TABLES * vmdk.TABLE_SPAN)
            for table in range(TABLES):
                file.seek(table * vmdk.TABLE_SPAN + vmdk.GRAIN)
                file.write(os.urandom(vmdk.GRAIN) + b"text" * vmdk.GRAIN)
                file.flush()
                time.sleep(0.1)
        deadline = time.monotonic() + 20
        while len(followed.grains(raw.name)(TABLES - 1)) < 5 and time.monotonic() < deadline:
            time.sleep(0.02)
    return followed


def test_what_was_compressed_meanwhile_is_what_would_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "root.raw"
    known = follow(raw).grains(raw.name)
    assert [sorted(known(table)) for table in range(TABLES)] == [[1, 2, 3, 4, 5]] * TABLES
    wanted = written(raw)
    monkeypatch.setattr(vmdk, "pack", None)  # there is nothing left to compress
    assert written(raw, known) == wanted


def test_what_changes_after_it_was_compressed_is_compressed_again(tmp_path: Path) -> None:
    raw = tmp_path / "root.raw"
    known = follow(raw).grains(raw.name)
    with raw.open("r+b") as file:
        for place in (vmdk.GRAIN, vmdk.TABLE_SPAN + 3 * vmdk.GRAIN, 9 * vmdk.GRAIN):
            file.seek(place)
            file.write(b"later")
        file.seek(2 * vmdk.TABLE_SPAN)
        file.write(bytes(6 * vmdk.GRAIN))
    assert written(raw, known) == written(raw)


@pytest.mark.parametrize("cores", [1, 2])
def test_an_image_that_is_not_made_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    followed = Ahead()
    with pytest.raises(KeyError), followed.following(tmp_path / "root.raw"):
        time.sleep(0.1)
        raise KeyError
    assert followed.grains("root.raw")(0) == {}


def test_no_more_is_kept_than_memory_has_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "MOST_BYTES", 1)
    raw = tmp_path / "root.raw"
    raw.write_bytes(b"text" * (TABLES * vmdk.TABLE_SPAN // 4))
    followed = Ahead()
    with followed.following(raw):
        time.sleep(0.5)
    known = followed.grains(raw.name)
    assert [bool(known(table)) for table in range(TABLES)] == [True, False, False]
