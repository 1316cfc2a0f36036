"""A stage is in the cache whole or not at all."""

import os
import threading
import time
from pathlib import Path

import pytest

from provision.build.cache import Cache, digest, forget

KEY = digest("one stage")
OTHER = digest("another")


def finish(cache: Cache, key: str, content: str = "artefact") -> None:
    with cache.claiming(key), cache.building(key, {"stage": "base"}) as part:
        (part / "file").write_text(content)


def test_a_finished_stage_is_found_with_its_record(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    assert not cache.has(KEY)
    finish(cache, KEY)
    assert cache.has(KEY)
    assert cache.record(KEY)["stage"] == "base"
    assert (cache.entry(KEY) / "file").read_text() == "artefact"


def test_after_a_power_cut_only_what_the_disk_has_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Cache(tmp_path)
    finish(one, KEY)
    finish(one, OTHER)
    one.settle(KEY)
    assert one.has(KEY)
    assert one.has(OTHER)
    monkeypatch.setattr("provision.build.cache._this_boot", lambda: "the next")
    assert one.has(KEY)
    assert not one.has(OTHER)
    finish(one, OTHER)
    assert one.has(OTHER)


def test_what_was_built_anew_meanwhile_is_not_taken_for_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Cache(tmp_path)
    finish(one, KEY)
    monkeypatch.setattr("provision.build.cache.time.time", lambda: 1.0)
    monkeypatch.setattr("provision.build.cache.run", lambda _: finish(one, KEY))
    one.settle(KEY)
    monkeypatch.setattr("provision.build.cache._this_boot", lambda: "the next")
    assert not one.has(KEY)


@pytest.mark.parametrize("left", ["", "{", '{"stage": "ba'])
def test_a_record_that_was_cut_short_is_none(tmp_path: Path, left: str) -> None:
    one = Cache(tmp_path)
    finish(one, KEY)
    (one.entry(KEY) / "stage.json").write_text(left)
    assert not one.has(KEY)
    finish(one, KEY, "whole")
    assert (one.entry(KEY) / "file").read_text() == "whole"


def test_a_failed_stage_leaves_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with (
        pytest.raises(RuntimeError),
        cache.claiming(KEY),
        cache.building(KEY, {}) as part,
    ):
        (part / "half").write_text("x")
        raise RuntimeError
    assert not cache.has(KEY)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_failed_stage_is_kept_when_asked_for(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with (
        pytest.raises(RuntimeError),
        cache.claiming(KEY),
        cache.building(KEY, {}, keep=True) as part,
    ):
        (part / "half").write_text("x")
        raise RuntimeError
    assert not cache.has(KEY)
    assert (cache.entry(KEY).with_suffix(".failed") / "half").exists()


def test_what_a_killed_build_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    left = cache.entry(KEY).with_suffix(".part")
    left.mkdir()
    (left / "half").write_text("x")
    finish(cache, KEY)
    assert not left.exists()
    assert not (cache.entry(KEY) / "half").exists()


def test_a_stage_that_is_made_again_replaces_the_old(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    finish(cache, KEY, "old")
    finish(cache, KEY, "new")
    assert (cache.entry(KEY) / "file").read_text() == "new"


def test_the_second_of_two_builds_waits_and_finds_it_done(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    begun = threading.Event()
    told: list[bool] = []

    def first() -> None:
        with cache.claiming(KEY) as unbuilt, cache.building(KEY, {}):
            told.append(unbuilt)
            begun.set()
            time.sleep(0.2)

    thread = threading.Thread(target=first)
    thread.start()
    begun.wait()
    with cache.claiming(KEY) as unbuilt:
        told.append(unbuilt)
    thread.join()
    assert told == [True, False]


def test_prune_removes_only_what_is_idle_and_not_needed(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    finish(cache, KEY)
    finish(cache, OTHER)
    for key in (KEY, OTHER):
        os.utime(cache.entry(key) / "stage.json", (0, 0))
    assert cache.prune({KEY}, seconds=60) == 1
    assert cache.has(KEY)
    assert not cache.has(OTHER)
    finish(cache, OTHER)
    assert cache.prune(set(), seconds=60) == 1, "the fresh one stays"
    assert cache.has(OTHER)


def test_prune_leaves_a_stage_that_is_being_built(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with cache.claiming(KEY), cache.building(KEY, {}) as part:
        os.utime(part, (0, 0))
        assert cache.prune(set(), seconds=60) == 0
        assert part.exists()


@pytest.mark.parametrize("name", [".part.gone", ".failed.gone", ".gone"])
@pytest.mark.parametrize("keep", [set(), {KEY}])
def test_prune_ends_what_a_killed_removal_began(tmp_path: Path, name: str, keep: set[str]) -> None:
    cache = Cache(tmp_path)
    finish(cache, KEY)
    left = tmp_path / (KEY[:32] + name)
    left.mkdir()
    (left / "half").write_text("x")
    assert cache.prune(keep, seconds=60) == 1
    assert not left.exists()
    assert cache.has(KEY)
    assert not list(tmp_path.glob("*.gone*"))


def test_what_nobody_used_for_a_while_is_forgotten(tmp_path: Path) -> None:
    old, new = tmp_path / "old.tar.zst", tmp_path / "new.tar.zst"
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    forget(tmp_path, seconds=60)
    forget(tmp_path / "missing", seconds=60)
    assert list(tmp_path.iterdir()) == [new]
