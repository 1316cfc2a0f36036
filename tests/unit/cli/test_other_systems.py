"""What the command line does where there is no Linux."""

import platform
import subprocess
import sys

import pytest

import vbox
from provision import temporary
from provision.errors import HostNotReadyError
from provision.machine import virtualbox

LINUX_ONLY = ("build", "verify", "configure", "upgrade system", "upgrade pack", "publish folder")
NO_POSIX = """
import os, pkgutil, signal, sys
import click, http.server, rich.console, subprocess, tempfile
for name in ("fcntl", "grp", "pwd", "resource", "termios", "tty"):
    sys.modules[name] = None
for name in ("pread", "pwrite", "killpg", "geteuid", "getuid", "mkfifo", "fork", "O_CLOEXEC"):
    delattr(os, name)
del signal.SIGHUP
from provision.cli import appliance
context = click.Context(appliance)
def walk(verb):
    list(map(walk, map(lambda name: verb.get_command(context, name), verb.list_commands(context)))
        if isinstance(verb, click.Group) else ())
walk(appliance)
"""


@pytest.mark.parametrize("system", ["Windows", "Darwin"])
@pytest.mark.parametrize("verb", LINUX_ONLY)
def test_what_needs_linux_says_so_first(appliance, monkeypatch, verb: str, system: str) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    done = appliance(*verb.split())
    assert done.code == HostNotReadyError.exit_code
    assert "this needs a Linux host" in done.err
    assert "hint: " in done.err


def test_every_verb_is_imported_without_posix() -> None:
    subprocess.run([sys.executable, "-c", NO_POSIX], check=True)


def test_no_virtualbox_is_fetched_from_debian_elsewhere(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(vbox.portable, "fetch", lambda **_: pytest.fail("fetched"))
    with pytest.raises(HostNotReadyError, match="not installed") as refused:
        virtualbox.manage()
    assert "virtualbox.org" in (refused.value.hint or "")


def test_a_temporary_directory_is_swept_when_its_owner_is_gone(tmp_path) -> None:
    """Nothing is open in it when it is removed: Windows would refuse."""
    program = (
        "import pathlib, sys; from provision import temporary;"
        " temporary.make(pathlib.Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path], check=True)
    ours = temporary.make(tmp_path)
    assert temporary.sweep(tmp_path) >= 1
    assert list(tmp_path.iterdir()) == [ours]
    temporary.remove(ours)
    assert list(tmp_path.iterdir()) == []
