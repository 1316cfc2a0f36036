"""What the sampler found, and how backup, certificate and line are, in ``/hub/metrics``."""

import contextlib
import json
import time
from collections.abc import Iterator, Sized
from pathlib import Path
from typing import Any

from cryptography import x509
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from provision.guest.pool.account import USAGE

STALE_SECONDS = 60
BACKUP = Path("/var/lib/appliance/backup/last.json")
BACKUP_SETTINGS = Path("/etc/appliance/backup.json")


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
    ratio = GaugeMetricFamily("appliance_disk_free_ratio", "Share that is free", labels=["mount"])
    for mount, disk in host["disks"].items():
        ratio.add_metric([mount], disk["free"] / disk["size"])
    yield ratio
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


def upkeep(certificate: Path, waiting: int) -> Iterator[GaugeMetricFamily]:
    """How backup, certificate and line are; nothing of what there is not.

    Args:
        certificate: the notebook's.
        waiting: how many stand in line for a place.
    """
    yield _one("appliance_queue_length", "Who waits for a place", waiting)
    now = time.time()
    with contextlib.suppress(OSError, ValueError):
        ends = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
        left = ends.timestamp() - now
        yield _one("appliance_certificate_left_seconds", "Until the certificate ends", left)
    age = "appliance_backup_age_seconds", "Since the last backup that succeeded"
    try:
        last = json.loads(BACKUP.read_text())
        yield _one(*age, now - last["time"])
        yield _one("appliance_backup_whole", "1: all of it could be read", last["consistent"])
    except (OSError, ValueError, KeyError):
        with contextlib.suppress(OSError):  # none yet since it was set up
            yield _one(*age, now - BACKUP_SETTINGS.stat().st_mtime)


class UsageCollector(Collector):
    """Reads the last sample when Prometheus asks.

    Args:
        certificate: the notebook's.
        line: who waits for a place.
    """

    def __init__(self, certificate: Path, line: Sized) -> None:
        self.certificate, self.line = certificate, line

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All gauges."""
        yield from gauges(read_now())
        yield from upkeep(self.certificate, len(self.line))


def register(state: Path, line: Sized) -> None:
    """Add ours to what the hub tells of itself.

    Args:
        state: directory of the hub's own files.
        line: who waits for a place.
    """
    REGISTRY.register(UsageCollector(state / "tls" / "cert.pem", line))


def _one(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, what, value=float(value))
