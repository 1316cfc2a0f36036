"""A disk is compressed while it is made; what changed behind the compressor is made again."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from provision.ova import OvaAppliance, OvaDisk, ahead, vmdk, write_ova

GRAIN = 65536
PATIENCE_SECONDS = 60


@pytest.fixture
def disk(raw_disk: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> OvaDisk:
    monkeypatch.setattr(ahead, "POLL_SECONDS", 0.01)
    noise = random.Random(1)  # noqa: S311 (data, not secrets)
    content = {grain * GRAIN: noise.randbytes(9000) * 5 for grain in (0, 2, 700, 701, 1500)}
    return OvaDisk(name="root", raw_path=raw_disk("root.raw", 1600 * GRAIN, content))


@pytest.fixture
def compressed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """In which thread each grain was compressed."""
    threads: list[str] = []
    compress = vmdk.compress

    def count(data: bytes) -> bytearray:
        threads.append(threading.current_thread().name)
        return compress(data)

    monkeypatch.setattr(vmdk, "compress", count)
    return threads


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_writer_takes_what_stayed_and_the_bytes_are_the_same(
    tmp_path: Path, appliance: OvaAppliance, disk: OvaDisk, compressed: list[str]
) -> None:
    follower = ahead.Ahead(disk.raw_path)
    with follower.following():
        wait_for(lambda: len(compressed) == 5)
        with disk.raw_path.open("r+b") as raw:  # behind its back
            raw.seek(701 * GRAIN)
            raw.write(b"later")
    compressed.clear()
    written = write_ova(tmp_path / "x.ova", appliance, [replace(disk, known=follower.known)])
    assert len(compressed) == 1
    fresh = write_ova(tmp_path / "fresh.ova", appliance, [disk])
    assert written.sha256 == fresh.sha256


def test_an_image_that_never_comes_holds_nobody_up(tmp_path: Path) -> None:
    follower = ahead.Ahead(tmp_path / "none.raw")
    with pytest.raises(KeyError), follower.following():
        raise KeyError
    assert follower.known(0) == {}


def test_it_takes_no_more_memory_than_it_was_given(
    tmp_path: Path, appliance: OvaAppliance, disk: OvaDisk, compressed: list[str]
) -> None:
    follower = ahead.Ahead(disk.raw_path, room=1)
    with follower.following():
        wait_for(lambda: follower._tables.keys() == {0, 1, 2})
    assert len(compressed) == 1
    write_ova(tmp_path / "x.ova", appliance, [replace(disk, known=follower.known)])
    assert len(compressed) == 5
