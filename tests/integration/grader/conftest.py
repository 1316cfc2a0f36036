"""A real sandbox image, and the real service as an ordinary user."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs

import pytest
from click.testing import CliRunner

from provision.cli import appliance
from provision.guest.sandbox import image
from vbox.portable import debian_mirror

# Nobody's number on any host, and no other test run's: the service and its boxes run as this.
USER = 1_000_000 + os.getpid()
ROOT = Path(__file__).parents[3]
_ROOTS = "appliance-sandbox-roots-"
RECIPE = image.Recipe("python-c", ("gcc", "libc6-dev", "make", "python3"))
JAVA = image.Recipe("java", ("default-jdk-headless", "maven"))


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    code = Path(image.__file__).parent
    parts = (code / name for name in ("image.py", "seccomp.py", "run-task.sh", "uml-init.sh"))
    key = hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:12]
    return Path(base) / "appliance-tests" / f"sandbox-{key}"


@pytest.fixture(scope="session")
def squashfs() -> Path:
    """The sandbox image, built once for each host by the verb."""
    directory = cache()
    built = directory / f"{RECIPE.name}.squashfs"
    if not built.exists():
        build_image(RECIPE, directory)
    return built


@pytest.fixture(scope="session")
def java_squashfs() -> Path:
    """The image for Java and Maven, built once for each host. Only for slow tests."""
    built = cache() / f"{JAVA.name}.squashfs"
    if not built.exists():
        build_image(JAVA, cache())
    return built


def build_image(recipe: image.Recipe, directory: Path) -> Path:
    """Build an image as a teacher does; returns what the verb prints."""
    words = [word for package in recipe.packages for word in ("-p", package)]
    done = CliRunner().invoke(
        appliance, ["sandbox", "image", "build", recipe.name, *words, "-d", str(directory)]
    )
    assert done.exit_code == 0, done.exception
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def images(squashfs: Path) -> Iterator[Path]:
    """The directory of root file systems that an engine sees; unpacked, for want of a mount.

    It is this run's own: another would kill our boxes as leftovers of its service, or replace it.
    """
    for old in Path("/var/tmp").glob(f"{_ROOTS}*"):
        if not Path("/proc", old.name.removeprefix(_ROOTS)).exists():
            shutil.rmtree(old)
    roots = Path("/var/tmp") / f"{_ROOTS}{os.getpid()}"
    roots.mkdir(mode=0o755)
    image.extract(squashfs, roots / RECIPE.name)
    yield roots
    shutil.rmtree(roots)


def from_sid(package: str, place: Path) -> Path:
    """Download a package of Debian sid by an apt configuration of its own; apt checks it.

    Sid's User-Mode Linux runs where those of Debian 12 and 13 panic: on processors with AMX.
    """
    state = place / "apt"
    (state / "lists/partial").mkdir(parents=True, exist_ok=True)
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (state / "sources").write_text(f"deb [signed-by={keyring}] {debian_mirror()} sid main\n")
    (state / "status").touch()
    options = {
        **{"Dir::State": state, "Dir::State::status": state / "status"},
        **{"Dir::State::lists": state / "lists", "Dir::Cache": state},
        **{"Dir::Etc::sourcelist": state / "sources", "Dir::Etc::sourceparts": "-"},
        **{"Acquire::Check-Valid-Until": "false", "APT::Sandbox::User": "root"},
    }
    apt = ["apt-get", "-q", *(f"-o{name}={value}" for name, value in options.items())]
    subprocess.run([*apt, "update"], check=True)
    subprocess.run([*apt, "download", package], cwd=place, check=True)
    (deb,) = place.glob(f"{package}_*.deb")
    return deb


@pytest.fixture(scope="session")
def uml_kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's User-Mode Linux, downloaded once for each host."""
    kept = cache().parent / "linux.uml"
    if not kept.exists():
        place = tmp_path_factory.mktemp("uml")
        subprocess.run(["dpkg-deb", "-x", from_sid("user-mode-linux", place), place], check=True)
        shutil.move(place / "usr/bin/linux.uml", kept)
    return kept


@pytest.fixture(scope="session")
def uml(images: Path, uml_kernel: Path) -> dict[str, str]:
    """User-Mode Linux and the image as a disk: the engine's settings."""
    # Beside the roots, where the service's user can reach them.
    disks = images / ".uml"
    disks.mkdir(mode=0o755)
    kernel = Path(shutil.copy(uml_kernel, disks))
    image.to_ext4(images / RECIPE.name, disks / f"{RECIPE.name}.ext4", 700 << 20)
    return {"uml_kernel": str(kernel), "uml_images": str(disks)}


@pytest.fixture
def state(open_checkout: None) -> Iterator[Path]:
    """A directory that the unprivileged user owns and can reach."""
    directory = Path("/var/tmp") / f"appliance-grader-{os.getpid()}-{time.monotonic_ns()}"
    directory.mkdir(mode=0o755)
    if os.getuid() == 0:
        os.chown(directory, USER, USER)
    yield directory
    subprocess.run(["rm", "-rf", directory], check=True)


def unprivileged() -> list[str]:
    """What to put before a command so that it runs without any privilege."""
    if os.getuid():
        return []
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs"]


def task(files: dict[str, str | bytes], *, mode: int = 0o755) -> bytes:
    """A tar of some files, all of one mode."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), mode
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def script(text: str, **files: str) -> bytes:
    """A task whose tmc-run is this shell script."""
    return task({"tmc-run": f"#!/bin/sh\n{text}\n", **files})


def python(text: str) -> bytes:
    """A task whose tmc-run is this Python program."""
    return task({"tmc-run": f"#!/usr/bin/python3\n{text}\n"})


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """A small HTTP client, independent of the service's own library."""

    url: str
    token: str | None = None

    def request(
        self,
        path: str,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
        method: str | None = None,
        timeout: float = 70,
    ) -> Answer:
        request = urllib.request.Request(
            self.url + path, data, headers or {}, method=method or ("POST" if data else "GET")
        )
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read())

    def post(self, archive: bytes | None, path: str = "/", **fields: str) -> Answer:
        body, kind = multipart(archive, fields)
        return self.request(path, body, {"Content-Type": kind})

    def result(self, archive: bytes, **fields: str) -> dict[str, Any]:
        """Post a task and wait for its end."""
        accepted = self.post(archive, **fields)
        assert accepted.status == 200, accepted
        return self.wait(accepted.json["id"])

    def wait(self, identifier: str, seconds: float = 60) -> dict[str, Any]:
        answer = self.request(f"/tasks/{identifier}?wait={seconds}").json
        assert answer["state"] == "done", answer
        found: dict[str, Any] = answer
        return found


def multipart(archive: bytes | None, fields: dict[str, str]) -> tuple[bytes, str]:
    boundary = "----exercise"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    if archive is not None:
        head = 'Content-Disposition: form-data; name="file"; filename="task.tar"'
        parts.append(f"--{boundary}\r\n{head}\r\n\r\n".encode() + archive + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), (
        f"multipart/form-data; boundary={boundary}"
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Grader:
    """The service as a process of its own."""

    state: Path
    images: Path
    options: dict[str, Any]
    limits: dict[str, Any]
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def client(self) -> Client:
        return Client(f"http://127.0.0.1:{self.port}")

    def start(self) -> "Grader":
        settings = {
            "port": self.port,
            "state": str(self.state),
            "images": str(self.images),
            "image": RECIPE.name,
            "notify_allow": ["127.0.0.1"],
            **self.options,
        }
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        lines += ["[limits]", *(f"{key} = {value}" for key, value in self.limits.items())]
        config = self.state / "grader.toml"
        config.write_text("\n".join(lines) + "\n")
        self.process = subprocess.Popen(
            [*unprivileged(), sys.executable, "-m", "provision.guest.grader", "--config", config],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(self.state)},
            stderr=(self.state / "log").open("ab"),
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.state / "log").read_text()
            with contextlib.suppress(OSError):
                assert self.client.request("/status.json").status == 200
                return self
            time.sleep(0.05)
        raise AssertionError("the service did not start: " + (self.state / "log").read_text())

    def stop(self, *, kill: bool = False) -> None:
        if self.process and self.process.poll() is None:
            if kill:
                self.process.kill()
            else:
                self.process.terminate()
            self.process.wait(20)

    def processes(self) -> list[str]:
        """What runs as the service's user, beside the service itself."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    mine = entry.stat().st_uid == (USER if os.getuid() == 0 else os.getuid())
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if (entry / "stat").read_text().rpartition(") ")[2].startswith("Z"):
                        continue
                    boxed = "bwrap" in command or "tmc-run" in command or "/tmp/task" in command
                    if mine and (boxed or (os.getuid() == 0 and "guest.grader" not in command)):
                        found.append(f"{entry.name} {command}")
        return found


@pytest.fixture
def grader(state: Path, images: Path) -> Iterator[Callable[..., Grader]]:
    """Start services with options; they end with the test."""
    running: list[Grader] = []

    def start(limits: dict[str, Any] | None = None, **options: Any) -> Grader:
        home = state / str(len(running))
        home.mkdir()
        if os.getuid() == 0:
            os.chown(home, USER, USER)
        running.append(Grader(home, images, options, limits or {}))
        return running[-1].start()

    yield start
    for one in running:
        one.stop(kill=True)
    # A box that was being set up when its service was killed: the next service would sweep it
    # up, but nobody starts one; and the next test counts what runs.
    deadline = time.monotonic() + 60
    while running and (left := running[0].processes()):
        assert time.monotonic() < deadline, left
        for line in left if os.getuid() == 0 else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(line.split()[0]), signal.SIGKILL)
        time.sleep(0.02)


@dataclass
class Inbox:
    """A notify target that remembers what it was told."""

    url: str
    received: list[dict[str, Any]]
    arrived: Event
    status: int = 200
    location: str | None = None

    def expect(self, count: int = 1, seconds: float = 60) -> list[dict[str, Any]]:
        deadline = time.monotonic() + seconds
        while len(self.received) < count and time.monotonic() < deadline:
            self.arrived.wait(0.02)
            self.arrived.clear()
        assert len(self.received) >= count, self.received
        return self.received


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    """A real HTTP server for notifications."""
    box = Inbox("", [], Event())

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kind = self.headers["Content-Type"]
            if kind.startswith("application/json"):
                content = json.loads(data)
            else:
                content = {k: v[0] for k, v in parse_qs(data.decode(), True).items()}
            content["_path"], content["_type"] = self.path, kind
            content["_at"] = time.monotonic()
            box.received.append(content)
            box.arrived.set()
            self.send_response(box.status)
            if box.location:
                self.send_header("Location", box.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    box.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    yield box
    server.shutdown()
    server.server_close()
