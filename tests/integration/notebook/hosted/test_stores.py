"""Students' stores in a session: through the filtering proxy only, and by the clock.

What a synchronisation does is in tests/integration/stores.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import Guest
from student import Kernel, Student

from tests.integration.webdav import HOSTED_PORT, PASSWORD, USER, webdav

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

HOSTED = "/etc/notebook/hosted.json"
CONNECT = (
    f"echo {PASSWORD} | store connect dav webdav --user {USER}"
    f" --url http://store.school.test:{HOSTED_PORT}"
)


@pytest.fixture(autouse=True)
def named(hosted: Guest) -> None:
    """Names that lead to this host's loopback."""
    hosted.run(
        "grep -q store.school.test /etc/hosts ||"
        f" (echo {hosted.gateway()} store.school.test elsewhere.test >> /etc/hosts;"
        " systemctl restart notebook-egress)"
    )


@pytest.fixture
def dav(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "dav"
    root.mkdir()
    with webdav(root, HOSTED_PORT):
        yield root / "notebook"


def shell(hosted: Guest, student: str) -> Kernel:
    """A session of a student who has no files."""
    hosted.run(f"rm -rf /home/students/{student}")
    return Student(hosted.url, student).sign_in().start().kernel()


def test_other_hosts_are_not_reached(hosted: Guest, dav: Path) -> None:
    kernel = shell(hosted, "emmy")
    assert "are connected" in kernel.shell(CONNECT)
    kernel.shell("mkdir -p dav && echo one > dav/one")
    assert "1 sent" in kernel.shell("store sync")
    assert (dav / "one").read_text() == "one\n"
    assert kernel.shell("stat -c %a .config/store .config/store/rclone.conf") == "700\n600\n"
    assert PASSWORD not in hosted.run("journalctl --no-pager -o cat")
    kernel.shell("store disconnect dav")
    told = kernel.shell(CONNECT.replace("store.school.test", "elsewhere.test"))
    assert "is not connected" in told
    assert "403" in told
    assert kernel.shell("store list") == ""


def test_a_running_session_synchronises_by_itself(hosted: Guest, dav: Path) -> None:
    settings = json.loads(hosted.run(f"cat {HOSTED}"))

    def every(seconds: int) -> None:
        told = json.dumps(settings | {"stores": {"every": seconds}})
        hosted.run(f"cat > {HOSTED} << 'END'\n{told}\nEND\nsystemctl restart notebook")
        hosted.wait()

    every(1)
    try:
        kernel = shell(hosted, "emmy")
        kernel.shell(CONNECT)
        kernel.shell("mkdir -p dav; echo one > dav/one")
        deadline = time.monotonic() + 120
        while not (dav / "one").exists():
            assert time.monotonic() < deadline
            time.sleep(0.5)
    finally:
        every(settings["stores"]["every"])
