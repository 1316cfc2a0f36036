"""A task's network: none, or one port that leads to a proxy; seen from inside the box."""

import contextlib
import http.server
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import pytest

from tests.integration.grader.conftest import Grader, python

Start = Callable[..., Grader]


@dataclass
class Proxy:
    """A stand-in that answers every request itself; the real one is proven in the appliance."""

    address: str
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    seen = Proxy("")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.asked.append(self.path)
            body = b"x" * 3_000_000 if "large" in self.path else b"fetched"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    seen.address = f"127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    yield seen
    server.shutdown()
    server.server_close()


FETCH = "import urllib.request as r\nprint(r.urlopen('http://example.org/{}').read()[:9])"
ENGINES = ["bubblewrap", pytest.param("uml", marks=pytest.mark.slow)]


@pytest.fixture(params=ENGINES)
def service(
    request: pytest.FixtureRequest, grader: Start, proxy: Proxy
) -> tuple[Grader, Callable[..., Grader]]:
    options = {"engine": request.param, "engines": [request.param]}
    if request.param == "uml":
        options |= request.getfixturevalue("uml")
    return grader(proxy=proxy.address, **options), grader


def test_what_is_reachable_is_the_proxy_and_nothing_else(
    service: tuple[Grader, Start], proxy: Proxy
) -> None:
    client = service[0].client
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as name_server:
            name_server.bind(("127.0.0.1", 0))
            udp = name_server.getsockname()[1]
            result = client.result(
                python(
                    "import os, socket, urllib.request\n"
                    "from urllib.parse import urlsplit\n"
                    "def attempt(name, f):\n"
                    "  try: f(); print(name, 'WORKS')\n"
                    "  except OSError as e: print(name, 'fails')\n"
                    "def send(host, port):\n"
                    "  s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.5)\n"
                    "  s.sendto(b'x', (host, port)); s.recv(9)\n"
                    "gate = urlsplit(os.environ['http_proxy'])\n"
                    "tcp = lambda *to: socket.create_connection(to, 0.5)\n"
                    "attempt('proxy', lambda: tcp(gate.hostname, gate.port))\n"
                    f"attempt('host by door', lambda: tcp(gate.hostname, {port}))\n"
                    f"attempt('host', lambda: tcp('127.0.0.1', {port}))\n"
                    "attempt('outside', lambda: tcp('192.0.2.1', 80))\n"
                    "attempt('slirp', lambda: tcp('10.0.2.3', 53))\n"
                    "attempt('dns', lambda: socket.getaddrinfo('example.org', 80))\n"
                    "attempt('udp', lambda: send('1.1.1.1', 53))\n"
                    "attempt('udp by door', lambda: send(gate.hostname, 53))\n"
                    f"attempt('udp host', lambda: send('127.0.0.1', {udp}))\n"
                    "attempt('packet', lambda: socket.socket(socket.AF_PACKET))\n"
                    "attempt('raw', lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW))\n"
                    "print(urllib.request.urlopen('http://example.org/').read())"
                )
            )
    lines = result["stdout"].splitlines()
    assert lines[0] == "proxy WORKS", result
    assert lines[-1] == "b'fetched'", result
    assert [line for line in lines[1:] if line.endswith("WORKS")] == [], result
    assert proxy.asked == ["http://example.org/"]


def test_a_service_without_a_proxy_gives_none(service: tuple[Grader, Start]) -> None:
    engine = service[0].options["engine"]
    keep = {k: v for k, v in service[0].options.items() if k != "proxy"}
    closed = service[1](**keep)
    result = closed.client.result(python("import os; print(os.environ.get('http_proxy'))"))
    assert result["stdout"] == "None\n", result
    assert closed.client.request("/status.json").json["engines"][engine]["network"] == "none"


def test_a_door_ends_with_its_box(grader: Start, proxy: Proxy) -> None:
    service = grader(proxy=proxy.address, limits={"clock": 8.0})
    hold = (
        "import os, socket, time\n"
        "held = [socket.create_connection(('127.0.0.1', 3128)) for _ in range(100)]\n"
        "os.fork() or time.sleep(60)\ntime.sleep(60)"
    )
    assert service.process
    gates = [line for line in service.processes() if "sandbox.gate" in line]
    assert len(gates) == 1, gates
    pid = int(gates[0].split()[0])
    assert service.client.result(python(FETCH.format("")))["stdout"] == "b'fetched'\n"
    before = descriptors(pid)
    assert service.client.result(python(hold))["status"] == "timeout"
    assert service.client.result(python(FETCH.format("large")))["stdout"] == "b'xxxxxxxxx'\n"
    deadline = time.monotonic() + 60
    while descriptors(pid) != before or len(service.processes()) > 1:
        assert time.monotonic() < deadline, service.processes()
        time.sleep(0.05)


def test_two_boxes_have_a_door_each(grader: Start, proxy: Proxy) -> None:
    service = grader(proxy=proxy.address, instances=2)
    slow = "import time; time.sleep(0.5)\n" + FETCH
    tasks = [service.client.post(python(slow.format(n))).json["id"] for n in range(4)]
    assert {service.client.wait(task)["stdout"] for task in tasks} == {"b'fetched'\n"}
    assert sorted(proxy.asked) == [f"http://example.org/{n}" for n in range(4)]


def test_a_gate_that_was_killed_is_started_again(grader: Start, proxy: Proxy) -> None:
    service = grader(proxy=proxy.address)
    for _ in range(3):
        (gate,) = [line for line in service.processes() if "sandbox.gate" in line]
        os.kill(int(gate.split()[0]), signal.SIGKILL)
        done = service.client.result(python(FETCH.format("")))
        assert done["stdout"] == "b'fetched'\n", done


@pytest.mark.slow
def test_a_gate_that_hangs_is_started_again_and_costs_the_task_no_time(
    grader: Start, proxy: Proxy
) -> None:
    service = grader(proxy=proxy.address, limits={"clock": 10.0})
    (gate,) = [line for line in service.processes() if "sandbox.gate" in line]
    os.kill(int(gate.split()[0]), signal.SIGSTOP)
    posted = service.client.post(python(FETCH.format(""))).json["id"]
    done = service.client.request(f"/tasks/{posted}?wait=60").json
    assert (done["status"], done["stdout"]) == ("finished", "b'fetched'\n"), done
    (renewed,) = [line for line in service.processes() if "sandbox.gate" in line]
    assert renewed.split()[0] != gate.split()[0]


def test_the_gate_ends_with_a_killed_service(grader: Start, proxy: Proxy) -> None:
    service = grader(proxy=proxy.address)
    assert len(service.processes()) == 1
    service.stop(kill=True)
    deadline = time.monotonic() + 60
    while service.processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert service.processes() == []


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
