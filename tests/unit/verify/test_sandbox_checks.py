"""What `verify` says of the grading sandbox and the jail, judged on facts alone."""

from collections.abc import Callable
from typing import Any

import pytest

from provision.config import read
from provision.verify.registry import judge

CONFIG = read(assignments=("grader.enabled=true", "jail.enabled=true"), environ={}).config
ROWS = (
    *("grader-answers", "grader-confines", "grader-survives", "grader-uses-cgroups", "jail-runs"),
    "grader-notifies-no-insider",
)


def good() -> dict[str, Any]:
    kept = {"memory": "cgroup v2", "tasks": "cgroup v2 and rlimit", "cpu": "cgroup v2 and rlimit"}
    return {
        "container": False,
        "result": {"status": "finished", "stdout": "out\n", "output": "1000\n", "reason": "",
                   "stderr": "5\n1\n\n"},
        "bomb": {"status": "failed", "reason": "memory limit", "memory": 500 << 20},
        "next": {"status": "finished", "stdout": "fine\n", "reason": ""},
        "status": {"engines": {"bubblewrap": kept}},
        "notified": {"came": [], "ways": {"127.1": "abandoned: 127.1 has no public address"}},
        "jail": {"printed": "2\n", "report": "OK\nelapsed time: 0 seconds\n"},
    }  # fmt: skip


def verdicts(facts: dict[str, Any]) -> dict[str, str]:
    found = {row.name: row for row in judge(CONFIG, {"sandbox": facts})}
    return {name: found[name].detail for name in ROWS if found[name].result == "failed"}


def test_good_facts_pass() -> None:
    assert verdicts(good()) == {}


Break = Callable[[dict[str, Any]], Any]
BROKEN: list[tuple[Break, str, str]] = [
    (lambda f: f["result"].update(status="unreachable", reason="refused"), "grader-answers",
     "unreachable: refused"),
    (lambda f: f["result"].update(output=""), "grader-answers", "outputs are lost"),
    (lambda f: f["result"].update(output="0\n"), "grader-confines", "runs as root"),
    (lambda f: f["result"].update(stdout="out\n/etc/x\n"), "grader-confines", "/etc/x"),
    (lambda f: f["result"].update(stderr="99\n1\n\n"), "grader-confines", "99 processes"),
    (lambda f: f["result"].update(stderr="5\n2\n\n"), "grader-confines", "2 network"),
    (lambda f: f["result"].update(stderr="5\n1\n2\n"), "grader-confines", "capabilities 2"),
    (lambda f: f["bomb"].update(status="finished"), "grader-survives", "exercise finished"),
    (lambda f: f["bomb"].update(memory=1 << 40), "grader-survives", "bytes"),
    (lambda f: f["next"].update(stdout=""), "grader-survives", "the next one"),
    (lambda f: f["status"]["engines"]["bubblewrap"].update(memory="rlimits"),
     "grader-uses-cgroups", "memory: rlimits"),
    (lambda f: f["notified"].update(came=["127.1"]), "grader-notifies-no-insider",
     "127.1 was reached"),
    (lambda f: f["notified"].update(ways={"127.1": ""}), "grader-notifies-no-insider",
     "127.1: no word"),
    (lambda f: f["jail"].update(printed=""), "jail-runs", "printed ''"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "row", "says"), BROKEN)
def test_each_promise_that_is_broken_is_told(spoil: Break, row: str, says: str) -> None:
    facts = good()
    spoil(facts)
    assert says in verdicts(facts).get(row, ""), verdicts(facts)


def test_an_appliance_without_them_promises_nothing() -> None:
    none = read(environ={}).config
    assert {row.result for row in judge(none, {}) if row.name in ROWS} == {"not checked"}
