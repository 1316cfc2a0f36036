"""`appliance jail`, as a sysadmin calls it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from provision.cli import appliance
from provision.guest.jail import api, rootfs


def verb(*words: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the report goes to the real standard error."""
    argv = [sys.executable, "-m", "provision.cli", "jail", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_run_takes_safeexecs_options(jail: Path) -> None:
    words = ["--cpu", "5", "--chroot_dir", str(jail), "--env_vars", "PY", "--exec_dir", "/"]
    done = verb("run", *words, "--exec", "/bin/python3", "-u", "-S", "-c", "print(1+1)")
    assert (done.returncode, done.stdout) == (0, "2\n"), done
    assert re.fullmatch(
        r"OK\nelapsed time: \d+ seconds\nmemory usage: \d+ kbytes\ncpu usage: \d\.\d{3} seconds\n",
        done.stderr,
    )
    assert "--nfile" in verb("run").stderr


def test_a_jail_is_not_built_over_something(tmp_path: Path) -> None:
    done = CliRunner().invoke(appliance, ["jail", "build", str(tmp_path)])
    assert "exists" in str(done.exception)


def test_maintenance_reports_what_it_changed(tmp_path: Path) -> None:
    assert os.getuid() == 0, "run as root: the test changes owners"
    place = tmp_path / "jail"
    (place / "lib").mkdir(parents=True)
    (place / "lib" / "program").write_text("x")
    (place / rootfs.MARK).touch()
    (place / "lib" / "program").chmod(0o777)
    words = ["jail", "maintenance", str(place), "--owner", "daemon", "--web", "www-data"]
    done = CliRunner().invoke(appliance, [*words, "--json"])
    assert f"mode 0755 {place}/lib/program" in json.loads(done.stdout)
    assert (place / "lib").owner() == "daemon"
    assert CliRunner().invoke(appliance, words).stdout == ""
    (place / rootfs.MARK).unlink()
    assert "no jail" in str(CliRunner().invoke(appliance, words).exception)


@pytest.mark.slow
def test_further_packages_come_from_pypi(tmp_path: Path) -> None:
    place = Path("/var/tmp") / f"appliance-test-jail-pip-{os.getpid()}"
    try:
        done = CliRunner().invoke(appliance, ["jail", "build", str(place), "--pip", "six"])
        assert done.exit_code == 0, done.exception
        report = api.run_python("import six; print(six.PY3)", place)
        assert (report.verdict, report.stdout) == ("OK", b"True\n")
    finally:
        shutil.rmtree(place, ignore_errors=True)
