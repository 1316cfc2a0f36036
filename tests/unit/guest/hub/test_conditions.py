"""What is wrong by the metrics: at each limit, and as rules for Prometheus."""

import re
import time
from pathlib import Path

import pytest

from provision.guest.hub import conditions, metrics
from provision.guest.hub.conditions import CONDITIONS, Condition
from tests.unit.guest.hub.test_metrics import NOW

ELSEWHERE = {'up{job="classroom"}', conditions.OPEN}  # Prometheus' own, and the audit's


def named(condition: Condition, samples: dict[str, float]) -> list[str]:
    return [e for e in conditions.wrong(samples) if e.startswith(f"{condition.name}: ")]


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda each: each.name)
def test_the_limit_itself_is_right(condition: Condition) -> None:
    little = 1e-6 if condition.side == ">" else -1e-6
    name = f'{condition.metric}{{mount="/home"}}' if "{" not in condition.metric else ""
    for sample in filter(None, (condition.metric, name)):
        assert not named(condition, {sample: condition.limit})
        assert named(condition, {sample: condition.limit + little})


def test_what_is_not_known_is_not_judged() -> None:
    assert list(conditions.wrong({"appliance_disk_free_ratio_of_others": 0.0})) == []


def test_a_line_says_which_disk_and_how_much() -> None:
    told = list(conditions.wrong({'appliance_disk_free_ratio{mount="/home"}': 0.0512}))
    assert told == ["DiskAlmostFull: of /home 5.12% is free"]


def test_the_rules_in_docs_are_these() -> None:
    committed = (Path(__file__).parents[4] / "docs/alerts.yml").read_text()
    assert committed == conditions.rules(), "renew it: appliance fleet alerts > docs/alerts.yml"


def test_backup_and_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last, settings = tmp_path / "last.json", tmp_path / "backup.json"
    monkeypatch.setattr(metrics, "BACKUP", last)
    monkeypatch.setattr(metrics, "BACKUP_SETTINGS", settings)

    def told() -> dict[str, float]:
        found = metrics.upkeep(tmp_path / "cert.pem", 3)
        return {family.name: family.samples[0].value for family in found}

    assert told() == {"appliance_queue_length": 3}
    settings.touch()
    assert told()["appliance_backup_age_seconds"] < 60
    last.write_text(f'{{"time": {time.time() - 5000}, "consistent": false}}')
    assert 5000 <= told()["appliance_backup_age_seconds"] < 5060
    assert told()["appliance_backup_whole"] == 0
    last.write_text("torn")
    assert "appliance_backup_whole" not in told()


def test_each_asks_for_what_there_is() -> None:
    source = Path(metrics.__file__).read_text()
    there = {family.name for family in metrics.gauges(NOW)} | set(re.findall(r'"(\w+)"', source))
    assert {each.metric for each in CONDITIONS} - ELSEWHERE <= there
