"""A layer keeps no time later than the build's clock."""

import os
from pathlib import Path

from provision.jeos.layers import clamp_times

EPOCH = 1_700_000_000


def test_everything_later_is_set_to_the_epoch_and_earlier_times_stay(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "new").write_text("x")
    (tmp_path / "lib" / "old").write_text("x")
    os.utime(tmp_path / "lib" / "old", (1_600_000_000, 1_600_000_000))
    (tmp_path / "lib64").symlink_to("lib")
    (tmp_path / "dangling").symlink_to("nowhere")
    clamp_times(tmp_path, EPOCH)
    times = {p.name: p.lstat().st_mtime for p in (tmp_path, *tmp_path.rglob("*"))}
    assert times.pop("old") == 1_600_000_000
    assert set(times.values()) == {EPOCH}


def test_a_file_that_was_read_long_ago_is_as_one_that_is_read_now(tmp_path: Path) -> None:
    file = tmp_path / "installed"
    file.touch()
    os.utime(file, (315_532_800, 315_532_800))
    clamp_times(tmp_path, 1_700_000_000)
    status = file.stat()
    assert (status.st_atime, status.st_mtime) == (1_700_000_000, 315_532_800)
