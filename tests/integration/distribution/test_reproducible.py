"""Two builds on two paths and two days give the same bytes, disk by disk and in the OVA."""

import filecmp
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.build.build import Built
from provision.process import require
from tests.integration.conftest import SMALL

LATER = "+55h"  # the mirror's Release files are good for a week
# Under faketime with the true monotonic clock, which locks need, clock_nanosleep fails.
SLEEP = "import select, time\ntime.sleep = lambda seconds: select.select([], [], [], seconds)[0]\n"
# Faketime's semaphore is root's alone. What apt starts as _apt, gpgv too, then makes one named by
# its own process ID and leaves it behind: the next that gets this ID ends at once with status 1,
# and apt tells of an invalid signature.
SHARED = (
    'set -- $FAKETIME_SHARED -- "$@"; chmod a+rw /dev/shm/sem."${1#/}" /dev/shm/"${2#/}"; '
    'shift 3; exec "$@"'
)


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    place = Path("/var/tmp") / f"an other place {os.getpid()}"
    place.mkdir()
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_same_bytes_on_another_path_and_day(built: Built, elsewhere: Path) -> None:
    """A second build from nothing: other cache, other directory, other clock, other locale."""
    ova = elsewhere / "other.ova"
    env = {
        **os.environ,
        "XDG_CACHE_HOME": str(elsewhere / "cache"),
        "XDG_STATE_HOME": str(elsewhere / "state"),
        "TZ": "Pacific/Auckland",
        "LC_ALL": "C.UTF-8",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",  # or it moves the times of files too, whenever one is read
        "PYTHONPATH": str(elsewhere / "python"),
    }
    (elsewhere / "python").mkdir()
    (elsewhere / "python/sitecustomize.py").write_text(SLEEP)
    faketime = require("faketime", "faketime")
    build = [sys.executable, "-m", "provision.cli", "build", "--no-vm", *SMALL, "-o", ova]
    done = subprocess.run(
        [faketime, "-f", LATER, "sh", "-euc", SHARED, "sh", *build],
        env=env, cwd=elsewhere, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-5000:]
    raws = {path.name: path for path in (elsewhere / "cache").rglob("*.raw")}
    assert raws.keys() == {path.name for path in built.disks}
    for disk in built.disks:
        assert filecmp.cmp(disk, raws[disk.name], shallow=False), f"{disk.name} differs"
    diffoscope = require("diffoscope", "diffoscope-minimal")
    said = subprocess.run(
        [diffoscope, "--no-progress", built.ova, ova], capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout) == (0, "")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_sage_that_was_kept_is_the_one_that_is_installed_anew(elsewhere: Path) -> None:
    """The default appliance twice; the second takes what the first installed of wheels."""
    env = {
        **os.environ,
        **{f"XDG_{kind}_HOME": str(elsewhere / kind) for kind in ("CACHE", "STATE", "DATA")},
    }
    cache = elsewhere / "CACHE/appliance"
    digests, kept = [], []
    for name in ("first", "second"):
        build = [sys.executable, "-m", "provision.cli", "build", "--no-vm", "--json"]
        done = subprocess.run(
            [*build, "-o", elsewhere / f"{name}.ova"],
            env=env, cwd=elsewhere, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-5000:]
        digests.append(json.loads(done.stdout)["sha256"])
        shutil.rmtree(cache / "stages")
        kept.append({path.stat().st_ino for path in (cache / "packages/wheels").iterdir()})
    assert len(kept[0]) == 3, "Sage, the notebook, Python's packages"
    assert kept[0] == kept[1], "it was installed anew"
    assert digests[0] == digests[1]
