"""The service's parts that need no process: judging, fairness, settings, the store, the guard."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from provision.errors import ConfigError
from provision.guest.grader import notify, settings
from provision.guest.grader.engine import Result, judge, read_outputs
from provision.guest.grader.scheduler import Fair, Scheduler
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


@pytest.mark.parametrize(
    ("out", "code", "beginning", "says"),
    [
        (b"missing", 127, b"", "tmc-run is missing"),
        (b"dangling", 127, b"", "tmc-run is a link that leads nowhere"),
        (b"no-file", 126, b"", "tmc-run is no file"),
        (b"closed", 126, b"#!/bin/sh\n", "tmc-run is not executable"),
        (b"\n\0not started\0", 127, b"#!/bin/sh\r\nexit 0\r\n", "line ends of Windows"),
        (b"\n\0not started\0", 127, b"#! /no/such -x\n", "'/no/such', is not in the image"),
        (b"\n\0not started\0", 126, b"#!/etc\n", "'/etc', cannot be executed"),
        (b"\n\0not started\0", 127, b"\x7fELF", "loader of tmc-run is not in the image"),
        (b"\n", 127, b"#!/bin/sh\n", "a command that it called was not found"),
        (b"\n", 126, b"#!/bin/sh\n", "a command that it called could not be executed"),
        (b"\n", 127, b"#!/usr/bin/env python3\r\n", "line ends of Windows (CRLF)"),
        (b"\n", 1, b"", "tmc-run exited with status 1"),
        (b"\n", 128, b"", "tmc-run exited with status 128"),
        (b"\n", 137, b"", "killed by signal 9 (SIGKILL)"),
        (b"\n", 160, b"", "killed by signal 32,"),
        (b"\n", 192, b"", "killed by signal 64 (SIGRTMAX)"),
        (b"\n", 193, b"", "tmc-run exited with status 193"),
        (b"\n", 200, b"", "tmc-run exited with status 200"),
        (b"\n", 255, b"", "tmc-run exited with status 255"),
    ],
)
def test_each_end_has_words_of_its_own(out: bytes, code: int, beginning: bytes, says: str) -> None:
    result = judge(ended(code=code, out=out), {"tmc-run": beginning})
    assert (result.status, result.exit_code, result.stdout) == ("failed", code, "")
    assert says in result.reason
    assert result.reason.count("signal") == ("signal" in says)


def test_a_full_file_system_is_no_good_end() -> None:
    result = judge(ended(), {}, full=True)
    assert (result.status, result.exit_code) == ("failed", 0)
    assert "full" in result.reason
    assert "status 3; " in judge(ended(code=3), {}, full=True).reason
    assert judge(ended(Verdict.MEMORY, 137), {}, full=True).reason == "memory limit"


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
    assert line.count("a") == 4
    line.release("b")
    assert line.count("b") == 0
    assert len(line) == 2


def test_the_store_remembers(tmp_path: Path) -> None:
    store = Store(tmp_path / "tasks.sqlite")
    store.add(make("one", notify="http://x"))
    store.add(make("two"))
    store.start("one")
    store.close()
    store = Store(tmp_path / "tasks.sqlite")
    assert [(t.id, t.state, t.attempts) for t in store.open_tasks()] == [
        ("one", "running", 1), ("two", "queued", 0),
    ]  # fmt: skip
    store.finish("one", Result("failed", None, output="é", reason="x"))
    assert [t.id for t in store.untold()] == ["one"]
    store.note_reply("one", "delivered")
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
    ("lines", "says"),
    [
        ("", "no token in it"),
        ("\n \n", "no token in it"),
        ("# NAME TOKEN\n", "no token in it"),
        ("alpha\n", "line 1: 1 words"),
        ("alpha secret\nbeta a secret\n", "line 2: 3 words"),
        ("alpha secret\nbeta secret\n", "alpha and beta have the same token"),
        (None, "No such file"),
    ],
)
def test_tokens_that_are_set_but_not_there_are_an_error(
    tmp_path: Path, lines: str | None, says: str
) -> None:
    """Else a file that a power failure left empty would let everybody in."""
    tokens, path = tmp_path / "tokens", tmp_path / "grader.toml"
    path.write_text(f'tokens_file = "{tokens}"\n')
    if lines is not None:
        tokens.write_text(lines)
    with pytest.raises(ConfigError, match=says) as raised:
        settings.load(path)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("table", ["", '"" = "alpha"', '" " = "alpha"', 'secret = ""'])
def test_a_table_of_tokens_without_one_is_an_error(tmp_path: Path, table: str) -> None:
    path = tmp_path / "grader.toml"
    path.write_text(f"[tokens]\n{table}\n")
    with pytest.raises(ConfigError, match="token"):
        settings.load(path)


def test_tokens_of_the_table_and_of_the_file_hold(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("alpha one\n")
    path = tmp_path / "grader.toml"
    path.write_text(f'tokens_file = "{tmp_path}/tokens"\n[tokens]\ntwo = "beta"\n')
    assert settings.load(path).tokens == {"one": "alpha", "two": "beta"}


def test_who_comes_with_a_stale_state_takes_no_event_of_another(tmp_path: Path) -> None:
    """An event stream and a long poll wait for one task; the stream was late by one state."""
    store = Store(tmp_path / "tasks.sqlite")
    store.add(make("one"))
    told = notify.Notifier([], 1)
    scheduler = Scheduler(settings.Settings(state=tmp_path), {}, store, told)

    async def both() -> Task:
        store.start("one")
        polling = asyncio.ensure_future(scheduler.wait(make("one", state="running"), 600))
        await asyncio.sleep(0)
        stale = await scheduler.wait(make("one", state="queued"), 600)
        assert stale.state == "running"
        scheduler._finish(make("one"), Result("finished", 0))
        return await asyncio.wait_for(polling, 60)

    assert asyncio.run(both()).state == "done"
    assert scheduler._changed == {}
    store.close()


def test_the_form_leaves_out_what_is_null() -> None:
    task = make("x", state="done", notify="http://x", result=Result("timeout", None))
    assert notify.payload(task)["exit_code"] is None
    assert "exit_code" not in notify.form(task)
