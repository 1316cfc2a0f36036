"""What goes wrong is named, with its mend and its exit code, and leaves nothing half-made."""

import contextlib
import http.server
import os
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provision import locks
from provision.build.build import Built
from provision.config.distributions import DISTRIBUTIONS
from provision.errors import HostNotReadyError
from provision.jeos import archive
from provision.jeos.layers import private_mounts
from provision.waiting import until

MIB = 1 << 20


def nothing_half_made(shell) -> bool:
    return not list(shell.stages.glob("*.part")) and not list(shell.home.glob("*.part"))


def test_a_mirror_that_does_not_answer(shell) -> None:
    outcome = shell.build("--set", "mirror=http://127.0.0.1:9/debian")
    assert outcome.code == 4
    assert "http://127.0.0.1:9/debian/dists/trixie/InRelease" in outcome.err
    assert "--offline" in outcome.err


def test_a_suite_that_the_mirror_does_not_have(shell) -> None:
    outcome = shell.build("--set", "suite=trixy")
    assert outcome.code == 3
    assert "no suite 'trixy'" in outcome.err


@pytest.fixture
def tampering_mirror() -> Iterator[Callable[[str], str]]:
    """A mirror that passes the real one on, but changes the files whose name ends as told."""
    real = archive.host_mirrors("debian").get("main", DISTRIBUTIONS["debian"].mirror)
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(ending: str) -> str:
        class Tamper(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                try:
                    with urllib.request.urlopen(real + self.path.removeprefix("/debian")) as answer:
                        data = bytearray(answer.read())
                except urllib.error.HTTPError as error:
                    self.send_error(error.code)
                    return
                if self.path.endswith(ending):
                    data[len(data) // 2] ^= 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tamper)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/debian"

    yield start
    for server in servers:
        server.shutdown()


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        ("InRelease", "signature does not verify"),
        (".deb", "does not match the archive's checksums"),
    ],
)
def test_a_mirror_that_was_tampered_with(
    shell, tampering_mirror: Callable[[str], str], ending: str, told: str
) -> None:
    for package in (shell.cache / "packages").rglob("*.deb"):
        package.unlink()
    outcome = shell.build("--set", f"mirror={tampering_mirror(ending)}")
    assert outcome.code == 4, outcome.err
    assert told in outcome.err
    assert nothing_half_made(shell)
    assert shell.leftovers() == []


ROOM = {"base": 60 * MIB, "packages": 60 * MIB, "configure": 0, "seal": 0, "disks": 80 * MIB}


GUESTS = ("packages", "configure")  # minutes each


@pytest.mark.parametrize(
    "stage",
    [pytest.param(s, marks=[pytest.mark.slow] if s in GUESTS else []) for s in ROOM],
)
def test_the_disk_fills_up(
    shell, built: Built, small_disk: Callable[..., Path], stage: str
) -> None:
    before = list(ROOM)[: list(ROOM).index(stage)]
    shell.take(before)
    kept = shell.home / "kept"
    if before:
        shell.stages.rename(kept)
    used = int(subprocess.check_output(["du", "-sm", shell.home]).split()[0])
    small_disk((used + 200) * MIB, shell.stages)
    if before:
        subprocess.run(["cp", "-a", "--sparse=always", f"{kept}/.", shell.stages], check=True)
    free = shutil.disk_usage(shell.stages).free - ROOM[stage]
    with (shell.stages / "filler").open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, free)
    outcome = shell.build()
    assert outcome.code == 4, outcome.err
    assert f"no space left on the file system of {shell.stages} in stage {stage}" in outcome.err
    assert nothing_half_made(shell)
    assert shell.leftovers() == []


def test_the_disk_of_the_ova_fills_up(shell, built: Built, small_disk: Callable[..., Path]) -> None:
    shell.take(list(ROOM))
    shell.output = small_disk(20 * MIB) / "verify.ova"
    outcome = shell.build()
    assert outcome.code == 4, outcome.err
    assert "room" in outcome.err or "space" in outcome.err
    assert not list(shell.output.parent.iterdir())


def test_no_room_for_temporary_files(shell, small_disk: Callable[..., Path]) -> None:
    outcome = shell.build(TMPDIR=str(small_disk(MIB)))
    assert outcome.code == 4, outcome.err
    assert "no space left" in outcome.err
    assert nothing_half_made(shell)


@pytest.mark.slow
def test_a_playbook_of_the_user_fails(shell, built: Built, tmp_path: Path) -> None:
    """The task, its message and the log are named; the stage is kept when asked for."""
    shell.take(["base", "packages"])
    hook = tmp_path / "chalk.yml"
    hook.write_text(
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - name: Fetch the chalk\n"
        "      ansible.builtin.fail:\n        msg: there is no chalk left\n"
    )
    outcome = shell.build("--keep-on-failure", "--set", f"hooks.playbooks=[{hook}]")
    assert outcome.code == 7, outcome.err
    assert "Fetch the chalk" in outcome.err
    assert "there is no chalk left" in outcome.err
    log = outcome.err.rsplit("hint: ", 1)[1].split()[-1]
    assert "Fetch the chalk" in Path(log).read_text()
    assert [path.suffix for path in shell.stages.iterdir() if path.is_dir()].count(".failed") == 1
    assert shell.leftovers() == []


@pytest.mark.slow
def test_two_builds_at_once_make_each_stage_once(shell, built: Built) -> None:
    shell.take(["base", "packages", "configure"])
    outputs = (shell.output, shell.home / "other.ova")
    logs = [shell.home / "one.log", shell.home / "other.log"]
    lock = shell.stages / f"{shell.plan()['seal']['key'][:32]}.lock"
    with contextlib.ExitStack() as both:
        with locks.holding(lock, wait=False):  # a third one, so that these two do meet
            processes = [
                subprocess.Popen(
                    [*shell.argv("build", "--no-vm"), "-o", str(output)],
                    env=shell.env,
                    stdout=subprocess.DEVNULL,
                    stderr=both.enter_context(log.open("w")),
                )
                for output, log in zip(outputs, logs, strict=True)
            ]
            assert until(lambda: all("waiting for it" in log.read_text() for log in logs), 300)
        assert [process.wait(600) for process in processes] == [0, 0], logs
    assert sum("ok seal" in log.read_text() for log in logs) == 1
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_offline_goes_as_far_as_the_cache(shell, built: Built) -> None:
    outcome = shell.build("--offline")
    assert outcome.code == 4
    assert "build once without --offline" in outcome.err
    shell.take(["base", "packages", "configure", "seal"])  # asks the mirror once
    outcome = shell.build("--offline", "--set", "packages=[tree]")
    assert outcome.code == 4, "another list of packages is another stage"
    assert "packages must be downloaded" in outcome.err
    # The way to a download is no part of what is built.
    shell.take_ova(built)
    outcome = shell.build("--offline", "--set", "proxy=http://127.0.0.1:9")
    assert outcome.code == 0, outcome.err
    assert outcome.json["sha256"] == built.sha256


def test_an_ordinary_user_without_namespaces() -> None:
    """Whoever may make no mount namespace is told what helps, with exit code 4."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # whatever happens here, this process must not go on as pytest
        status = 99
        try:
            os.setgid(65534)
            os.setuid(65534)
            private_mounts()
        except HostNotReadyError as error:
            os.write(write, f"{error}: {error.hint}".encode())
            status = error.exit_code
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read) as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 4, told
    assert "run as root" in told
