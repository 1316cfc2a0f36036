"""A school's network in namespaces of its own: a switch, a server, seats; gone when closed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

SEAT = Path(__file__).with_name("seat.py")
SERVER = 0


class Network:
    """Hosts 0 (the server) to ``seats`` on one switch.

    Args:
        seats: how many.
        rate: what the server's card sends at most, as tc has it; None: as fast as it can.
    """

    def __init__(self, seats: int, *, rate: str | None = None) -> None:
        self.seats = range(1, seats + 1)
        self._prefix = f"room{os.getpid()}-"
        self._running: list[subprocess.Popen[bytes]] = []
        switch = self._prefix + "switch"
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        _ip("-n", switch, "link", "set", "br0", "up")
        for number in (SERVER, *self.seats):
            name = self._name(number)
            _ip("netns", "add", name)
            ours = ("name", "eth0", "netns", name)
            _ip("-n", switch, "link", "add", f"p{number}", "type", "veth", "peer", *ours)
            _ip("-n", switch, "link", "set", f"p{number}", "master", "br0", "up")
            _ip(
                "-n",
                name,
                "address",
                "add",
                f"{self.address(number)}/24",
                "brd",
                "+",
                "dev",
                "eth0",
            )
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "route", "add", "default", "dev", "eth0")
        if rate:
            self.run(
                SERVER, "tc", "qdisc", "add", "dev", "eth0", "root", "tbf",
                "rate", rate, "burst", "256k", "latency", "100ms",
            )  # fmt: skip

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.kill()
            process.wait()
        for number in (SERVER, *self.seats):
            _ip("netns", "delete", self._name(number))
        _ip("netns", "delete", self._prefix + "switch")

    def address(self, number: int) -> str:
        return f"10.77.0.{number + 1}"

    def run(self, number: int, *argv: str | Path, **env: str) -> str:
        """Run a program on a host to its end."""
        done = subprocess.run(
            self.on(number, *argv), env={**os.environ, **env}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{argv}: {done.stderr[-3000:]}"
        return done.stdout

    def start(
        self, number: int, *argv: str | Path, env: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        """Start a program on a host; it is killed with the network."""
        process = subprocess.Popen(
            self.on(number, *argv), env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._running.append(process)
        return process

    def sent(self) -> int:
        """Bytes that left the server, headers and all."""
        shown = self.run(SERVER, "ip", "-s", "-j", "link", "show", "eth0")
        return int(json.loads(shown)[0]["stats64"]["tx"]["bytes"])

    @contextmanager
    def serving(
        self, root: Path, *, plain: bool = False, program: Path | None = None
    ) -> Iterator[str]:
        """Serve a folder: by `classroom serve`, or by a web server that knows nothing of us.

        Args:
            root: the folder.
            plain: by Python's own server.
            program: by a program with the arguments of Python's own.
        """
        address = self.address(SERVER)
        ours = ("provision.cli", "classroom", "serve", root, "--port", "80", "--address", address)
        other = ("80", "--bind", address, "--directory", root)
        if program:
            process = self.start(SERVER, sys.executable, program, *other)
        else:
            chosen = ("http.server", *other) if plain else ours
            process = self.start(SERVER, sys.executable, "-m", *chosen)
        url = f"http://{address}"
        probe = f"import urllib.request as r; r.urlopen('{url}/minisign.pub', timeout=2)"
        deadline = time.monotonic() + 30
        while subprocess.run(
            self.on(SERVER, sys.executable, "-c", probe), capture_output=True, check=False
        ).returncode:
            assert process.poll() is None and time.monotonic() < deadline, "no web server"
            time.sleep(0.1)
        yield url
        process.kill()
        process.wait()

    def pull_all(
        self, url: str, key: Path, place: Path, *options: str
    ) -> tuple[float, list[dict[str, float]]]:
        """All seats but those in ``place`` already pull at once; seconds, and what each says."""
        begun = time.monotonic()
        started = [
            self.start(number, sys.executable, SEAT, url, key, place / f"seat-{number}", *options)
            for number in self.seats
        ]
        return finished(started, begun)

    def run_all(
        self,
        commands: Mapping[int, Sequence[str | Path]],
        *,
        env: Mapping[str, str] | None = None,
    ) -> float:
        """Run a program on each of several hosts at once; seconds until the last one ended."""
        begun = time.monotonic()
        started = [self.start(number, *argv, env=env) for number, argv in commands.items()]
        for process in started:
            _, err = process.communicate()
            assert process.returncode == 0, f"{process.args}: {err.decode()[-3000:]}"
        return time.monotonic() - begun

    def _name(self, number: int) -> str:
        return f"{self._prefix}{number}"

    def on(self, number: int, *argv: str | Path) -> list[str]:
        """The command that runs a program on a host."""
        return ["ip", "netns", "exec", self._name(number), *map(str, argv)]


def finished(
    started: Sequence["subprocess.Popen[bytes]"], begun: float
) -> tuple[float, list[dict[str, float]]]:
    """Wait for the seats; seconds until the last one had all, and what each says."""
    said = []
    for process in started:
        out, err = process.communicate()
        assert process.returncode == 0, err.decode()[-3000:]
        said.append(json.loads(out.splitlines()[-1]))
    return max(each["end"] for each in said) - begun, said


def _ip(*argv: str) -> None:
    subprocess.run(["ip", *argv], check=True, capture_output=True)
