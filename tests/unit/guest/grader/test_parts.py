"""The service's parts that need no process: judging, fairness, settings, the store, the guard."""

import asyncio
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from provision.errors import ConfigError
from provision.guest.grader import notify, settings
from provision.guest.grader.engine import Result, judge, read_outputs
from provision.guest.grader.scheduler import Fair
from provision.guest.grader.store import Store, Task
from provision.guest.sandbox.limits import Ended, Verdict


def ended(verdict: Verdict = Verdict.EXITED, code: int | None = 0, out: bytes = b"\n") -> Ended:
    return Ended(verdict, code, out, b"", 1.0, 0.5, 0.4, 100)


@pytest.mark.parametrize(
    ("run", "status", "code"),
    [
        (ended(), "finished", 0),
        (ended(code=5), "failed", 5),
        (ended(code=126), "failed", 126),
        (ended(code=137), "failed", 137),
        (ended(Verdict.CLOCK, 137), "timeout", None),
        (ended(Verdict.CPU, 137), "timeout", None),
        (ended(Verdict.MEMORY, 137), "failed", None),
        (ended(Verdict.SETUP, None), "failed", None),
        (ended(code=125, out=b""), "failed", None),
        (ended(code=0, out=b""), "failed", None),
    ],
)
def test_judging(run: Ended, status: str, code: int | None) -> None:
    result = judge(run, {})
    assert (result.status, result.exit_code) == (status, code)
    assert (result.reason == "") is (status == "finished")


def test_output_and_test_output_stand_in_for_each_other() -> None:
    assert judge(ended(), {"output.txt": b"a"}).test_output == "a"
    assert judge(ended(), {"test_output.txt": b"b"}).output == "b"
    both = judge(ended(), {"output.txt": b"a", "test_output.txt": b"b"})
    assert (both.output, both.test_output) == ("a", "b")


def test_only_regular_files_are_outputs(tmp_path: Path) -> None:
    (tmp_path / "output.txt").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "stdout.txt")
    (tmp_path / "stderr.txt").mkdir()
    (tmp_path / "test_output.txt").write_bytes(b"x" * 100)
    directory = os.open(tmp_path, os.O_PATH)
    assert read_outputs(directory, 10) == {"test_output.txt": b"x" * 10}
    os.close(directory)


def make(identifier: str, client: str = "a", **values: Any) -> Task:
    given = {"state": "queued", "image": "i", "engine": "e", "notify": None, "token": None}
    return Task(id=identifier, client=client, format="json", created=time.time(), **given | values)


def test_fair_between_clients() -> None:
    line = Fair()
    for number in range(4):
        line.put(make(f"a{number}"))
    line.put(make("b0", "b"))
    first, second, third = line.take(), line.take(), line.take()
    assert first and second and third
    assert [first.id, second.id, third.id] == ["a0", "b0", "a1"]
    assert line.held("a") == 4
    line.ended("b")
    assert line.held("b") == 0
    assert len(line) == 2


def test_the_store_remembers(tmp_path: Path) -> None:
    store = Store(tmp_path / "tasks.sqlite")
    store.add(make("one", notify="http://x"))
    store.add(make("two"))
    store.started("one")
    store.close()
    store = Store(tmp_path / "tasks.sqlite")
    assert [(t.id, t.state, t.attempts) for t in store.unfinished()] == [
        ("one", "running", 1), ("two", "queued", 0),
    ]  # fmt: skip
    store.done("one", Result("failed", None, output="é", reason="x"))
    assert [t.id for t in store.untold()] == ["one"]
    store.notified("one", "delivered")
    assert store.untold() == []
    found = store.get("one")
    assert found and found.result and found.result.output == "é"
    store.forget(time.time() + 1)
    assert store.get("one") is None
    store.close()


def test_settings(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("# NAME TOKEN\nalpha secret\n")
    path = tmp_path / "grader.toml"
    path.write_text(f'port = 1\ntokens_file = "{tokens}"\n[limits]\nclock = 5\nmemory = 100\n')
    found = settings.load(path)
    assert (found.port, found.limits.clock, found.limits.memory) == (1, 5.0, 100)
    assert found.tokens == {"secret": "alpha"}
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("porch = 1", "unknown key porch"),
        ('port = "x"', "port must be int"),
        ("port = true", "port must be int"),
        ("[limits]\ncpux = 1", "unknown key cpux"),
        ('notify_format = "xml"', "neither json nor form"),
        ('engine = "uml"', "not among engines"),
        ("port = ", "Invalid value"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "grader.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says):
        settings.load(path)


@pytest.mark.parametrize(
    ("address", "permitted"),
    [
        ("93.184.216.34", True), ("127.0.0.1", False), ("10.1.2.3", False), ("10.9.0.1", True),
        ("169.254.169.254", False), ("::1", False), ("fe80::1%eth0", False), ("0.0.0.0", False),  # noqa: S104
        ("::ffff:127.0.0.1", False), ("224.0.0.1", False), ("2606:2800:220:1::1", True),
        ("100.64.0.1", False),
    ],
)  # fmt: skip
def test_which_addresses_may_be_notified(
    monkeypatch: pytest.MonkeyPatch, address: str, permitted: bool
) -> None:
    guard = notify.Guard(["10.9.0.0/16", "friend.example"])

    async def resolve(name: str) -> list[Any]:
        loop = asyncio.get_running_loop()

        async def answer(*_: Any, **__: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))]

        monkeypatch.setattr(loop, "getaddrinfo", answer)
        return list(await guard.resolve(name, 80))

    if permitted:
        assert asyncio.run(resolve("stranger.example"))[0]["host"] == address
    else:
        with pytest.raises(OSError, match="no public address"):
            asyncio.run(resolve("stranger.example"))
    assert asyncio.run(resolve("friend.example"))


def test_the_form_leaves_out_what_is_null() -> None:
    task = make("x", state="done", notify="http://x", result=Result("timeout", None))
    assert notify.payload(task)["exit_code"] is None
    assert "exit_code" not in notify.form(task)
