"""What the sampler found, in the hub's own answer to Prometheus (``/hub/metrics``)."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from provision.guest.pool.account import USAGE

STALE_SECONDS = 60


def read_now(place: Path = USAGE) -> dict[str, Any]:
    """The sampler's last sample; empty when there is none, or none of the last minute."""
    with contextlib.suppress(OSError, ValueError):
        now: dict[str, Any] = json.loads((place / "now.json").read_text())
        if time.time() - now["time"] < STALE_SECONDS:
            return now
    return {}


def read_history(place: Path = USAGE) -> list[list[float]]:
    """The last day, a row a minute; see ``usage.row``."""
    with contextlib.suppress(OSError, ValueError):
        found: list[list[float]] = json.loads((place / "history.json").read_text())
        return found
    return []


def gauges(now: dict[str, Any]) -> Iterator[GaugeMetricFamily]:
    """One sample in Prometheus' terms."""
    yield _one("appliance_sampler_up", "1 while the sampler works", bool(now))
    if not now:
        return
    host, pool = now["host"], now["pool"]
    yield _one("appliance_pool_accounts", "Accounts of the pool", pool["size"])
    yield _one("appliance_pool_leased", "Accounts that somebody has", pool["taken"])
    yield _one("appliance_host_processors", "Processors", host["cores"])
    yield _one("appliance_host_load", "Load of the last minute", host["load"])
    yield _one("appliance_host_memory_bytes", "Memory", host["memory"]["size"])
    yield _one("appliance_host_memory_free_bytes", "Memory left", host["memory"]["free"])
    yield _one("appliance_host_up_seconds", "Since the machine started", host["up"])
    for kind in ("size", "free"):
        disks = GaugeMetricFamily(f"appliance_disk_{kind}_bytes", f"Disk {kind}", labels=["mount"])
        for mount, disk in host["disks"].items():
            disks.add_metric([mount], disk[kind])
        yield disks
    labels = ["account", "student"]
    for name, what in {"memory": "bytes", "cpu": "percent of a core", "disk": "bytes"}.items():
        for kind in ("used", "limit"):
            family = GaugeMetricFamily(
                f"appliance_session_{name}_{kind}", f"{name.title()} {kind}, {what}", labels=labels
            )
            for account, session in now["sessions"].items():
                if (value := session.get(name, {}).get(kind)) is not None:
                    family.add_metric([account, session["student"]], value)
            yield family
    ages = GaugeMetricFamily("appliance_session_age_seconds", "Since it began", labels=labels)
    for account, session in now["sessions"].items():
        ages.add_metric([account, session["student"]], session["age"])
    yield ages


class Usage(Collector):
    """Reads the last sample when Prometheus asks."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All gauges."""
        return gauges(read_now())


def register() -> None:
    """Add ours to what the hub tells of itself."""
    REGISTRY.register(Usage())


def _one(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, what, value=float(value))
