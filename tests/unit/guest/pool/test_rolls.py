"""Rolls of learning platforms beside the record's."""

from pathlib import Path

import pytest

from provision.guest.pool.rolls import FILE, connections, enroll, merge, names, source_of
from provision.guest.typed import DamagedError

ALGEBRA = {"members": ["carl", "emmy"], "teachers": ["noether"], "quota": 5}
CONNECTED = {"a": "algebra", "b": "algebra"}
COURSES = {"algebra": ALGEBRA, "other": {"members": [], "teachers": [], "quota": 1}}


def test_without_a_platform_all_is_as_the_record_says(tmp_path: Path) -> None:
    assert merge(COURSES, tmp_path / ".courses", CONNECTED) == COURSES


def test_two_platforms_come_beside_who_was_written_by_hand(tmp_path: Path) -> None:
    enroll(tmp_path, "algebra", "a", {"members": ["lti-b", "lti-a"]}, whole=True)
    enroll(tmp_path, "algebra", "b", {"members": ["lti-c"], "teachers": ["lti-t"]}, whole=True)
    told = merge(COURSES, tmp_path, CONNECTED)
    assert told["other"] == COURSES["other"]
    assert told["algebra"] == {
        "members": ["carl", "emmy", "lti-a", "lti-b", "lti-c"],
        "teachers": ["noether", "lti-t"],
        "quota": 5,
    }
    enroll(tmp_path, "algebra", "a", {}, whole=True)
    assert merge(COURSES, tmp_path, CONNECTED)["algebra"]["members"] == ["carl", "emmy", "lti-c"]
    assert names(tmp_path, "algebra", "b") == {"lti-c", "lti-t"}
    assert names(tmp_path, "algebra", "a") == names(tmp_path, "other", "b") == set()


def test_who_comes_is_added_and_has_one_role(tmp_path: Path) -> None:
    for role in ("members", "teachers", "members"):
        enroll(tmp_path, "algebra", "a", {role: ["lti-a"]}, whole=False)
        enroll(tmp_path, "algebra", "a", {"members": ["lti-b"]}, whole=False)
        told = merge(COURSES, tmp_path, CONNECTED)["algebra"]
        both = [*told["members"], *told["teachers"]]
        assert both.count("lti-a") == both.count("lti-b") == 1
        assert "lti-a" in told[role]


def test_who_is_of_a_platform_that_is_gone_is_nobody(tmp_path: Path) -> None:
    """Taken out of the configuration, or connected with another course: its roll says nothing."""
    enroll(tmp_path, "algebra", "a", {"members": ["lti-a"], "teachers": ["lti-t"]}, whole=True)
    assert merge(COURSES, tmp_path, {}) == COURSES
    assert merge(COURSES, tmp_path, {"a": "other"}) == COURSES
    assert merge(COURSES, tmp_path, CONNECTED) != COURSES


def test_a_platforms_course_is_named_by_all_that_parts_it_from_others() -> None:
    platform = {"issuer": "i", "client_id": "c", "deployments": ["1", "2"]}
    courses = [{"context": "x", "course": "algebra"}]
    courses += [{"context": "x", "deployment": "2", "course": "other"}]
    assert connections([{**platform, "courses": courses}]) == {
        source_of("i", "c", "1", "x"): "algebra",
        source_of("i", "c", "2", "x"): "other",
    }


def test_who_teaches_at_one_platform_does_not_hand_in_to_himself(tmp_path: Path) -> None:
    enroll(tmp_path, "algebra", "a", {"members": ["lti-a"]}, whole=True)
    enroll(tmp_path, "algebra", "b", {"teachers": ["lti-a"]}, whole=True)
    told = merge(COURSES, tmp_path, CONNECTED)["algebra"]
    assert ("lti-a" in told["members"], "lti-a" in told["teachers"]) == (False, True)


def test_what_is_written_by_hand_stays_though_a_platform_says_otherwise(tmp_path: Path) -> None:
    courses = {"algebra": {"members": ["lti-a"], "teachers": ["lti-t"], "quota": 1}}
    enroll(tmp_path, "algebra", "a", {"members": ["lti-t"], "teachers": ["lti-a"]}, whole=True)
    assert merge(courses, tmp_path, CONNECTED) == courses


@pytest.mark.parametrize(
    "name", ["carl", "noether", "lti", "LTI-a", "lti-A", "lti-/", "lti-\n", "", "lti-" + "a" * 61]
)
def test_names_of_nobody_of_a_platform(tmp_path: Path, name: str) -> None:
    for role in ("members", "teachers"):
        with pytest.raises(ValueError, match="no name of a platform"):
            enroll(tmp_path, "algebra", "a", {role: [name]}, whole=False)
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"algebra": {"a": {"members": [5]}}}', '{"a": 5}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(DamagedError, match=r"rolls\.json"):
        merge(COURSES, tmp_path, CONNECTED)
