"""Seats that are no Debian: without POSIX's modules, without root, with nothing but the wheel."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from publishing import Publisher

import vbox
from provision.process import require
from vbox import VBoxManage

# What Python lacks on Windows, and the one call that we make of what it has instead.
WINDOWS = """
import os, signal, sys, types
# These have halves for Windows, which this host lacks.
import click, http.client, http.server, platformdirs, rich.console, subprocess, tempfile

class Missing:
    NAMES = {"fcntl", "grp", "posix_ipc", "pwd", "resource", "termios", "tty"}
    def find_spec(self, name, path=None, target=None):
        if name in self.NAMES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for name in Missing.NAMES:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Missing())
LOCKED = []

def locking(descriptor, mode, length):
    LOCKED.append(mode)
    os.lockf(descriptor, os.F_LOCK if mode == 1 else os.F_TLOCK, length)

sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_LOCK=1, LK_NBLCK=2)
for name in ("pread", "pwrite", "killpg", "geteuid", "getuid", "SEEK_DATA", "mkfifo"):
    delattr(os, name)
del signal.SIGHUP
from provision.cli import main
try:
    main(sys.argv[1:])
finally:
    print("locks", len(LOCKED), file=sys.stderr)
"""


def test_pull_and_reset_without_posix(
    publisher: Publisher, manage: VBoxManage, tmp_path: Path
) -> None:
    """The verbs of a seat use nothing that Python on Windows has not."""
    program = tmp_path / "windows.py"
    program.write_text(WINDOWS)
    env = {**os.environ, **manage.env, "XDG_DATA_HOME": str(tmp_path / "data")}
    env["PATH"] = f"{manage.path.parent}:{env['PATH']}"

    def appliance(*arguments: str | Path) -> tuple[dict[str, object], str]:
        done = subprocess.run(
            [sys.executable, program, *arguments, "--json"],
            env=env, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout), done.stderr

    publisher.publish(1)
    first, said = appliance("pull", publisher.root, "--public-key", publisher.public)
    assert first["changed"] is True
    assert "locks 0" not in said
    publisher.publish(2)
    assert appliance("pull", publisher.root)[0]["previous"] == first["version"]
    assert appliance("pull", publisher.root)[0]["changed"] is False
    assert appliance("pull", "--rollback")[0]["version"] == first["version"]
    assert appliance("reset")[0]["version"] == first["version"]
    assert len(appliance("clone", "--count", "2")[0]) == 2


def test_virtualbox_is_found_where_its_windows_installer_put_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "Oracle" / "VBoxManage"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("VBOX_MSI_INSTALL_PATH", str(program.parent))
    assert vbox.find().path == program


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_from_the_stick_without_a_network_without_root(
    publisher: Publisher, manage: VBoxManage, tmp_path: Path
) -> None:
    """A bundle, a Python and a VirtualBox are enough for an ordinary user on a host alone."""
    place = Path("/var/tmp") / f"stick-{os.getpid()}"
    project = Path(__file__).parents[3]
    user = "nobody"
    seat = [
        *(require("unshare", "util-linux"), "--net", "--"),
        *(
            require("setpriv", "util-linux"),
            "--reuid",
            user,
            "--regid",
            "nogroup",
            "--clear-groups",
        ),
    ]
    try:
        place.mkdir(mode=0o755)
        wheels = place / "built"
        build = [sys.executable, "-m", "provision.cli"]
        publisher.publish(1)
        uv = shutil.which("uv")
        pip = [uv, "tool", "run", "pip"] if uv else [sys.executable, "-m", "pip"]
        subprocess.run([*pip, "wheel", "-q", "-w", wheels, project], check=True)
        subprocess.run(
            [*build, "bundle", publisher.root, place / "stick", "--wheels", wheels], check=True
        )
        home = place / "home"
        home.mkdir()
        shutil.chown(home, user, "nogroup")
        virtualbox = shutil.copytree(manage.path.parent, place / "virtualbox", symlinks=True)
        env = {
            "HOME": str(home),
            "PATH": f"{virtualbox}:/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "VBOX_USER_HOME": str(home / "virtualbox"),  # this VirtualBox takes us for root
            "VBOX_IPC_SOCKETID": manage.env["VBOX_IPC_SOCKETID"],
        }

        def run(*argv: str | Path) -> str:
            done = subprocess.run(
                [*seat, *argv], env=env, cwd=place / "stick", capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr[-3000:]
            return done.stdout

        # As README.txt on the stick says.
        assert "as they were written" in run("/usr/bin/python3", "verify.py")
        run("/usr/bin/python3", "-m", "venv", home / "cli")
        run(
            home / "cli/bin/pip", "install", "-q", "--no-index", "--find-links", "wheels",
            "classroom-appliance",
        )  # fmt: skip
        out = run(home / "cli/bin/appliance", "pull", ".", "--public-key", "minisign.pub", "--json")
        assert json.loads(out)["changed"] is True
        assert (
            json.loads(run(home / "cli/bin/appliance", "pull", ".", "--json"))["changed"] is False
        )
        assert "sage" in run("VBoxManage", "list", "vms")
    finally:
        shutil.rmtree(place, ignore_errors=True)
