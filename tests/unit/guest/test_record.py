"""The record of the appliance: what it holds, and what is said of a damaged one."""

import json
from pathlib import Path
from typing import Any

import pytest

from provision.guest import record, typed
from provision.guest.pool.accounts import Accounts
from provision.guest.pool.entitlement import Share, share_of

LIMITS = {"memory": 100, "cpu": 100, "disk": 10, "tmp": 5}
PLAIN: dict[str, Any] = {"admin": "sageadm", "accounts": ["nb1@localhost"], "limits": LIMITS}


def written(place: Path, **more: Any) -> Path:
    path = place / "guest.json"
    path.write_text(json.dumps(PLAIN | more))
    return path


def test_what_is_left_out_is_off(tmp_path: Path) -> None:
    told = record.read(written(tmp_path, of_another_release=1))
    assert (told.accounts, told.egress, told.courses) == (["nb1@localhost"], 0, {})


def test_the_administrators_word_replaces_the_configurations(tmp_path: Path) -> None:
    profiles = {"stats": {"title": "S", "kernels": [], "limits": {"cpu": 7}, "forked": False}}
    known = written(tmp_path, students={"emmy": {"cpu": 50}}, profiles=profiles)
    own = tmp_path / "students.json"
    assert share_of("emmy", "stats", record.shares(known, own)) == Share(100, 50, 10)
    own.write_text(json.dumps({"emmy": {"memory": 999}}))
    shares = record.shares(known, own)
    assert share_of("emmy", "stats", shares) == Share(999, 7, 10)
    assert shares["started"] == ["stats"]


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"version": 2}, "of form 2, not 1"),
        ({"accounts": "nb1"}, "accounts must be list"),
        ({"courses": {"a": {"members": [], "teachers": []}}}, "courses.a.quota is missing"),
        ({"groups": {"a": {"members": [1], "limits": {}}}}, "groups.a.members must be str, not 1"),
        ({"students": {"emmy": {"cpu": True}}}, "students.emmy.cpu must be int, not True"),
    ],
)
def test_a_wrong_one_is_named_with_what_mends_it(
    tmp_path: Path, more: dict[str, Any], complaint: str
) -> None:
    path = written(tmp_path, **more)
    with pytest.raises(typed.DamagedError) as caught:
        record.read(path)
    for part in (str(path), complaint, "appliance configure"):
        assert part in str(caught.value)


def test_none_is_as_bad(tmp_path: Path) -> None:
    with pytest.raises(typed.DamagedError, match="No such file"):
        record.read(tmp_path / "guest.json")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"emmy": 1}', "\0" * 64])
def test_damaged_accounts_are_named_with_what_mends_them(tmp_path: Path, text: str) -> None:
    path = tmp_path / "accounts.json"
    path.write_text(text)
    with pytest.raises(typed.DamagedError) as caught:
        Accounts(path).names()
    assert str(path) in str(caught.value)
    assert "appliance restore" in str(caught.value)
    assert path.read_text() == text
