"""What comes by multicast comes from anybody: only published files are kept."""

import io
import tarfile
from pathlib import Path

import pytest

from provision.distribution import multicast
from provision.errors import VerificationError


def _stream(name: str, kind: bytes = tarfile.REGTYPE, size: int = 5) -> io.BytesIO:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, size, "/etc/passwd"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w|") as stream:
        stream.addfile(member, io.BytesIO(bytes(size)))
    packed.seek(0)
    return packed


def _take(packed: io.BytesIO, target: Path) -> None:
    with tarfile.open(fileobj=packed, mode="r|") as stream:
        for member in stream:
            multicast._keep(stream, member, target)


def test_published_files_are_kept(tmp_path: Path) -> None:
    for name in ("chunks/ab/abcd.zst", "versions/1.0-a/manifest.json", "channels/stable.minisig"):
        _take(_stream(name), tmp_path)
        assert (tmp_path / name).read_bytes() == bytes(5)


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/x", "chunks/../../x", "chunks/ab/../x", "x", "seats/a.json", "chunks/a"],
)
def test_nothing_else_is(tmp_path: Path, name: str) -> None:
    with pytest.raises(VerificationError):
        _take(_stream(name), tmp_path / "in")
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(VerificationError, match="no published file"):
        _take(_stream("chunks/ab/abcd.zst", kind, 0), tmp_path)
