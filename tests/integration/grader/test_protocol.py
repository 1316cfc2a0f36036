"""The TMC protocol as an exercise server sees it, and the interface beside it."""

import concurrent.futures
import contextlib
import json
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.grader.conftest import Client, Grader, Inbox, multipart, python, script, task

Start = Callable[..., Grader]
JSON = "application/json; charset=utf-8"


def test_a_task_runs_and_its_target_is_told(grader: Start, inbox: Inbox) -> None:
    client = grader().client
    answer = client.post(
        script("echo out; echo err >&2; echo fine > output.txt"),
        notify=f"{inbox.url}/done",
        token="s3cret",  # noqa: S106
    )
    assert (answer.status, answer.json["status"]) == (200, "ok")
    assert answer.headers["Content-Type"] == JSON
    (told,) = inbox.expect()
    assert told["_path"] == "/done"
    assert told["_type"].startswith("application/json")
    assert (told["status"], told["exit_code"], told["token"]) == ("finished", 0, "s3cret")
    assert told["output"] == told["test_output"] == "fine\n"
    assert (told["stdout"], told["stderr"]) == ("out\n", "err\n")


def test_an_older_server_is_told_by_a_form(grader: Start, inbox: Inbox) -> None:
    client = grader(limits={"clock": 1.0}).client
    client.post(script("exit 3"), notify=inbox.url, token="a&b", notify_format="form")  # noqa: S106
    client.post(script("sleep 9"), notify=inbox.url, notify_format="form")
    failed, late = sorted(inbox.expect(2), key=lambda told: told["status"])
    assert failed["_type"] == "application/x-www-form-urlencoded"
    assert (failed["status"], failed["exit_code"], failed["token"]) == ("failed", "3", "a&b")
    assert late["status"] == "timeout"
    assert "exit_code" not in late


@pytest.mark.parametrize(
    ("files", "mode", "status", "code"),
    [
        ({"tmc-run": "#!/bin/sh\nexit 0"}, 0o755, "finished", 0),
        ({"tmc-run": "#!/bin/sh\nexit 7"}, 0o755, "failed", 7),
        ({"tmc-run": "#!/bin/sh\nexit 0"}, 0o644, "failed", 126),
        ({"other": "#!/bin/sh\nexit 0"}, 0o755, "failed", 127),
        ({"tmc-run": "#!/no/such/interpreter\n"}, 0o755, "failed", 127),
        ({"tmc-run": "#!/bin/sh\nkill -9 $$"}, 0o755, "failed", 137),
        ({"tmc-run": "#!/bin/sh\nkill -11 $$"}, 0o755, "failed", 139),
    ],
)
def test_exit_codes_are_the_originals(
    grader: Start, files: dict[str, str | bytes], mode: int, status: str, code: int
) -> None:
    result = grader().client.result(task(files, mode=mode))
    assert (result["status"], result["exit_code"]) == (status, code)


def test_only_posts_are_served_beside_the_documented_paths(grader: Start) -> None:
    client = grader().client
    for path, method in (("/", "GET"), ("/tasks.json", "GET"), ("/", "PUT"), ("/x", "DELETE")):
        answer = client.request(path, method=method)
        assert (answer.status, answer.json) == (404, {"status": "not_found"})
        assert answer.headers["Content-Type"] == JSON
    assert client.post(script("true"), path="/any/path/does").json["status"] == "ok"
    assert client.post(script("true"), path="/tasks.json").json["status"] == "ok"


def test_what_is_no_submission_is_a_bad_request(grader: Start) -> None:
    client = grader(upload_size=100_000).client
    body, kind = multipart(b"x", {})
    cases = [
        client.post(None, notify="http://example.org"),
        client.request("/", b"hello", {"Content-Type": "text/plain"}),
        client.request("/", b"file=x", {"Content-Type": "application/x-www-form-urlencoded"}),
        client.request("/", body, {"Content-Type": "multipart/form-data"}),
        client.request("/", body[:20], {"Content-Type": kind}),
        client.post(script("true"), image="nonesuch"),
        client.post(script("true"), image="../../etc"),
        client.post(script("true"), engine="nonesuch"),
        client.post(script("true"), notify_format="xml"),
        client.post(script("true"), token="x" * 10_000),
        client.post(b"x" * 200_000),
    ]
    for answer in cases:
        assert (answer.status, answer.json["status"]) == (400, "bad_request"), answer
        assert answer.headers["Content-Type"] == JSON
    assert client.result(script("true"))["status"] == "finished"


def test_busy_as_the_original_says_it(grader: Start) -> None:
    service = grader(instances=1, queue=0)
    first = service.client.post(script("sleep 1"))
    second = service.client.post(script("true"))
    assert (second.status, second.json) == (500, {"status": "busy"})
    assert second.headers["Content-Type"] == JSON
    status = service.client.request("/status.json").json
    assert (status["busy_instances"], status["total_instances"]) == (1, 1)
    assert len(status["loadavg"]) == 3
    assert service.client.wait(first.json["id"])["status"] == "finished"
    assert service.client.result(script("true"))["status"] == "finished"


def test_the_queue_has_a_bound(grader: Start) -> None:
    client = grader(instances=1, queue=2).client
    answers = [client.post(script("sleep 1")) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 500]
    assert answers[3].json == {"status": "busy"}
    status = client.request("/status.json").json
    assert (status["busy_instances"], status["queued"], status["queue"]) == (1, 2, 2)
    for answer in answers[:3]:
        assert client.wait(answer.json["id"])["status"] == "finished"
    assert client.result(script("true"))["status"] == "finished"


def test_a_long_poll_ends_with_its_patience_or_the_task(grader: Start) -> None:
    client = grader(instances=1).client
    identifier = client.post(script("sleep 3; echo done")).json["id"]
    begun = time.monotonic()
    early = client.request(f"/tasks/{identifier}?wait=0.3")
    assert early.json["state"] in ("queued", "running")
    assert time.monotonic() - begun >= 0.3
    late = client.request(f"/tasks/{identifier}?wait=30").json
    assert (late["state"], late["stdout"]) == ("done", "done\n")
    assert client.request(f"/tasks/{identifier}?wait=soon").status == 400
    assert client.request("/tasks/nonesuch").status == 404


def test_uploads_of_one_client_have_a_bound(grader: Start, state: Path) -> None:
    service = grader(uploads_per_client=2, upload_seconds=30, tokens_file=_tokens(state))
    body, kind = multipart(script("true"), {})
    head = (
        f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
        f"Authorization: Bearer alpha\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
            slow.sendall(head + body[:700])
        first, second = (Client(service.client.url, token) for token in ("alpha", "beta"))
        uploads, deadline = service.state / "uploads", time.monotonic() + 60
        while len(list(uploads.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert first.post(script("true")).status == 429
        assert second.post(script("true")).status == 200
    deadline = time.monotonic() + 60
    while first.post(script("true")).status != 200:
        assert time.monotonic() < deadline, "the uploads that ended still count"
        time.sleep(0.05)


def test_the_queue_is_fair_between_clients(grader: Start, state: Path) -> None:
    service = grader(instances=1, tokens_file=_tokens(state))
    first = Client(service.client.url, "alpha")
    second = Client(service.client.url, "beta")
    many = [first.post(script("sleep 0.2")).json["id"] for _ in range(6)]
    one = second.post(script("true")).json["id"]
    ended = second.wait(one)["ended"]
    later = [first.wait(identifier)["ended"] > ended for identifier in many]
    assert sum(later) >= 4, "one task of the second client waited for all of the first's"


def _tokens(place: Path) -> str:
    path = place / "tokens"
    path.write_text("# name token\nfirst alpha\nsecond beta\n")
    return str(path)


def test_tokens_quotas_and_whose_task_it_is(grader: Start, state: Path) -> None:
    service = grader(instances=1, per_client=2, tokens_file=_tokens(state))
    client = service.client
    assert client.post(script("true")).status == 401
    assert Client(client.url, "wrong").post(script("true")).status == 401
    first, second = Client(client.url, "alpha"), Client(client.url, "beta")
    accepted = [first.post(script("sleep 0.3")) for _ in range(3)]
    assert [answer.status for answer in accepted] == [200, 200, 429]
    assert second.post(script("true")).status == 200
    identifier = accepted[0].json["id"]
    assert second.request(f"/tasks/{identifier}").status == 404
    assert first.wait(identifier)["status"] == "finished"
    assert client.request("/status.json").status == 200


def test_events_and_metrics_and_openapi(grader: Start) -> None:
    client = grader(instances=1).client
    blocker = client.post(script("sleep 0.5")).json["id"]
    identifier = client.post(script("echo hello")).json["id"]
    events = client.request(f"/tasks/{identifier}/events").body.decode()
    names = [line.split(": ")[1] for line in events.splitlines() if line.startswith("event")]
    assert names == ["queued", "running", "done"]
    last = json.loads(events.strip().splitlines()[-1].removeprefix("data: "))
    assert last["stdout"] == "hello\n"
    client.wait(blocker)
    metrics = client.request("/metrics").body.decode()
    assert 'grader_tasks_total{outcome="finished"} 2' in metrics
    # Prometheus's text format: each line a comment or a sample of a family that was announced.
    sample = re.compile(r'(\w+)(\{\w+="[^"]*"(,\w+="[^"]*")*\})? -?[0-9.]+')
    announced = set(re.findall(r"^# TYPE (\w+) (?:counter|gauge)$", metrics, re.MULTILINE))
    for line in metrics.splitlines():
        found = sample.fullmatch(line)
        assert line.startswith("# TYPE ") or (found and found[1] in announced), line
    assert "/tasks/{id}" in client.request("/openapi.json").json["paths"]
    assert b"openapi.json" in client.request("/docs").body


def test_the_work_of_an_exercise(grader: Start) -> None:
    source = '#include <stdio.h>\nint main(void){puts("compiled");return 0;}\n'
    archive = task(
        {
            "tmc-run": "#!/bin/sh\nset -e\nmake -s\n./main > output.txt\npython3 check.py\n",
            "Makefile": "main: main.c\n\tgcc -O2 -o main main.c\n",
            "main.c": source,
            "check.py": "assert open('output.txt').read() == 'compiled\\n'; print('ok')\n",
        }
    )
    result = grader().client.result(archive)
    assert (result["status"], result["stdout"], result["output"]) == (
        "finished",
        "ok\n",
        "compiled\n",
    ), result
    assert 0 < result["seconds"] < 120
    assert result["memory"] > 1 << 20


def test_the_classic_working_directory_and_output_names(grader: Start) -> None:
    result = grader().client.result(
        script("cd /tmc && echo tested > test_output.txt; echo log > stdout.txt; touch /var/tmp/x")
    )
    assert (result["test_output"], result["output"]) == ("tested\n", "tested\n")
    assert result["stdout"] == "log\n"


def test_many_clients_at_a_time_lose_nothing(grader: Start, inbox: Inbox) -> None:
    client = grader(instances=2, uploads_per_client=50).client

    def one(number: int) -> str:
        answer = client.post(script(f"echo {number}"), notify=inbox.url, token=str(number))
        assert answer.status == 200, answer
        identifier: str = answer.json["id"]
        return identifier

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(40)))
    told = inbox.expect(40)
    assert {t["token"]: t["stdout"] for t in told} == {str(n): f"{n}\n" for n in range(40)}


def test_python_sees_a_plain_small_world(grader: Start) -> None:
    result = grader().client.result(
        python(
            "import getpass, os, socket, multiprocessing, tempfile\n"
            "print(getpass.getuser(), os.getcwd(), socket.gethostname(), os.environ['HOME'])\n"
            "with multiprocessing.Pool(2) as pool: print(pool.map(abs, [-1, -2]))\n"
            "print(tempfile.gettempdir())"
        )
    )
    assert result["stdout"] == "student /tmp/task sandbox /tmp/task\n[1, 2]\n/tmp\n", result
