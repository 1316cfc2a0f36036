"""Faults of the seat's host, met by the verb itself in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from publishing import Publisher, Server

from provision.process import require
from vbox import VBoxManage, machine

Pull = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def pull(publisher: Publisher, manage: VBoxManage, tmp_path: Path) -> Pull:
    """Start `appliance pull` in a seat of its own."""

    def start(
        source: str | Path,
        *before: str,
        path: Path = manage.path.parent,
        data: Path = tmp_path,
        options: tuple[str, ...] = (),
    ) -> "subprocess.Popen[str]":
        env = {**os.environ, **manage.env, "XDG_DATA_HOME": str(data / "data")}
        env |= {"PATH": f"{path}:/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path / "cache")}
        return subprocess.Popen(
            [
                *before, sys.executable, "-m", "provision.cli", "pull", source,
                "--public-key", publisher.public, "--json", *options,
            ],
            env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return start


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_virtualbox_is_missing(publisher: Publisher, pull: Pull, tmp_path: Path) -> None:
    publisher.publish(1)
    code, out, err = ended(pull(publisher.root, path=tmp_path))
    assert (code, out) == (4, "")
    assert "VirtualBox is not installed" in err
    assert "hint: install VirtualBox" in err


def test_two_pulls_at_once(
    publisher: Publisher, pull: Pull, manage: VBoxManage, serve: Callable[[Path], Server]
) -> None:
    """One does the work; the other says so, or finds it done. There is one VM, and it is right."""
    version = publisher.publish(1).version
    server = serve(publisher.root)
    results = [ended(process) for process in [pull(server.url) for _ in range(3)]]
    codes = sorted(code for code, _, _ in results)
    assert codes[0] == 0 and set(codes) <= {0, 1}, results
    assert all("another pull" in err for code, _, err in results if code == 1)
    assert len(machine.find(manage, "sage")) == 1
    code, out, _ = ended(pull(server.url))
    assert (code, json.loads(out)["version"], json.loads(out)["changed"]) == (0, version, False)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_full_file_system(
    publisher: Publisher, pull: Pull, manage: VBoxManage, small: Path
) -> None:
    publisher.publish(1)
    (small / "ballast").write_bytes(bytes(60 << 20))
    code, _, err = ended(pull(publisher.root, data=small))
    assert code == 4
    assert "no room" in err
    assert "hint: free some room" in err
    assert machine.find(manage, "sage") == ()
    (small / "ballast").unlink()
    subprocess.run(["mount", "-o", "remount,size=400m", small], check=True)
    code, _, err = ended(pull(publisher.root, data=small))
    assert code == 0, err
    assert "bring" in err  # progress


@pytest.mark.parametrize("day", ["1996-02-29 12:00:00", "2067-01-01 00:00:00"])
def test_clock_off_by_decades(
    publisher: Publisher, pull: Pull, serve: Callable[[Path], Server], day: str
) -> None:
    """Signature, serial and content do not ask what day it is; a date that has passed is told."""
    publisher.publish(1)
    url = serve(publisher.root).url
    wrong = (require("faketime", "faketime"), day)
    options: tuple[str, ...] = ()
    code, _, err = ended(pull(url, *wrong))
    if day.startswith("2067"):
        assert code == 8
        assert "--accept-expired" in err
        options = ("--accept-expired",)
        code, _, err = ended(pull(url, *wrong, options=options))
    assert code == 0, err
    second = publisher.publish(2).version
    code, out, err = ended(pull(url, *wrong, options=options))
    assert code == 0, err
    assert json.loads(out)["version"] == second
