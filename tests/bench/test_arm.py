"""The base and its packages, without Sage, for another architecture by emulation and natively.

One run after the other; packages of the base are warm for both.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from provision.build import places
from provision.config.architectures import ARCHITECTURES, of_this_host

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
LIMIT = 12
# As `appliance build` begins, and as `appliance upgrade notebook` ends.
PROGRAM = """
import sys
from provision.build.build import build_packages, request
from provision.cli import _console
from provision.cli._build import contain_here
from provision.config import Config
from provision.config.languages import Sage
config = Config(arch=sys.argv[1], sage=Sage(source="none"))
runtime = contain_here(config)
with _console.session(verbose=False):
    build_packages(request(config), runtime=runtime)
"""
STEP = re.compile(r"^( *ok .+ \([0-9.]+ s\))$", re.MULTILINE)


def test_an_emulated_build_beside_a_native_one(tmp_path: Path) -> None:
    (tmp_path / "cache/appliance").mkdir(parents=True)
    (tmp_path / "cache/appliance/packages").symlink_to(places.cache() / "packages")
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    env |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_DATA_HOME": str(tmp_path / "data")}
    times = {}
    for arch in sorted(ARCHITECTURES, key=lambda name: name != of_this_host()):
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, arch],
            env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        times[arch] = time.monotonic() - begun
        print(f"\n{arch}: {times[arch]:.0f} s\n" + "\n".join(STEP.findall(done.stderr)))
        assert done.returncode == 0, done.stderr[-3000:]
    native = times.pop(of_this_host())
    for arch, took in times.items():
        print(f"{arch}, emulated: {took / native:.1f} times the native {native:.0f} s")
        assert took <= LIMIT * native
