import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from provision.errors import UsageError, VerificationError
from provision.fleet import package
from provision.ova import minisign


def tar(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 5
            file.addfile(member, io.BytesIO(b"12345"))
    return path


def test_a_sage_at_the_top_or_below_one_directory(tmp_path: Path) -> None:
    assert package.read(tar(tmp_path / "a", "bin/sage", "lib/x"), "1").strip == 0
    found = package.read(tar(tmp_path / "b", "sage-1/bin/sage", "sage-1/lib/x"), "1")
    assert (found.strip, found.unpacked >= 10) == (1, True)


def test_the_digest_beside_it_counts(tmp_path: Path) -> None:
    path = tar(tmp_path / "a", "bin/sage")
    beside = tmp_path / "a.sha256"
    beside.write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  a\n")
    package.read(path, "1")
    beside.write_text(f"{'0' * 64}  a\n")
    with pytest.raises(UsageError, match="has sha256"):
        package.read(path, "1")


def test_a_signature_is_checked(tmp_path: Path) -> None:
    path, key = tar(tmp_path / "a", "bin/sage"), tmp_path / "key.pub"
    key.write_text(minisign.generate(tmp_path / "key").text())
    with pytest.raises(VerificationError):
        package.read(path, "1", key=key)
    signature = minisign.sign(path, tmp_path / "key", "sage 1")
    assert signature == tmp_path / "a.minisig"
    package.read(path, "1", key=key)
    tar(path, "bin/sage", "more")
    with pytest.raises(VerificationError):
        package.read(path, "1", key=key)


@pytest.mark.parametrize("names", [["lib/x"], ["a/bin/sage", "b/x"], ["../bin/sage", "bin/sage"]])
def test_what_is_no_sage_is_refused(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(UsageError):
        package.read(tar(tmp_path / "a", *names), "1")


def test_a_cut_off_file_is_refused(tmp_path: Path) -> None:
    path = tar(tmp_path / "a", "bin/sage")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UsageError, match="not a whole tar file"):
        package.read(path, "1")


@pytest.mark.parametrize("version", ["", "../x", "current", "a/b"])
def test_a_version_names_a_directory(tmp_path: Path, version: str) -> None:
    with pytest.raises(UsageError, match="cannot name"):
        package.read(tar(tmp_path / "a", "bin/sage"), version)
