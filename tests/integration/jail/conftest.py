"""A real jail, built once for each host, used by an ordinary user."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from provision.cli import appliance
from provision.guest.jail import rootfs

# Nobody's number on any host, and no other test run's.
USER = 10_000_000 + os.getpid()
ROOT = Path(__file__).parents[3]

Safeexec = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def jail() -> Path:
    """A directory with Python and nothing else."""
    key = hashlib.sha256(Path(rootfs.__file__).read_bytes()).hexdigest()[:12]
    place = Path("/var/tmp") / f"appliance-test-jail-{os.getuid()}-{key}"
    if not (place / rootfs.MARK).exists():
        shutil.rmtree(place, ignore_errors=True)
        done = CliRunner().invoke(appliance, ["jail", "build", str(place)])
        assert (done.exit_code, done.stdout) == (0, f"{place}\n"), done.exception
    return place


@pytest.fixture
def safeexec(jail: Path, open_checkout: None) -> Safeexec:
    """Run the command line; its report is on stderr."""

    def run(
        *words: str, code: str | None = None, stdin: str = "", nice: int = 0
    ) -> subprocess.CompletedProcess[str]:
        argv = [] if os.getuid() else ["setpriv", f"--reuid={USER}", f"--regid={USER}"]
        argv += ["--clear-groups"] if argv else []
        argv = [
            "nice",
            f"-n{nice}",
            *argv,
            sys.executable,
            "-m",
            "provision.guest.jail.safeexec",
            *words,
        ]
        if code is not None:
            argv += ["--chroot_dir", str(jail), "--env_vars", "PY", "--exec_dir", "/"]
            argv += ["--exec", "/bin/python3", "-u", "-S", "-c", code]
        return subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=60,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OUTER": "seen"},
            check=False,
        )

    return run
