"""A build without root: by an account of the host that has nothing but its subordinate ids."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.build import places
from provision.build.artefacts import LAYER, mark_whole
from provision.build.build import Built
from provision.jeos.layers import merging
from provision.machine.containment import ROOT_OF_ONES_OWN
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


@pytest.fixture
def run(home: Path) -> Callable[..., str]:
    """Run a command as the new account, which has the program installed."""
    user = home.owner()
    env = {"HOME": str(home), "USER": user, "PATH": os.defpath + ":/usr/sbin:/sbin"}

    def run(*argv: str, **options: Any) -> str:
        words = ["runuser", "-u", user, "--", *argv]
        done = subprocess.run(
            words, cwd=home, env=env, stdout=subprocess.PIPE, check=True, **options
        )
        return done.stdout.decode()

    run(HOSTS_PYTHON, "-m", "venv", ".venv")
    run(".venv/bin/pip", "install", "-q", "--require-hashes", "-r", "requirements.lock")
    run(".venv/bin/pip", "install", "-q", "--no-deps", ".")
    return run


BUILD = (".venv/bin/appliance", "build", "--no-vm", "--json", *SMALL, "-o", "verify.ova")


def test_the_root_of_a_user_namespace_seals(tmp_path: Path) -> None:
    """Directories of a lower layer can be removed and made anew, with attributes of its own."""
    left = tmp_path / "low/var/tmp/left/inside"
    left.mkdir(parents=True)
    (left / "file").touch()
    (tmp_path / "low/etc").mkdir()
    code = """
import sys
from pathlib import Path
from provision.jeos.layers import merging
from provision.jeos.seal import seal
low, high = Path(sys.argv[1], "low"), Path(sys.argv[1], "high")
with merging([low], high) as tree:
    seal(tree, 0)
    assert list((tree / "var/tmp").iterdir()) == []
    (tree / "var/tmp/left").mkdir()
with merging([low, high]) as tree:
    assert list((tree / "var/tmp").rglob("*")) == [tree / "var/tmp/left"]
"""
    words = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", code]
    subprocess.run([*words, tmp_path], cwd=REPOSITORY, check=True)


@pytest.mark.slow
def test_from_the_same_files_it_makes_the_same_appliance(
    home: Path, run: Callable[..., str], built: Built, sealed: tuple[Path, ...]
) -> None:
    """What root has provisioned, sealed and packed by an ordinary user: the same bytes."""
    place = home / ".local/share/appliance/verify"
    run("mkdir", "-p", str(place))
    for name in ("id_ed25519", "id_ed25519.pub"):
        shutil.copy(places.admin_key("verify").with_name(name), place)
        shutil.chown(place / name, home.owner())
    plan = json.loads(
        run(".venv/bin/appliance", "plan", "--json", *SMALL, "-o", "verify.ova")
    )["stages"]  # fmt: skip
    for stage in plan[:3]:
        entry = home / ".cache/appliance/stages" / stage["key"][:32]
        run("mkdir", "-p", str(entry / LAYER))
        run("tee", str(entry / "stage.json"), input=b"{}")
    mark_whole(entry)
    attributes = ("--xattrs", "--xattrs-include=*", "--numeric-owner")
    with merging(sealed[:-1]) as tree:
        packing = subprocess.Popen(
            ["tar", "-C", tree, *attributes, "-cf", "-", "."], stdout=subprocess.PIPE
        )
        unpack = ("tar", "-C", str(entry / LAYER), *attributes, "-xf", "-")
        run(*ROOT_OF_ONES_OWN, *unpack, stdin=packing.stdout)
        assert packing.wait() == 0
    assert json.loads(run(*BUILD))["sha256"] == built.sha256


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_an_ordinary_user_builds_the_same_appliance(home: Path, run: Callable[..., str]) -> None:
    told = json.loads(run(*BUILD))
    ova = home / "verify.ova"
    assert ova.owner() == home.owner()
    assert told["size"] == ova.stat().st_size
    verified = subprocess.run(
        [".venv/bin/appliance", "verify", "--fast", *SMALL, str(ova)], cwd=home, check=False
    )
    assert verified.returncode == 0
