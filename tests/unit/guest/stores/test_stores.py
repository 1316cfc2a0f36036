"""What a synchronisation decides, and what a student's settings may be."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.guest.stores.remotes import StoreError, StudentStores
from provision.guest.stores.sync import Plan, decide, files_here

SETTINGS = {"type": "webdav", "url": "https://cloud.school.test", "user": "emmy", "pass": "x"}
sides = st.dictionaries(
    st.sampled_from("abc"), st.integers(1, 2).map(lambda number: [number, number]), max_size=3
)


def paths(plan: Plan) -> dict[str, Any]:
    return {name: value for name, value in vars(plan).items() if value}


@pytest.mark.parametrize(
    ("ours", "theirs", "known", "wanted"),
    [
        (1, None, None, {"send": ["a"]}),
        (None, 1, None, {"fetch": ["a"]}),
        (1, 1, (1, 1), {}),
        (2, 1, (1, 1), {"send": ["a"]}),
        (1, 2, (1, 1), {"fetch": ["a"]}),
        (2, 2, (1, 1), {"fetch": ["a"], "conflicts": {"a"}}),
        (1, 1, None, {"fetch": ["a"], "conflicts": {"a"}}),  # fetched and compared
        (None, 1, (1, 1), {"remove_there": ["a"]}),
        (1, None, (1, 1), {"remove_here": ["a"]}),
        (None, 2, (1, 1), {"fetch": ["a"]}),  # a change outlives a removal
        (2, None, (1, 1), {"send": ["a"]}),
        (None, None, (1, 1), {}),
    ],
)
def test_who_has_changed_decides(ours: Any, theirs: Any, known: Any, wanted: Any) -> None:
    def side(value: Any) -> dict[str, Any]:
        return {} if value is None else {"a": [value]}

    before = {} if known is None else {"a": ([known[0]], [known[1]])}
    assert paths(decide(side(ours), side(theirs), before)) == wanted


@given(ours=sides, theirs=sides, before=sides)
def test_nothing_that_changed_is_removed_or_overwritten(
    ours: dict[str, Any], theirs: dict[str, Any], before: dict[str, Any]
) -> None:
    plan = decide(ours, theirs, {path: (each, each) for path, each in before.items()})
    for path in plan.remove_here:
        assert ours[path] == before[path]
    for path in plan.remove_there:
        assert theirs[path] == before[path]
    for path in plan.send:
        assert theirs.get(path) in (None, before.get(path))
    for path in set(plan.fetch) - plan.conflicts:
        assert ours.get(path) in (None, before.get(path))


def test_links_devices_and_odd_names_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/plain").write_text("x")
    (tmp_path / "link").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "two\nlines").touch()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).touch()
    found, odd = files_here(tmp_path)
    assert set(found) == {"sub/plain"}
    assert sorted(odd) == ["link", "pipe", "two\nlines", "\udcff"]


def test_settings_are_for_their_owner_only(tmp_path: Path) -> None:
    stores = StudentStores(tmp_path)
    store = stores.add("cloud", "school/notebook", SETTINGS)
    assert (store.remote, store.folder) == ("cloud:school/notebook", tmp_path / "cloud")
    assert stores.directory.stat().st_mode & 0o777 == 0o700
    assert stores.config.stat().st_mode & 0o777 == 0o600
    stores.keep("cloud", {"files": {}, "last": {"time": 0, "problems": []}})
    stores.remove("cloud")
    assert stores.names() == []
    assert stores.state("cloud")["last"] is None


@pytest.mark.parametrize("name", ["", "A", "-a", "a/b", "..", "a" * 32, "a\n"])
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="not a name"):
        StudentStores(tmp_path).check(name)


@pytest.mark.parametrize("folder", ["", "/", "a//b", "../a", "a\nb", "."])
def test_folders_that_are_none(tmp_path: Path, folder: str) -> None:
    with pytest.raises(StoreError, match="not the name of a folder"):
        StudentStores(tmp_path).add("cloud", folder, SETTINGS)


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    stores = StudentStores(tmp_path)
    stores.add("cloud", "notebook", SETTINGS)
    with pytest.raises(StoreError, match="connected already"):
        stores.check("cloud")
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(StoreError, match="not a folder"):
        stores.check("link")
    with pytest.raises(StoreError, match="connected: cloud"):
        stores.get("other")


def test_one_at_a_time(tmp_path: Path) -> None:
    stores = StudentStores(tmp_path)
    with (
        stores.turn("cloud"),
        pytest.raises(StoreError, match="already"),
        stores.turn("cloud"),
    ):
        pass
    with stores.turn("cloud"):
        pass


def test_a_state_that_was_cut_off_counts_as_none(tmp_path: Path) -> None:
    stores = StudentStores(tmp_path)
    stores.add("cloud", "notebook", SETTINGS)
    stores.state_file("cloud").write_text('{"files": {"a"')
    assert stores.state("cloud") == {"files": {}, "last": None}
