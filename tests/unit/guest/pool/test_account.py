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


@pytest.mark.parametrize(
    ("stat", "runs"),
    [
        ("7 (python3) S 1 7", True),
        ("7 (python3) Z 1 7", False),
        ("7 (a) Z (b) R 1 7", True),
        ("7 (x) S) X 1 7", False),
    ],
)
def test_a_thread_runs_by_its_state(stat: str, runs: bool) -> None:
    assert account._runs(stat) is runs
