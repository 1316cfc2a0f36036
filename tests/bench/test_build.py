"""How long a build takes, and how little when little changed.

Run by `make bench`; each figure is held against another of the same run.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(3600)
SMALL = ("--set", "name=bench", "--set", "sage.source=none")
STEP = re.compile(r"^( *)ok (.+) \(([0-9.]+) s\)$", re.MULTILINE)
# Work that others' programs do and that no build of ours can avoid.
OTHERS = (
    "ask the mirror",
    "bootstrap the distribution",
    "playbook packages",
    "playbook configure",
)


class Bench:
    """Builds with no cache but their own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {**os.environ, "XDG_CACHE_HOME": str(home / "cache")}
        self.env["XDG_STATE_HOME"] = str(home / "state")

    def build(self, *arguments: str) -> tuple[float, dict[str, float]]:
        """Wall seconds of one build, and of its steps."""
        begun = time.monotonic()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "provision.cli", "build", "--no-vm", *SMALL),
                *("-o", str(self.home / "bench.ova"), *arguments),
            ],
            capture_output=True,
            text=True,
            env=self.env,
            check=True,
        )
        seconds = time.monotonic() - begun
        return seconds, {name: float(took) for _, name, took in STEP.findall(done.stderr)}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def test_builds(bench: Bench) -> None:
    cold, steps = bench.build()
    others = sum(seconds for name, seconds in steps.items() if name in OTHERS)
    share = 1 - others / cold
    nothing = min(bench.build()[0] for _ in range(3))
    template, _ = bench.build("--set", "timezone=Europe/Vienna")
    rows = [
        *((name, f"{seconds:.1f} s", "") for name, seconds in steps.items()),
        ("cold build", f"{cold:.1f} s", ""),
        ("not download, unpack or Ansible", f"{share:.0%}", "below 15%"),
        ("one setting changed", f"{template / cold:.0%} of cold", "at most 25%"),
        ("nothing changed", f"{nothing:.2f} s", "below 2 s"),
    ]
    print()
    for name, value, limit in rows:
        print(f"| {name} | {value} | {limit} |")
    print(json.dumps({"cold": cold, "share": share, "template": template, "nothing": nothing}))
    assert share < 0.15
    assert template <= 0.25 * cold
    assert nothing < 2
