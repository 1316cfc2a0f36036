"""The guard of notifications with the client that the guest installs, and with the newest.

Every target is a listener of the test's own, on every address of this machine.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from provision.build import places
from provision.locks import holding
from tests.integration.grader.conftest import ROOT, Inbox

# Debian 13's.
OLDER = ("aiohttp==3.11.16", "yarl==1.18.3")
SPELLINGS = (
    *("127.0.0.1", "127.1", "127.0.0.01", "0177.0.0.1", "017700000001", "0x7f.1", "0x7f000001"),
    *("2130706433", "127.0.0.1.", "0", "0.0.0.0", "localhost", "LOCALHOST", "localhost."),  # noqa: S104
    *(
        "１２７.0.0.1",
        "①②⑦.0.0.1",
        "127。0。0。1",
        "127.0.0.1%00",
        "%31%32%37.0.0.1",
        "127%2e0.0.1",
    ),
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:0001]"),
    *("[::127.0.0.1]", "[::1%25lo]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"),
    *("user@127.0.0.1", "@127.0.0.1", "example.org@127.0.0.1", "example.org\\@127.0.0.1"),
    *("127.0.0.1#@example.org", "127.0.0.1?@example.org", "\t127.0.0.1", "127.0.0.1\n"),
)
PROBE = """
import asyncio, json, socket, sys
import aiohttp
from provision.guest.grader import networks, notify
from provision.guest.grader.engine import Result
from provision.guest.grader.store import Task

async def tell(url, allowed=()):
    result = Result("finished", 0)
    task = Task("t", "c", "done", "i", "e", url, None, "json", 0.0, result=result)
    notifier = notify.Notifier(allowed, 0.1)
    await notifier.open()
    try:
        return await notifier.tell(task)
    finally:
        await notifier.close()

async def main():
    asked = json.load(sys.stdin)
    answers = {url: await tell(url) for url in asked["refused"]}
    # A name whose answers change, as an attacker's may: the first is public.
    loop, given = asyncio.get_running_loop(), []
    async def rebind(host, port, **_):
        given.append(host)
        return [(0, 0, 0, "", ("192.88.99.77" if len(given) == 1 else "127.0.0.1", port))]
    original, loop.getaddrinfo = loop.getaddrinfo, rebind
    answers["rebinding"] = await tell(asked["rebinding"])
    loop.getaddrinfo = original
    networks.own = lambda: [networks.ipaddress.ip_network("192.88.99.0/24")]
    answers["own"] = await tell("http://192.88.99.77/")
    answers["allowed"] = await tell(asked["allowed"], ["localhost"])
    print(json.dumps([aiohttp.__version__, answers]))

asyncio.run(main())
"""


@pytest.fixture(scope="module", params=["the guest's", "the newest"])
def interpreter(request: pytest.FixtureRequest) -> str:
    if request.param == "the newest":
        return sys.executable
    home = places.cache() / "tests" / "-".join(OLDER).replace("==", "-")
    home.parent.mkdir(parents=True, exist_ok=True)
    with holding(home.with_suffix(".lock"), wait=True):
        if not (home / "done").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
            subprocess.run([home / "bin/pip", "install", "-q", *OLDER], check=True)
            (home / "done").touch()
    return str(home / "bin/python")


def test_no_spelling_of_our_own_addresses_is_contacted(interpreter: str, inbox: Inbox) -> None:
    port = int(inbox.url.rpartition(":")[2])
    contacted: list[str] = []

    async def probe() -> tuple[str, dict[str, str]]:
        with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as here:
            own = here.getsockname()[1]

            async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                contacted.append(str(writer.get_extra_info("peername")))
                writer.close()

            server = await asyncio.start_server(connected, sock=here)
            urls = [f"http://{host}:{own}/status.json" for host in SPELLINGS]
            urls += [f"https://{host}:{own}/" for host in SPELLINGS[:8]]
            asked = {
                "refused": urls,
                "rebinding": f"http://rebinding.example:{own}/",
                "allowed": f"http://localhost:{port}/a%20b?c=d",
            }
            process = await asyncio.create_subprocess_exec(
                *(interpreter, "-c", PROBE),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            out, _ = await process.communicate(json.dumps(asked).encode())
            server.close()
            version, answers = json.loads(out)
            return version, answers

    version, answers = asyncio.run(probe())
    assert contacted == [], (version, contacted)
    assert answers.pop("allowed") == "delivered"
    assert inbox.received[0]["_path"] == "/a%20b?c=d"
    assert answers.pop("own") == "abandoned: 192.88.99.77 has no public address"
    assert all(how.startswith("abandoned") for how in answers.values()), (version, answers)


def test_a_certificate_is_for_the_name_that_was_asked(interpreter: str, tmp_path: Path) -> None:
    """The client connects an address, but whom it speaks with must prove the name."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-days", "2"),
            *("-keyout", tmp_path / "key", "-out", tmp_path / "crt"),
        ],
        check=True,
        capture_output=True,
    )
    server = (
        "import http.server as h, ssl, sys\n"
        "class H(h.BaseHTTPRequestHandler):\n"
        "  def do_POST(self):\n"
        "    self.send_response(200 if self.headers['Host'].startswith('localhost:') else 400)\n"
        "    self.end_headers()\n"
        "s = h.ThreadingHTTPServer(('127.0.0.1', 0), H)\n"
        "c = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)\n"
        "c.load_cert_chain(sys.argv[2], sys.argv[1])\n"
        "s.socket = c.wrap_socket(s.socket, server_side=True)\n"
        "print(s.server_port, flush=True)\n"
        "s.serve_forever()"
    )
    tell = (
        PROBE.partition("async def main")[0]
        + "print(json.dumps([asyncio.run(tell(u, ['127.0.0.1'])) for u in sys.argv[1:]]))"
    )
    words = [sys.executable, "-c", server, str(tmp_path / "key"), str(tmp_path / "crt")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
        assert running.stdout
        port = int(running.stdout.readline())
        done = subprocess.run(
            [
                *(interpreter, "-c", tell),
                *(f"https://{n}:{port}/" for n in ("localhost", "127.0.0.1")),
            ],
            env={
                **os.environ,
                **{"PYTHONPATH": str(ROOT), "SSL_CERT_FILE": str(tmp_path / "crt")},
            },
            capture_output=True,
            text=True,
            check=True,
        )
        running.terminate()
    named, unnamed = json.loads(done.stdout)
    assert named == "delivered"
    assert "ertificate" in unnamed
