"""A build without root: by an account of the host that has nothing but its subordinate ids."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import SMALL

REPOSITORY = Path(__file__).parents[3]
HOSTS_PYTHON = "/usr/bin/python3"  # an ordinary user may read it, wherever this one is from


@pytest.fixture
def home() -> Iterator[Path]:
    """The home directory of a new account, which owns a copy of the source and its packages."""
    name = f"appliance-{os.getpid()}"
    place = Path(tempfile.mkdtemp(dir="/var/tmp"))
    place.chmod(0o755)
    copied = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True
    ).stdout
    subprocess.run(
        ["cp", "--parents", "-t", place, *copied.decode().split("\0")[:-1]],
        cwd=REPOSITORY,
        check=True,
    )
    subprocess.run(["useradd", "--home-dir", place, "--shell", "/bin/sh", name], check=True)
    try:
        subprocess.run(["chown", "-R", f"{name}:", place], check=True)
        yield place
    finally:
        subprocess.run(["userdel", name], check=True)
        shutil.rmtree(place)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_an_ordinary_user_builds_the_same_appliance(home: Path) -> None:
    def run(*argv: str) -> str:
        user = home.owner()
        done = subprocess.run(
            ["runuser", "-u", user, "--", *argv],
            cwd=home,
            env={"HOME": str(home), "USER": user, "PATH": os.defpath + ":/usr/sbin:/sbin"},
            stdout=subprocess.PIPE,
            check=True,
        )
        return done.stdout.decode()

    run(HOSTS_PYTHON, "-m", "venv", ".venv")
    run(".venv/bin/pip", "install", "-q", "--require-hashes", "-r", "requirements.lock")
    run(".venv/bin/pip", "install", "-q", "--no-deps", ".")
    told = json.loads(
        run(".venv/bin/appliance", "build", "--no-vm", "--json", *SMALL, "-o", "verify.ova")
    )
    ova = home / "verify.ova"
    assert ova.owner() == home.owner()
    assert told["size"] == ova.stat().st_size
    verified = subprocess.run(
        [".venv/bin/appliance", "verify", "--fast", *SMALL, str(ova)], cwd=home, check=False
    )
    assert verified.returncode == 0
