"""What the service outlives: restarts, a full disk, slow clients, hostile and silent targets."""

import contextlib
import os
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.grader.conftest import USER, Grader, Inbox, multipart, script

Start = Callable[..., Grader]


def running(service: Grader, identifier: str) -> None:
    deadline = time.monotonic() + 60
    while service.client.request(f"/tasks/{identifier}").json["state"] != "running":
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "stopped"])
def test_a_restart_in_mid_task_forgets_nothing(grader: Start, inbox: Inbox, kill: bool) -> None:
    service = grader(instances=1)
    posted = [
        service.client.post(script("sleep 1; echo ran"), notify=inbox.url, token=str(number))
        for number in range(3)
    ]
    running(service, posted[0].json["id"])
    service.stop(kill=kill)
    deadline = time.monotonic() + 60
    while left := service.processes():
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    service.start()
    told = inbox.expect(3)
    assert sorted(t["token"] for t in told) == ["0", "1", "2"]
    assert {t["stdout"] for t in told} == {"ran\n"}
    for answer in posted:
        assert service.client.wait(answer.json["id"])["status"] == "finished"
    assert list((service.state / "uploads").iterdir()) == []


def test_a_task_that_takes_the_service_down_twice_is_reported(grader: Start, inbox: Inbox) -> None:
    service = grader(instances=1)
    task = service.client.post(script("sleep 9"), notify=inbox.url).json["id"]
    for _ in range(2):
        running(service, task)
        service.stop(kill=True)
        service.start()
    (told,) = inbox.expect()
    assert (told["status"], told["exit_code"]) == ("failed", None)
    assert "stopped" in told["reason"]


def test_a_notification_under_way_is_told_after_a_restart(grader: Start, inbox: Inbox) -> None:
    inbox.status = 503
    service = grader()
    service.client.result(script("true"), notify=inbox.url)
    inbox.expect(1)
    service.stop()
    inbox.received.clear()
    inbox.status = 200
    service.start()
    (told,) = inbox.expect()
    assert told["status"] == "finished"


def test_slow_and_aborted_uploads_hold_nobody_up(grader: Start) -> None:
    service = grader(upload_seconds=5.0)
    body, kind = multipart(script("true"), {})
    head = (
        f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    slow = []
    for _ in range(6):
        connection = socket.create_connection(("127.0.0.1", service.port))
        connection.sendall(head + body[:700])
        slow.append(connection)
    aborted = socket.create_connection(("127.0.0.1", service.port))
    aborted.sendall(head + body[:700])
    aborted.close()
    assert service.client.result(script("true"))["status"] == "finished"
    assert select.select(slow, [], [], 0)[0] == [], "the slow ones are still at it"
    for connection in slow:
        connection.settimeout(60)
        assert b"408" in connection.recv(4096)
        connection.close()
    deadline = time.monotonic() + 60
    while list((service.state / "uploads").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list((service.state / "uploads").iterdir()) == []


@pytest.fixture
def small_disk(state: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    assert os.getuid() == 0, "run as root: the test mounts a small file system"
    place = state / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=1777", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_is_answered_and_outlived(grader: Start, small_disk: Path) -> None:
    service = grader(state=str(small_disk))
    assert service.client.result(script("echo before"))["stdout"] == "before\n"
    big = script("true", big="x" * 3_000_000)
    refused = service.client.post(big)
    assert refused.status == 507, refused
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
    assert service.client.post(script("true")).status == 507
    filler.unlink()
    assert service.client.result(script("echo after"))["stdout"] == "after\n"


def test_targets_that_refuse_are_tried_again(grader: Start, inbox: Inbox) -> None:
    inbox.status = 500
    service = grader()
    task = service.client.post(script("true"), notify=inbox.url).json["id"]
    inbox.expect(2)
    inbox.status = 200
    told = inbox.expect(3)
    assert told[2]["_at"] - told[0]["_at"] >= 1.45, "half a second, and then a whole one"
    assert notified(service, task) == "delivered"


def test_targets_are_given_up_in_time(grader: Start) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    service = grader(notify_seconds=1.5)
    task = service.client.post(script("true"), notify=url).json["id"]
    assert notified(service, task).startswith("abandoned")


def test_a_target_that_hangs_holds_nobody_up(grader: Start, inbox: Inbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        service = grader()
        for _ in range(12):
            service.client.post(
                script("true"), notify=f"http://127.0.0.1:{silent.getsockname()[1]}/"
            )
        service.client.post(script("true"), notify=inbox.url)
        inbox.expect(seconds=60)


def test_a_redirect_is_not_followed(grader: Start, inbox: Inbox) -> None:
    inbox.status, inbox.location = 302, f"{inbox.url}/elsewhere"
    service = grader()
    task = service.client.post(script("true"), notify=inbox.url).json["id"]
    assert notified(service, task) == "abandoned: HTTP 302"
    assert [told["_path"] for told in inbox.received] == ["/"]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/status.json",
        "http://localhost:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://2130706433:{port}/",
        "http://0x7f.1:{port}/",
        "http://0.0.0.0:{port}/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        "http://user@127.0.0.1:{port}/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/",
        "http://",
        "nonsense",
        "http://[/",
        "http://x:99999999/",
    ],
)
def test_private_targets_are_never_contacted(private: Grader, url: str) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("", 0)))
        server.settimeout(0.01)
        target = url.replace("{port}", str(server.getsockname()[1]))
        task = private.client.post(script("true"), notify=target).json["id"]
        assert notified(private, task).startswith("abandoned")
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.fixture(scope="module")
def private(images: Path) -> Iterator[Grader]:
    """A service that may notify public addresses only."""
    state = Path("/var/tmp") / f"appliance-grader-private-{os.getpid()}"
    state.mkdir()
    if os.getuid() == 0:
        os.chown(state, USER, USER)
    service = Grader(state, images, {"notify_allow": [], "notify_seconds": 0.1}, {}).start()
    yield service
    service.stop(kill=True)
    subprocess.run(["rm", "-rf", state], check=True)


def test_a_crowd_of_slow_readers_of_events_holds_nobody_up(grader: Start) -> None:
    service = grader(instances=1)
    blocker = service.client.post(script("sleep 3")).json["id"]
    readers = [
        threading.Thread(target=service.client.request, args=(f"/tasks/{blocker}/events",))
        for _ in range(30)
    ]
    for reader in readers:
        reader.start()
    assert service.client.request("/status.json").status == 200
    assert all(reader.is_alive() for reader in readers)
    for reader in readers:
        reader.join()


def notified(service: Grader, identifier: str) -> str:
    """How the notification of a task ended, once it has."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = service.client.request(f"/tasks/{identifier}?wait=5").json["notified"]
        if found:
            return str(found)
        time.sleep(0.05)
    raise AssertionError("still not notified")
