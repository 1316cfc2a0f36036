"""A school whose only way out is a proxy with a password: all goes through, nobody learns it."""

import base64
import http.client
import http.server
import os
import select
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from provision.jeos import archive

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
USER, PASSWORD, QUOTED = "pupil", "gehe!m@7f3a", "gehe!m%407f3a"
OURS = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
SECRETS = [word.encode() for word in (PASSWORD, QUOTED, OURS.removeprefix("Basic "))]
MIRROR = "mirror.invalid"  # which nobody but the proxy finds
WHEEL = (
    "six==1.17.0 --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274\n"
)


class Proxy(http.server.ThreadingHTTPServer):
    """A forward proxy that wants a user and a password."""

    daemon_threads = True

    def __init__(self, mirror: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.mirror = urlsplit(mirror)
        self.asked: list[tuple[str, str]] = []
        self.refused: list[str] = []


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    server: Proxy

    def known(self) -> bool:
        """Whether the client may; it is told so else."""
        if self.headers.get("Proxy-Authorization") == OURS:
            self.server.asked.append((self.command, self.path))
            return True
        self.server.refused.append(self.path)
        self.send_response(407)
        self.send_header("Proxy-Authenticate", 'Basic realm="school"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def do_GET(self) -> None:
        if not self.known():
            return
        there = urlsplit(self.path)
        real = self.server.mirror if there.hostname == MIRROR else there
        wanted = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        connection = wanted[real.scheme](real.netloc, timeout=60)
        passed = ("range", "if-range", "user-agent", "if-modified-since")
        headers = {name: value for name, value in self.headers.items() if name.lower() in passed}
        connection.request("GET", there.path, headers=headers)
        answer = connection.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name in ("Last-Modified", "Content-Type", "ETag", "Content-Range", "Location", "Date"):
            if (value := answer.getheader(name)) and name != "Date":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        connection.close()

    def do_CONNECT(self) -> None:
        if not self.known():
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=60) as far:
            self.send_response(200)
            self.end_headers()
            near = self.connection
            ends = {near: far, far: near}
            while ready := select.select([*ends], [], [], 60)[0]:
                for each in ready:
                    if not (data := each.recv(1 << 16)):
                        self.close_connection = True
                        return
                    ends[each].sendall(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    (main, *_) = archive.sources("debian", "trixie", None)
    server = Proxy(main.uri)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A user's directories, of which a build leaves two gigabytes."""
    yield tmp_path
    shutil.rmtree(tmp_path)


class Watch(threading.Thread):
    """Look all the time for a secret in the command lines of this host."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[bytes] = set()
        self.looked = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.02):
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = entry.read_bytes()
                except OSError:
                    continue
                self.looked += 1
                self.seen |= {line} if any(secret in line for secret in SECRETS) else set()


def holding(place: Path) -> list[str]:
    """The files below a directory that have the password in them, in any form."""
    patterns = b"\n".join(SECRETS)
    argv = ["grep", "-rlaF", "-f", "/dev/stdin", str(place)]
    found = subprocess.run(argv, input=patterns, capture_output=True, check=False)
    return found.stdout.decode().splitlines()


def test_all_downloads_go_through_it_and_the_password_stays_nowhere(
    proxy: Proxy, home: Path
) -> None:
    (home / "sage.lock").write_text(WHEEL)
    (home / "appliance.yml").write_text(
        f"name: proxied\nmirror: http://{MIRROR}/debian\n"
        "sage: {source: passagemath, version: '1.0', lock: sage.lock}\n"
        "disks: {root: {size: 16G}}\n"
    )
    way = f"http://{USER}:{QUOTED}@127.0.0.1:{proxy.server_address[1]}"
    names = ("CACHE", "STATE", "DATA", "CONFIG")
    env = {
        **os.environ,
        **{f"XDG_{name}_HOME": str(home / name.lower()) for name in names},
        "http_proxy": way,
        "https_proxy": way,
    }

    def appliance(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "provision.cli", *words],
            env=env, cwd=home, capture_output=True, text=True, check=False,
        )  # fmt: skip

    watch = Watch()
    watch.start()
    doctor = appliance("doctor", "--json")
    done = appliance("upgrade", "pack")
    watch.over.set()
    watch.join()
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"through http://127.0.0.1:{proxy.server_address[1]} (the environment)" in doctor.stdout

    assert proxy.refused == []
    asked = unquote(" ".join(path for _, path in proxy.asked))
    kept = home / "cache/appliance/packages"
    for directory in (kept / "base", kept):  # what mmdebstrap, and what the guest's apt fetched
        packages = [path.name for path in directory.glob("*.deb")]
        assert len(packages) > 50
        assert [name for name in packages if unquote(name).split("_")[0] not in asked] == []
    assert ("CONNECT", "pypi.org:443") in proxy.asked
    assert ("CONNECT", "files.pythonhosted.org:443") in proxy.asked
    (sage,) = (home / "cache/appliance/stages").glob("*/root/opt/sage-1.0")
    assert list(sage.glob("lib/python3*/site-packages/six.py"))

    assert watch.looked > 1000
    assert watch.seen == set()
    assert holding(home) == []
    assert not any(
        secret.decode() in doctor.stdout + done.stdout + done.stderr for secret in SECRETS
    )
    (home / "canary").write_text(way)  # that all of this could have found it
    assert holding(home) == [str(home / "canary")]
