"""The command line as a process of its own, with a cache that a test may spoil."""

import contextlib
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
from provision.build.build import Built, request, root_layers
from provision.build.request import Request
from tests.integration.conftest import CONFIG, SMALL, build_shared


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
    """`appliance` with its own cache and state; the configuration is the small one of the tests."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.cache = home / "cache/appliance"
        self.output = home / "verify.ova"
        self.env = {
            **os.environ,
            "XDG_CACHE_HOME": str(home / "cache"),
            "XDG_STATE_HOME": str(home / "state"),
        }

    @property
    def stages(self) -> Path:
        return self.cache / "stages"

    def argv(self, verb: str, *arguments: str) -> list[str]:
        output = ("-o", str(self.output)) if verb in ("build", "plan") else ()
        return [sys.executable, "-m", "provision.cli", verb, *SMALL, *output, *arguments]

    def run(self, verb: str, *arguments: str, timeout: float = 800, **env: str) -> Outcome:
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

    def build(self, *arguments: str, **env: str) -> Outcome:
        return self.run("build", "--no-vm", "--json", *arguments, **env)

    def plan(self, *arguments: str) -> dict[str, dict[str, Any]]:
        told = self.run("plan", "--json", *arguments)
        assert told.code == 0, told.err
        return {stage["stage"]: stage for stage in told.json["stages"]}

    def cached(self) -> list[str]:
        return [name for name, stage in self.plan().items() if stage["cached"]]

    def interrupt(self, number: int, when: Callable[[], bool]) -> int:
        """Start a build, send it a signal as soon as ``when`` says so, and give its status.

        It is stopped first, and asked again: what it was at may just have ended.
        """
        told = self.home / "interrupted.log"
        with told.open("ab") as log:
            process = subprocess.Popen(
                self.argv("build", "--no-vm"),
                stdout=log,
                stderr=log,
                env=self.env,
                cwd=self.home,
                start_new_session=True,
            )
        deadline = time.monotonic() + 600
        while True:
            assert process.poll() is None, told.read_text()[-2000:]
            assert time.monotonic() < deadline, "the moment never came"
            if when():
                process.send_signal(signal.SIGSTOP)
                if when():
                    break
                process.send_signal(signal.SIGCONT)
            time.sleep(0.005)
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        try:
            return process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise

    def take(self, names: list[str]) -> None:
        """Copy finished stages of the same appliance from the user's own cache."""
        plan = self.plan()
        self.stages.mkdir(parents=True, exist_ok=True)
        for name in names:
            entry = places.cache() / "stages" / plan[name]["key"][:32]
            linked = subprocess.run(["cp", "-al", entry, self.stages], check=False)
            if linked.returncode:  # the cache is on another file system
                subprocess.run(["cp", "-a", "--sparse=always", entry, self.stages], check=True)

    def take_ova(self, built: Built) -> None:
        """Have that appliance's OVA stand there: what it holds is not compressed again."""
        subprocess.run(["cp", built.ova, self.output], check=True)

    def leftovers(self) -> list[str]:
        """Processes and mounts that still belong to a build of ours."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if str(self.home) in command and entry.name != str(os.getpid()):
                    found.append(command)
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        return found + [
            line for line in mounts if line.startswith("overlay") and str(self.home) in line
        ]


@pytest.fixture
def wanted() -> Request:
    """The shared appliance, of the archive as it is now: so the command line builds it too."""
    return request(CONFIG)


@pytest.fixture
def built(wanted: Request) -> Built:
    """That appliance."""
    return build_shared(wanted)


@pytest.fixture
def sealed(built: Built, wanted: Request) -> tuple[Path, ...]:
    """The layers of that appliance, the base first."""
    return root_layers(wanted)


@contextlib.contextmanager
def empty_shell(place: Path) -> Iterator[Shell]:
    """A command line with an empty cache, but with the packages that were downloaded before."""
    made = Shell(place)
    downloads = places.cache() / "packages"
    if downloads.is_dir():
        made.cache.mkdir(parents=True)
        shutil.copytree(
            downloads, made.cache / "packages", copy_function=_linked, ignore=_unfinished
        )
    yield made
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """One of the test's own."""
    with empty_shell(tmp_path) as made:
        yield made


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mount a file system of so many bytes."""
    mounted: list[Path] = []

    def mount(size: int, place: Path | None = None) -> Path:
        place = place or tmp_path / f"small{len(mounted)}"
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
        mounted.append(place)
        return place

    yield mount
    for place in reversed(mounted):
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def stop_signals() -> tuple[int, ...]:
    return (signal.SIGINT, signal.SIGKILL)


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _unfinished(directory: str, names: list[str]) -> list[str]:
    return [name for name in names if name in ("partial", "lock")]
