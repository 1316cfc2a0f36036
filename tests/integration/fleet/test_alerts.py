"""Our alerting rules, by Prometheus' own tool: right in form, and firing when they shall."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from provision.guest.hub.conditions import CONDITIONS, Condition, rules

pytestmark = pytest.mark.slow  # Prometheus is not needed for anything else


def promtool(*words: str) -> None:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def case(condition: Condition, offset: float, *, fires: bool) -> dict[str, Any]:
    """One of promtool's tests: a sample that stays, and what fires before and after its minutes."""
    value = condition.limit + offset
    count = f'count(ALERTS{{alertname="{condition.name}",alertstate="firing"}})'
    ends = {condition.minutes - 1: False, condition.minutes + 1: fires}
    return {
        "interval": "1m",
        "input_series": [
            {"series": condition.metric, "values": f"{value:.6f}+0x{condition.minutes + 5}"}
        ],
        "promql_expr_test": [
            {
                "expr": count,
                "eval_time": f"{minutes}m",
                "exp_samples": [{"labels": "{}", "value": 1}] * told,
            }
            for minutes, told in ends.items()
        ],
    }


SAID = {
    "interval": "1m",
    "input_series": [
        {
            "series": 'appliance_disk_free_ratio{instance="sage-01",mount="/home"}',
            "values": "0.0512+0x30",
        }
    ],
    "alert_rule_test": [
        {
            "eval_time": "20m",
            "alertname": "DiskAlmostFull",
            "exp_alerts": [
                {
                    "exp_labels": {"severity": "warning", "instance": "sage-01", "mount": "/home"},
                    "exp_annotations": {"summary": "sage-01: of /home 5.12% is free"},
                }
            ],
        }
    ],
}


def test_each_rule_fires_beyond_its_limit_only(tmp_path: Path) -> None:
    (tmp_path / "alerts.yml").write_text(rules())
    promtool("check", "rules", str(tmp_path / "alerts.yml"))
    beyond = {each.name: 1e-3 if each.side == ">" else -1e-3 for each in CONDITIONS}
    tests = [case(each, beyond[each.name], fires=True) for each in CONDITIONS]
    tests += [case(each, 0, fires=False) for each in CONDITIONS]
    document = {"rule_files": ["alerts.yml"], "evaluation_interval": "1m", "tests": [*tests, SAID]}
    (tmp_path / "test.yml").write_text(json.dumps(document))
    promtool("test", "rules", str(tmp_path / "test.yml"))
