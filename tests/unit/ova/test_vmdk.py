"""What goes into a streamOptimized VMDK comes out again."""

import io
import random
import struct
import tempfile
import uuid
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.errors import VerificationError
from provision.ova import vmdk, vmdk_check
from provision.ova.stream import ByteStream, Member

GRAIN = 65536
IDENTITY = uuid.UUID("12345678-1234-5678-1234-567812345678")


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311 (data, not secrets)


def written(raw: Path, threads: int = 2) -> bytes:
    out = io.BytesIO()
    vmdk.write(
        raw, out.write, member="d.vmdk", identity=IDENTITY, advanced=lambda _: None, threads=threads
    )
    return out.getvalue()


def check(image: bytes) -> vmdk_check.VmdkFacts:
    member = Member(ByteStream(io.BytesIO(image), "d.ova"), "d.vmdk", len(image), {})
    return vmdk_check.check(member, lambda _: None)


def content(image: bytes) -> dict[int, bytes]:
    """Read an image the other way round, from its footer through its tables: grain -> data."""
    footer = image[-1024:-512]
    assert footer[:4] == b"KDMV"
    assert image[-512:] == bytes(512)
    capacity = struct.unpack_from("<Q", footer, 12)[0] * 512
    directory = struct.unpack_from("<Q", footer, 56)[0] * 512
    grains = {}
    for number in range(-(-capacity // (512 * GRAIN))):
        (table,) = struct.unpack_from("<I", image, directory + 4 * number)
        if not table:
            continue
        for entry, sector in enumerate(struct.unpack_from("<512I", image, table * 512)):
            if sector:
                start, size = struct.unpack_from("<QI", image, sector * 512)
                grain = number * 512 + entry
                assert start * 512 == grain * GRAIN
                grains[grain] = zlib.decompress(image[sector * 512 + 12 :][:size])
    return grains


extents = st.lists(
    st.tuples(
        st.integers(0, 33 * 2**20),  # offset
        st.integers(1, 3 * GRAIN),  # length
        st.sampled_from(["zeros", "text", "noise"]),
        st.integers(0, 255),  # seed
    ),
    max_size=6,
)


@settings(max_examples=40, deadline=None)
@given(sectors=st.integers(1, 33 * 2048), extents=extents)
def test_any_sparse_disk_round_trips(
    sectors: int, extents: list[tuple[int, int, str, int]]
) -> None:
    size = sectors * 512
    with tempfile.TemporaryDirectory() as directory:
        raw = Path(directory, "d.raw")
        with raw.open("wb") as file:
            for offset, length, kind, seed in extents:
                data = {
                    "zeros": bytes(length),
                    "text": (b"%d line\n" % seed) * (length // 7 + 1),
                    "noise": noise(length, seed),
                }[kind]
                file.seek(offset % size)
                file.write(data[:length])
            file.truncate(size)
        expected = raw.read_bytes()
        image = written(raw)
    grains = content(image)
    for grain in range(-(-size // GRAIN)):
        data = expected[grain * GRAIN :][:GRAIN].ljust(GRAIN, b"\0")
        assert grains.pop(grain, bytes(GRAIN)) == data
        assert data.count(0) < GRAIN or grain not in grains, "a grain of zeros is stored"
    assert not grains
    assert check(image).capacity == size


def test_thread_count_does_not_change_a_byte(tmp_path: Path) -> None:
    raw = tmp_path / "d.raw"
    raw.write_bytes(noise(2**20) + bytes(40 * 2**20) + b"end".ljust(512))
    assert written(raw, threads=1) == written(raw, threads=7)


def test_an_empty_disk_is_small(tmp_path: Path) -> None:
    raw = tmp_path / "d.raw"
    with raw.open("wb") as file:
        file.truncate(2**40)
    assert len(written(raw)) < 2**18
    assert check(written(raw)).stored == 0


def test_descriptor_names_the_image_and_no_host_path(tmp_path: Path) -> None:
    raw = tmp_path / "d.raw"
    raw.write_bytes(bytes(GRAIN))
    facts = check(written(raw))
    assert facts.descriptor["createType"] == "streamOptimized"
    assert facts.descriptor["ddb.uuid.image"] == str(IDENTITY)
    assert str(tmp_path) not in written(raw).decode("latin-1")


@pytest.mark.parametrize(
    ("at", "problem"),
    [
        (0, "no sparse VMDK"),
        (8, "no streamOptimized VMDK"),  # flags
        (20, "header is damaged"),  # grain size
        (66048, "does not inflate"),  # in the first grain
        (65536, "has no place here"),  # its disk sector
    ],
)
def test_damage_is_named(tmp_path: Path, at: int, problem: str) -> None:
    raw = tmp_path / "d.raw"
    raw.write_bytes(noise(2 * GRAIN))
    image = bytearray(written(raw))
    assert check(bytes(image)).stored == 2 * GRAIN
    image[at : at + 3] = b"\xff\xfe\xfd"
    with pytest.raises(VerificationError, match=problem):
        check(bytes(image))


def test_a_table_that_points_elsewhere_is_found(tmp_path: Path) -> None:
    raw = tmp_path / "d.raw"
    raw.write_bytes(noise(2 * GRAIN))
    image = written(raw)
    sectors = struct.pack("<II", 128, 128 + 129)
    assert image.count(sectors) == 1
    swapped = image.replace(sectors, struct.pack("<II", 128 + 129, 128))
    with pytest.raises(VerificationError, match="does not agree with its grains"):
        check(swapped)


def test_every_truncation_is_found(tmp_path: Path) -> None:
    raw = tmp_path / "d.raw"
    raw.write_bytes(b"text".ljust(GRAIN, b"."))
    image = written(raw)
    for size in range(0, len(image), 512):
        with pytest.raises(VerificationError):
            check(image[:size])
