import os
from pathlib import Path

import pytest

from provision.guest.pool import account
from provision.guest.pool.account import FIRST_STUDENT, read_settings, student_directory


def test_settings_are_read(tmp_path: Path) -> None:
    file = tmp_path / "pool.conf"
    file.write_text("# Ansible\ndirectory = /home/students\nhome_size = 268435456\n")
    settings = read_settings(file)
    assert (settings.directory, settings.home_size) == (Path("/home/students"), 268435456)


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Who was made the owner of what, without being root."""
    given: dict[str, int] = {}
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: given.update({Path(path).name: uid}))
    return given


def test_a_new_student_gets_the_first_free_number(tmp_path: Path, owners: dict[str, int]) -> None:
    path = student_directory(tmp_path, "alice")
    assert path == tmp_path / "alice"
    assert path.stat().st_mode & 0o777 == 0o700
    assert list(owners.values()) == [FIRST_STUDENT]


def test_a_directory_that_is_not_a_students_is_refused(tmp_path: Path) -> None:
    (tmp_path / "alice").mkdir()
    if os.getuid() < FIRST_STUDENT:
        with pytest.raises(OSError, match="not by a student's number"):
            student_directory(tmp_path, "alice")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "alice").symlink_to("/etc")
    with pytest.raises(OSError, match="not a directory"):
        student_directory(tmp_path, "alice")


def test_the_systems_users_are_never_reaped() -> None:
    with pytest.raises(OSError, match="system's user"):
        account.reap(0, grace=0)
