"""The doctor on this very host, and on this host with something taken away."""

import email.utils
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.config import Config
from provision.doctor import examine, gather
from provision.doctor.facts import _mirror

APPLIANCE = (sys.executable, "-c", "from provision.cli import main; main()")


class Answers(http.server.BaseHTTPRequestHandler):
    """A mirror with one InRelease, dated by a clock of its own."""

    release = b""
    skew = 0.0
    status = 200

    def do_GET(self) -> None:
        self.send_response_only(self.status)
        self.send_header("Date", email.utils.formatdate(time.time() + self.skew, usegmt=True))
        self.end_headers()
        self.wfile.write(self.release)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def mirror() -> Iterator[type[Answers]]:
    """A mirror on loopback; its ``config`` points at it."""
    handler = type("Own", (Answers,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        handler.config = Config(mirror=f"http://127.0.0.1:{server.server_port}/debian")
        yield handler
        server.shutdown()


def test_this_host_has_what_its_tests_need(tmp_path):
    facts = gather(Config(), output=tmp_path, offline=True)
    assert facts.missing == ()
    assert facts.architecture == "x86_64"
    assert facts.kernel > (3, 0)
    assert 0 < facts.available <= facts.memory
    assert facts.rooms["output"].free > 0


def test_the_mirror_that_this_host_uses_is_signed_and_current(tmp_path):
    facts = gather(Config(), output=tmp_path)
    assert facts.mirror is not None
    assert (facts.mirror.trouble, facts.mirror.signature) == ("", "good")
    assert abs(facts.mirror.clock or 0) < 300
    found = {check.name: check.status for check in examine(facts, Config())}
    assert (found["package mirror"], found["clock"]) == ("ok", "ok")


def test_a_mirror_that_is_off(mirror):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        found = _mirror(Config(mirror=f"http://127.0.0.1:{closed.getsockname()[1]}"))
    assert "refused" in found.trouble


def test_a_mirror_without_the_suite(mirror):
    mirror.status = 404
    assert _mirror(mirror.config).trouble == "HTTP status 404"


def test_a_forged_and_expired_release(mirror):
    mirror.release = (
        b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nValid-Until: Sat, 01 Jan 2022"
        b" 00:00:00 UTC\n-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"
    )
    found = _mirror(mirror.config)
    assert found.signature not in ("good", "unchecked")
    assert found.valid_until == 1640995200


def test_a_clock_that_is_wrong(mirror):
    mirror.skew = 3600
    assert _mirror(mirror.config).clock == pytest.approx(3600, abs=5)


def test_a_proxy_is_asked_instead(mirror):
    address = mirror.config.mirror.removesuffix("/debian")
    found = _mirror(Config(mirror="http://mirror.invalid/debian", proxy=address))
    assert found.trouble == ""


def test_a_taken_port_is_named_with_its_holder(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        config = Config.model_validate({"network": {"forwards": {"notebook": {"host": port}}}})
        facts = gather(config, output=tmp_path, offline=True)
        (check,) = [c for c in examine(facts, config) if c.name == f"port {port} (notebook)"]
    assert str(os.getpid()) in check.found


def test_a_user_who_may_make_no_namespaces(tmp_path):
    command = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    done = subprocess.run(
        [
            *("unshare", "--user", "--map-user=1000", "--map-group=1000", "--keep-caps"),
            *("sh", "-c", command, "sh", *APPLIANCE, "doctor", "--json", "--offline"),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
    )
    assert done.returncode == 4, done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["user namespaces"]["mend"] == (
        "sudo sysctl --write user.max_user_namespaces=15000"
    )


def test_the_packages_exist_in_this_hosts_distribution():
    named = subprocess.run(
        [*APPLIANCE, "doctor", "--packages"], check=True, capture_output=True, text=True
    ).stdout.split()
    shown = subprocess.run(
        ["apt-cache", "show", "--no-all-versions", *named],
        check=False,
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr
    assert len(named) >= 10
