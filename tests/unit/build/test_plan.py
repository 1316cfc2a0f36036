"""The plan is a pure function: what changed decides what runs, and the reason says so."""

from collections.abc import Mapping
from typing import Any

import pytest

from provision.build.plan import StageInputs, changes, plan

STAGES = (
    StageInputs("base", {"suite": "trixie"}),
    StageInputs("packages", {"roles": {"packages/tasks.yml": "a"}, "extra": ["git"]}),
    StageInputs("configure", {"variables": {"timezone": "UTC"}}),
)


def finished(stages: tuple[StageInputs, ...]) -> set[str]:
    return {step.key for step in plan(stages, has=lambda _: False, last={})}


def remembered(stages: tuple[StageInputs, ...]) -> Mapping[str, Mapping[str, Any]]:
    return {stage.name: stage.inputs for stage in stages}


def replanned(new: tuple[StageInputs, ...], **options: Any) -> dict[str, str]:
    steps = plan(new, has=finished(STAGES).__contains__, last=remembered(STAGES), **options)
    return {step.name: "cached" if step.cached else step.reason for step in steps}


def test_a_first_build_runs_everything() -> None:
    steps = plan(STAGES, has=lambda _: False, last={})
    assert [step.reason for step in steps] == ["not built yet"] * 3


def test_the_same_inputs_run_nothing() -> None:
    assert set(replanned(STAGES).values()) == {"cached"}


def test_a_change_runs_its_stage_and_all_after_it() -> None:
    base, packages, configure = STAGES
    edited = StageInputs("packages", {**packages.inputs, "extra": ["git", "vim"]})
    assert replanned((base, edited, configure)) == {
        "base": "cached",
        "packages": "changed: extra",
        "configure": "follows packages",
    }


def test_the_reason_names_the_file_inside_a_group() -> None:
    base, _, configure = STAGES
    edited = StageInputs("packages", {"roles": {"packages/tasks.yml": "b"}, "extra": ["git"]})
    assert replanned((base, edited, configure))["packages"] == "changed: roles.packages/tasks.yml"


def test_a_late_change_leaves_the_slow_stages_alone() -> None:
    base, packages, _ = STAGES
    edited = StageInputs("configure", {"variables": {"timezone": "Europe/Vienna"}})
    assert replanned((base, packages, edited)) == {
        "base": "cached",
        "packages": "cached",
        "configure": "changed: variables.timezone",
    }


def test_from_forces_a_stage_and_all_after_it() -> None:
    assert replanned(STAGES, from_stage="packages") == {
        "base": "cached",
        "packages": "asked for by --from",
        "configure": "asked for by --from",
    }


def test_a_pruned_result_is_made_again() -> None:
    keys = finished(STAGES)
    last = plan(STAGES, has=lambda _: False, last={})[-1].key
    steps = plan(STAGES, has=(keys - {last}).__contains__, last=remembered(STAGES))
    assert steps[-1].reason == "its result is no longer in the cache"


def test_the_order_of_keys_does_not_matter() -> None:
    one = (StageInputs("base", {"a": 1, "b": 2}),)
    other = (StageInputs("base", {"b": 2, "a": 1}),)
    assert finished(one) == finished(other)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, ()),
        ({"a": 1}, {}, ("a",)),
        ({}, {"a": 1}, ("a",)),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": 1, "y": 3}}, ("a.y",)),
        ({"a": {"x": 1}}, {"a": [1]}, ("a",)),
    ],
)
def test_changes_names_what_differs(
    before: dict[str, Any], after: dict[str, Any], expected: tuple[str, ...]
) -> None:
    assert changes(before, after) == expected
