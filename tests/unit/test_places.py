"""Where files go: what cannot be written is said first, and nothing is replaced unasked."""

import os
from pathlib import Path

import pytest

from provision import places
from provision.errors import HostNotReadyError, UsageError
from provision.files import ordinary, write_whole


def test_a_link_is_followed_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/file")
    place = ordinary(tmp_path / "link")
    write_whole(place, b"text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there/file").read_bytes() == b"text"


def test_what_is_no_ordinary_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    (tmp_path / "around").symlink_to("around")
    for name in ("fifo", "link", "around", "", "/dev/null", "/dev/full"):
        with pytest.raises(UsageError) as refused:
            ordinary(tmp_path / name)
        assert refused.value.hint


def test_no_directory_is_made_unasked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no directory") as refused:
        ordinary(tmp_path / "a/b/c.ova")
    assert refused.value.hint == f"mkdir -p {tmp_path}/a/b"
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_of_its_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError):
        ordinary(tmp_path / "file/c.ova")


@pytest.mark.parametrize("home", ["/dev/null", "/proc/nowhere"])
@pytest.mark.parametrize("place", ["state", "data"])
def test_a_home_that_cannot_be_written_is_named(
    home: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", home)
    variable = f"XDG_{place.upper()}_HOME"
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(HostNotReadyError, match=home) as refused:
        getattr(places, place)("sage")
    assert variable in (refused.value.hint or "")


def test_a_full_disk_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(HostNotReadyError, match="No space left"):
        places.state("sage")
