"""A build that is interrupted in every stage, twice, ends as if it had not been."""

import signal
import time
from pathlib import Path

import pytest

from provision.build.plan import STAGES
from tests.integration.build.conftest import Shell, leftovers

pytestmark = pytest.mark.timeout(1500)


def cached(shell: Shell, output: Path) -> list[str]:
    plan = shell.run("plan", "--json", "-o", str(output)).json
    return [stage["stage"] for stage in plan["stages"] if stage["cached"]]


def test_interrupted_everywhere_gives_the_same_appliance(
    shell: Shell, built_ova_digest: str
) -> None:
    """SIGINT and SIGKILL in each stage: nothing stays behind, finished stages are kept, and the
    OVA has the same bytes as that of a build in another cache on another path."""
    output = shell.home / "elsewhere" / "verify.ova"
    output.parent.mkdir()

    def at_work() -> bool:
        if next(shell.stages.glob("*.part"), None):
            return True
        return any(output.parent.glob("*.part")) or any(output.parent.glob(".*"))

    done: list[str] = []
    for stage in [name for name in STAGES if name != "vm"]:
        for number in (signal.SIGINT, signal.SIGKILL):
            status = shell.interrupted(number, at_work, "-o", str(output))
            time.sleep(0.3)
            assert leftovers(shell.home) == [], f"after {number} in {stage}"
            assert not output.exists()
            if number == signal.SIGINT:
                assert status == 130
                assert not list(shell.stages.glob("*.part")), f"half a stage after {stage}"
        assert cached(shell, output) == done
        if stage != "export":
            finish_one_stage(shell, output, stage)
            done.append(stage)
            assert cached(shell, output) == done
    final = shell.run("build", "--no-vm", "--json", "-o", str(output))
    assert final.code == 0, final.err
    assert final.json["sha256"] == built_ova_digest


def finish_one_stage(shell: Shell, output: Path, stage: str) -> None:
    """Let the build come just past a stage, then stop it in the next one."""
    before = len(list(shell.stages.glob("*/stage.json")))

    def past() -> bool:
        return len(list(shell.stages.glob("*/stage.json"))) > before

    shell.interrupted(signal.SIGINT, past, "-o", str(output))
