"""A build that is interrupted in every stage, twice, ends as if it had not been."""

import signal
import time
from functools import partial

import pytest

from provision.build.build import Built

PROVISIONING = ("base", "packages", "configure", "seal", "disks", "export")


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_interrupted_everywhere_gives_the_same_bytes(shell, built: Built) -> None:
    """SIGINT and SIGKILL in each stage: nothing stays behind, finished stages are kept, and the
    OVA has the same bytes as that of another build, in another cache, on another path."""

    def at_work(after: float) -> bool:
        begun = [*shell.stages.glob("*.part"), *shell.home.glob("*.ova.part")]
        return any(time.time() - path.stat().st_mtime > after for path in begun if path.exists())

    for stage in PROVISIONING:
        after = 0 if stage == "seal" else 0.1  # it takes less
        finished = len(list(shell.stages.glob("*/stage.json")))
        for number in (signal.SIGINT, signal.SIGKILL):
            status = shell.interrupt(number, partial(at_work, after))
            time.sleep(0.3)
            where = f"{signal.Signals(number).name} in {stage}"
            assert shell.leftovers() == [], where
            assert not shell.output.exists(), where
            assert len(list(shell.stages.glob("*/stage.json"))) == finished, (
                f"a stage went missing: {where}"
            )
            if number == signal.SIGINT:
                assert status == 130
                assert not list(shell.stages.glob("*.part")), f"half of {stage} was left"
        if stage != "export":  # go on to the next stage, and stop in it
            shell.interrupt(
                signal.SIGINT,
                lambda before=finished: len(list(shell.stages.glob("*/stage.json"))) > before,
            )
    assert shell.cached() == [stage for stage in PROVISIONING if stage != "export"]
    final = shell.build()
    assert final.code == 0, final.err
    assert final.json["sha256"] == built.sha256
