import json
import re
from pathlib import Path

from provision.guest.hub.metrics import gauges

NOW = {
    "time": 1.0,
    "host": {
        **{"cores": 2, "load": 0.5, "memory": {"size": 100, "free": 60}, "up": 5},
        "disks": {"/": {"size": 10, "free": 4}},
    },
    "pool": {"size": 3, "taken": 1},
    "sessions": {
        "nb1@localhost": {
            **{"student": "emmy", "age": 9, "memory": {"used": 5, "limit": 50}},
            **{"cpu": {"used": None, "limit": 100}, "disk": {"used": 1, "limit": 2}},
        },
        "nb1@other": {"student": "carl", "age": 3},  # another machine tells its own
    },
}


def test_without_a_sample_only_that_is_told() -> None:
    assert [family.name for family in gauges({})] == ["appliance_sampler_up"]


def test_what_is_not_known_is_left_out() -> None:
    found = {family.name: family.samples for family in gauges(NOW)}
    assert found["appliance_session_cpu_used"] == []
    (sample,) = found["appliance_session_memory_limit"]
    assert (sample.labels, sample.value) == ({"account": "nb1@localhost", "student": "emmy"}, 50)
    assert len(found["appliance_session_age_seconds"]) == 2


def test_the_dashboard_asks_for_what_there_is() -> None:
    dashboard = json.loads((Path(__file__).parents[4] / "docs" / "grafana.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"appliance_\w+", target["expr"])
    }
    assert asked
    assert asked <= {family.name for family in gauges(NOW)}
