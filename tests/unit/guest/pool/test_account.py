from pathlib import Path

import pytest

from provision.guest.pool import account
from provision.guest.pool.account import read_settings


def test_settings_are_read(tmp_path: Path) -> None:
    file = tmp_path / "pool.conf"
    file.write_text("# Ansible\ndirectory = /home/students\nhome_size = 268435456\n")
    settings = read_settings(file)
    assert (settings.directory, settings.home_size) == (Path("/home/students"), 268435456)


def test_the_systems_users_are_never_reaped() -> None:
    with pytest.raises(OSError, match="system's user"):
        account.reap(0, grace=0)
