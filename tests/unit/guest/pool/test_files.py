import os
from pathlib import Path

import pytest

from provision.guest.pool import courses, files
from provision.guest.pool.archives import archives
from provision.guest.pool.courses import views
from provision.guest.pool.files import STUDENTS, free_number, student_directory


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
    assert list(owners.values()) == [STUDENTS[0]]


def test_a_directory_that_is_not_a_students_is_refused(tmp_path: Path) -> None:
    (tmp_path / "alice").mkdir()
    if os.getuid() < STUDENTS[0]:
        with pytest.raises(OSError, match="not by a student's number"):
            student_directory(tmp_path, "alice")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "alice").symlink_to("/etc")
    with pytest.raises(OSError, match="not a directory"):
        student_directory(tmp_path, "alice")


def test_the_number_of_an_archive_is_not_given_again(
    tmp_path: Path, owners: dict[str, int]
) -> None:
    (tmp_path / ".archive").mkdir()
    (tmp_path / ".archive" / "emmy.n@x.org.50041.20261121T120000.tar.gz").touch()
    (tmp_path / ".archive" / "emmy.50042.20261121T120000.part").touch()
    assert [(each.student, each.number) for each in archives(tmp_path)] == [("emmy.n@x.org", 50041)]
    student_directory(tmp_path, "alice")
    assert list(owners.values()) == [50042]


def test_numbers_end() -> None:
    with pytest.raises(OSError, match="are taken"):
        free_number(range(5, 7), [5, 6])
    assert free_number(range(5, 7), [1, 5, 900]) == 6


COURSES = {
    "algebra": {"members": ["carl", "emmy"], "teachers": ["noether"], "quota": 1 << 20},
    "sets": {"members": ["georg"], "teachers": ["emmy"], "quota": 1 << 20},
}


@pytest.fixture
def course_files(tmp_path: Path, owners: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of students that are owned by whoever runs the tests."""
    mine = range(os.getuid(), os.getuid() + 1)
    monkeypatch.setattr(files, "STUDENTS", mine)
    monkeypatch.setattr(courses, "limit_disk", lambda *_: None)
    return tmp_path


def test_a_student_is_shown_the_own_work_and_a_teacher_all(course_files: Path) -> None:
    for name in ("carl", "emmy", "georg"):
        (course_files / name).mkdir()

    def shown(student: str) -> dict[str, str]:
        return {view.place: view.options for view in views(course_files, student, COURSES)}

    own, closed = "nosuid,nodev", "nosuid,nodev,ro"
    others = "nosuid,nodev,nosymfollow,noexec"
    shared = {f"algebra/{part}": closed for part in ("material", "hand-out")}
    assert shown("carl") == {**shared, "algebra/hand-in": own}
    assert shown("noether") == {
        **dict.fromkeys(shared, own),
        **{"algebra/source": own, "algebra/results": closed},
        "algebra/hand-in/carl": others,
        "algebra/hand-in/emmy": others,
    }
    assert list(shown("emmy")) == [
        *(*shared, "algebra/hand-in"),
        *(f"sets/{part}" for part in ("material", "hand-out", "source", "results")),
        "sets/hand-in/georg",
    ]
    assert shown("hilbert") == {}
    assert {path.stat().st_mode & 0o777 for path in (course_files / ".courses").rglob("*")} == {
        0o700
    }
