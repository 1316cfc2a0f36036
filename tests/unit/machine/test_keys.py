"""Key pairs are whole, and match, whatever became of the disk while they were written."""

from pathlib import Path

import paramiko
import pytest

from provision import files
from provision.errors import HostNotReadyError
from provision.machine import keys


def test_a_pair_is_two_files_that_fit(tmp_path: Path) -> None:
    key = tmp_path / "key"
    line = keys.generate(key, comment="who")
    assert line.startswith("ssh-ed25519 ")
    assert line.endswith(" who")
    assert (tmp_path / "key.pub").read_text() == f"{line}\n"
    assert key.stat().st_mode & 0o777 == 0o600
    assert paramiko.PKey.from_path(key).get_base64() == line.split()[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "key.pub"]


@pytest.mark.parametrize(
    "left", [None, "", "\n", "ssh-ed25519", "ssh-ed25519 AAAA other", "\0" * 80]
)
def test_a_public_key_that_is_missing_or_torn_is_made_again(
    tmp_path: Path, left: str | None
) -> None:
    key, public = tmp_path / "key", tmp_path / "key.pub"
    line = keys.generate(key, comment="who")
    public.unlink()
    if left is not None:
        public.write_text(left)
    assert keys.public(key).split() == line.split()[:2]
    assert public.read_text().split() == line.split()[:2]


def test_a_public_key_keeps_the_words_at_its_end(tmp_path: Path) -> None:
    line = keys.generate(tmp_path / "key", comment="admin of room 3")
    assert keys.public(tmp_path / "key") == line


@pytest.mark.parametrize("left", [b"", b"\0" * 400, b"-----BEGIN OPENSSH PRIVATE KEY-----\n"])
def test_a_private_key_that_is_no_key_is_named(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "key").write_bytes(left)
    with pytest.raises(HostNotReadyError, match="no private key") as refused:
        keys.public(tmp_path / "key")
    assert refused.value.hint


def test_a_full_disk_leaves_no_half_of_a_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(HostNotReadyError, match="No space left"):
        keys.generate(tmp_path / "key", comment="who")
    assert not list(tmp_path.iterdir())


def test_of_two_processes_that_make_a_pair_both_get_the_same(tmp_path: Path) -> None:
    first = keys.generate(tmp_path / "key", comment="one")
    second = keys.generate(tmp_path / "key", comment="two")
    assert first.split()[1] == second.split()[1]
