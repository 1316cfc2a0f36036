"""What an OVA holds already is not compressed again, and never changes what is written."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from provision.ova import OvaAppliance, OvaDisk, vmdk, write_ova

GRAIN = 65536
GRAINS = (0, 1, 3, 600, 601)  # of two tables, with gaps


@pytest.fixture
def disk(raw_disk: Callable[..., Path]) -> OvaDisk:
    noise = random.Random(1)  # noqa: S311 (data, not secrets)
    content = {grain * GRAIN: noise.randbytes(5000) * 5 for grain in GRAINS}
    return OvaDisk(name="root", raw_path=raw_disk("root.raw", 700 * GRAIN + 512, content))


@pytest.fixture
def compressed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every grain that is compressed."""
    calls: list[bytes] = []
    compress = vmdk.deflate.zlib_compress

    def count(data: bytes, level: int) -> bytearray:
        calls.append(data)
        return compress(data, level)

    monkeypatch.setattr(vmdk.deflate, "zlib_compress", count)
    return calls


def change(disk: OvaDisk, grain: int, data: bytes) -> None:
    with disk.raw_path.open("r+b") as raw:
        raw.seek(grain * GRAIN)
        raw.write(data)


def test_only_what_changed_is_compressed(
    tmp_path: Path, appliance: OvaAppliance, disk: OvaDisk, compressed: list[bytes]
) -> None:
    write_ova(tmp_path / "x.ova", appliance, [disk])
    assert len(compressed) == len(GRAINS)
    compressed.clear()
    change(disk, 3, b"other")
    change(disk, 650, b"new")
    change(disk, 601, bytes(30_000))  # now of zeros
    again = write_ova(tmp_path / "x.ova", replace(appliance, memory=2 << 30), [disk])
    assert len(compressed) == 2
    fresh = write_ova(tmp_path / "fresh.ova", replace(appliance, memory=2 << 30), [disk])
    assert again.sha256 == fresh.sha256


@pytest.mark.parametrize("place", ["grains", "tables", "end", "half", "no tar"])
def test_a_damaged_one_does_no_harm(
    tmp_path: Path, appliance: OvaAppliance, disk: OvaDisk, place: str
) -> None:
    path = tmp_path / "x.ova"
    fresh = write_ova(path, appliance, [disk])
    data = bytearray(path.read_bytes())
    match place:
        case "grains":
            middle = range(len(data) // 2, len(data) // 2 + 200)
        case "tables":
            middle = range(len(data) - 6000, len(data) - 1200)
        case "end":
            middle = range(len(data) - 10240, len(data))
        case "half":
            middle = range(0)
            del data[len(data) // 2 :]
        case _:
            middle = range(600)
    for at in middle:
        data[at] ^= 0xFF
    path.write_bytes(data)
    assert write_ova(path, appliance, [disk]).sha256 == fresh.sha256


def test_the_grains_of_another_compressor_are_left(
    tmp_path: Path,
    appliance: OvaAppliance,
    disk: OvaDisk,
    compressed: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as other:
        other.setattr(vmdk, "COMPRESSOR", "another")
        write_ova(tmp_path / "x.ova", appliance, [disk])
    compressed.clear()
    write_ova(tmp_path / "x.ova", appliance, [disk])
    assert len(compressed) == len(GRAINS)
