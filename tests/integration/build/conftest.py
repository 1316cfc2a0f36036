"""The command line as a process of its own, with a cache that a test may spoil."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provision.build import places

SMALL = ("--set", "name=verify", "--set", "sage.source=none", "--set", "pool.count=2")


@dataclass(frozen=True)
class Outcome:
    """How a run of the command line ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """`appliance` with its own directories; the configuration is the small one of the tests."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {
            **os.environ,
            "XDG_CACHE_HOME": str(home / "cache"),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_DATA_HOME": str(home / "data"),
        }

    @property
    def stages(self) -> Path:
        return self.home / "cache/appliance/stages"

    def argv(self, verb: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "provision.cli", verb, *SMALL, *arguments]

    def run(self, verb: str, *arguments: str, timeout: float = 600, **env: str) -> Outcome:
        done = subprocess.run(
            self.argv(verb, *arguments),
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**self.env, **env},
            cwd=self.home,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def interrupted(self, number: int, at: Callable[[], bool], *arguments: str) -> int:
        """Start a build and send it a signal as soon as ``at`` says so; gives its status."""
        with (self.home / "interrupted.log").open("ab") as log:
            process = subprocess.Popen(
                self.argv("build", "--no-vm", *arguments),
                stdout=log,
                stderr=log,
                env=self.env,
                cwd=self.home,
                start_new_session=True,
            )
            deadline = time.monotonic() + 300
            while not at():
                assert process.poll() is None, (self.home / "interrupted.log").read_text()[-2000:]
                assert time.monotonic() < deadline, "the stage was never reached"
                time.sleep(0.02)
            time.sleep(0.7)
            os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(
                number
            )
            return process.wait(60)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A command line with an empty cache, but with the packages that were downloaded before."""
    made = Shell(tmp_path)
    downloads = places.cache() / "packages"
    if downloads.is_dir():
        target = tmp_path / "cache/appliance/packages"
        shutil.copytree(downloads, target, copy_function=_linked, ignore=_partial)
    yield made
    shutil.rmtree(tmp_path, ignore_errors=True)


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _partial(directory: str, names: list[str]) -> list[str]:
    return [name for name in names if name in ("partial", "lock")]


def leftovers(home: Path) -> list[str]:
    """Processes and mounts that still belong to a build below ``home``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(home) in command and entry.name != str(os.getpid()):
            found.append(command)
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return found + [line for line in mounts if str(home) in line or "appliance-tree-" in line]
