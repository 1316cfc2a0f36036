"""What a build has to do: a pure function of the stages' inputs and what is cached."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provision.build.cache import digest

STAGES = ("base", "packages", "configure", "seal", "disks", "vm", "export")


@dataclass(frozen=True)
class StageInputs:
    """A stage by what decides its result, apart from the stage before it.

    Args:
        name: one of STAGES.
        inputs: JSON values; any change of one makes the stage, and all after it, run again.
    """

    name: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """One stage of a planned build.

    Args:
        name: the stage.
        key: the hash of its inputs and of those of all stages before it.
        inputs: what went into the hash.
        cached: whether its result is there already.
        reason: why it must run, for people; empty when it is cached.
        forced: run it even if another build has finished it meanwhile.
    """

    name: str
    key: str
    inputs: Mapping[str, Any]
    cached: bool
    reason: str
    forced: bool


def plan(
    stages: Sequence[StageInputs],
    *,
    has: Callable[[str], bool],
    last: Mapping[str, Mapping[str, Any]],
    from_stage: str | None = None,
) -> tuple[Step, ...]:
    """Lay out the steps of a build.

    Args:
        stages: in order.
        has: tells whether the stage with this key is in the cache.
        last: the inputs of each stage in the last build of this appliance, to explain by.
        from_stage: run this stage and all after it even if they are cached.
    """
    steps: list[Step] = []
    parent, forced, because = "", False, ""
    for stage in stages:
        key = digest({"stage": stage.name, "parent": parent, "inputs": dict(stage.inputs)})
        forced = forced or stage.name == from_stage
        cached = has(key) and not forced
        reason = ""
        if not cached:
            reason = _reason(stage, last.get(stage.name), forced=forced, because=because)
            because = because or stage.name
        steps.append(Step(stage.name, key, stage.inputs, cached, reason, forced))
        parent = key
    return tuple(steps)


def _reason(
    stage: StageInputs, before: Mapping[str, Any] | None, *, forced: bool, because: str
) -> str:
    if forced:
        return "asked for by --from"
    if before is None:
        return "not built yet"
    changed = changes(before, stage.inputs)
    if changed:
        return "changed: " + ", ".join(changed)
    if because:
        return f"follows {because}"
    return "its result is no longer in the cache"


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the inputs that differ; of a mapping, the names inside it."""
    found: list[str] = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found.extend(f"{name}.{inner}" for inner in changes(old, new))
        else:
            found.append(name)
    return tuple(found)
