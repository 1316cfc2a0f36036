"""What an administrator must know of at once, by our metrics: the one home of its thresholds.

Prometheus' rules (``docs/alerts.yml``) and ``appliance fleet status`` are made of ``CONDITIONS``.
A sample is named as Prometheus writes it: ``appliance_disk_free_ratio{mount="/"}``.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

DISK_FULL = 0.02  # free, as a share: the appliance calls itself unwell
DAY = 86400
OPEN = "appliance_advisories_open"


@dataclass(frozen=True)
class Condition:
    """Something that is wrong while a metric is below, or above, a limit.

    Args:
        name: of the alert.
        metric: which one, or which of its samples.
        side: of the limit that is wrong.
        limit: the threshold itself is right.
        minutes: that it must last until Prometheus tells.
        severity: how bad it is.
        told: what is wrong, with ``{labels}`` and ``{value}`` in it.
        form: of the value, in Prometheus' words.
    """

    name: str
    metric: str
    side: Literal["<", ">"]
    limit: float
    minutes: int
    severity: Literal["warning", "critical"]
    told: str
    form: Literal["", "humanizePercentage", "humanizeDuration"] = ""

    def holds(self, value: float) -> bool:
        """Whether a value is wrong."""
        return value < self.limit if self.side == "<" else value > self.limit


CONDITIONS = (
    Condition(
        "NotebookSilent", 'up{job="classroom"}', "<", 1, 5, "critical", "the hub does not answer"
    ),
    Condition(
        "SamplerSilent", "appliance_sampler_up", "<", 1, 5, "critical", "nothing measures it"
    ),
    Condition(
        "DiskFull", "appliance_disk_free_ratio", "<", DISK_FULL, 1, "critical",
        "of {mount} {value} is free", "humanizePercentage",
    ),
    Condition(
        "DiskAlmostFull", "appliance_disk_free_ratio", "<", 0.1, 15, "warning",
        "of {mount} {value} is free", "humanizePercentage",
    ),
    Condition(
        "BackupOld", "appliance_backup_age_seconds", ">", 2 * DAY, 10, "critical",
        "the last backup that succeeded is {value} old", "humanizeDuration",
    ),
    Condition(
        "BackupNotWhole", "appliance_backup_whole", "<", 1, 10, "warning",
        "something could not be read, or did not rest, in the last backup",
    ),
    Condition(
        "CertificateEnds", "appliance_certificate_left_seconds", "<", 14 * DAY, 60, "warning",
        "the certificate ends in {value}", "humanizeDuration",
    ),
    Condition(
        "StudentsWait", "appliance_queue_length", ">", 0, 10, "warning",
        "{value} wait for a place: all are taken",
    ),
    Condition(
        "VulnerabilitiesOpen", OPEN, ">", 0, 60, "warning",
        "{value} known vulnerabilities of high severity are open",
    ),
)  # fmt: skip


def wrong(samples: Mapping[str, float]) -> Iterator[str]:
    """What is wrong now, a line each.

    Args:
        samples: values by their names with labels; what there is none of is not judged.
    """
    for each in CONDITIONS:
        for name, value in samples.items():
            if (name == each.metric or name.startswith(f"{each.metric}{{")) and each.holds(value):
                told = each.told.format(mount=_mount(name), value=_text(each, value))
                yield f"{each.name}: {told}"


def rules() -> str:
    """The conditions as Prometheus' alerting rules, in YAML."""
    lines = ["---", "# appliance fleet alerts > docs/alerts.yml", "groups:", "  - name: classroom"]
    lines.append("    rules:")
    for each in CONDITIONS:
        value = f"{{{{ $value{' | ' + each.form if each.form else ''} }}}}"
        told = each.told.format(mount="{{ $labels.mount }}", value=value)
        where = "{{ $labels.host }}" if each.metric == OPEN else "{{ $labels.instance }}"
        lines += [
            f"      - alert: {each.name}",
            f"        expr: {each.metric} {each.side} {each.limit:g}",
            f"        for: {each.minutes}m",
            "        labels:",
            f"          severity: {each.severity}",
            "        annotations:",
            f"          summary: {json.dumps(f'{where}: {told}')}",
        ]
    return "\n".join(lines) + "\n"


def _mount(name: str) -> str:
    return name.partition('mount="')[2].partition('"')[0]


def _text(condition: Condition, value: float) -> str:
    if condition.form == "humanizePercentage":
        return f"{100 * value:.3g}%"
    return f"{value / DAY:.1f} days" if condition.form else f"{value:g}"
