"""Jobe's runs: what is read of a request, what its box may use, and what is told of its end."""

import io
import os
import sqlite3
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from provision.guest.grader.engine import Result
from provision.guest.grader.jobe import run as jobe
from provision.guest.grader.jobe.files import Files
from provision.guest.grader.store import Store, Task
from provision.guest.sandbox.limits import MIB, Limits

MOST = Limits()


def parse(**spec: Any) -> jobe.Run:
    spec = {"language_id": "python3", "sourcecode": "print(1)", **spec}
    return jobe.parse({"run_spec": spec}, MOST)


def test_a_run_is_packed_as_a_task() -> None:
    run = parse(input="one\n", file_list=[["abcdef0123", "data.txt"]])
    with tarfile.open(fileobj=io.BytesIO(jobe.pack(run, {"data.txt": b"\xff"}))) as tar:
        names = {entry.name: entry.mode for entry in tar}
        assert tar.extractfile("run/data.txt").read() == b"\xff"  # type: ignore[union-attr]
        assert tar.extractfile("stdin").read() == b"one\n"  # type: ignore[union-attr]
    assert names == {
        **{"tmc-run": 0o755, "stdin": 0o644},
        **{"run/prog.py": 0o644, "run/data.txt": 0o644},
    }


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ([], "no run_spec"),
        ({"run_spec": 5}, "no run_spec"),
        ({"run_spec": {"language_id": "c"}}, "sourcecode"),
        ({"run_spec": {"sourcecode": "x"}}, "language_id"),
    ],
)
def test_a_request_that_is_no_run(told: object, says: str) -> None:
    with pytest.raises(jobe.BadRunError, match=says):
        jobe.parse(told, MOST)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"language_id": "cobol"}, "there are: c, cpp, java"),
        ({"language_id": 5}, "language_id is no text"),
        ({"sourcecode": "\ud800"}, r"sourcecode has half a character, U\+D800, at 0"),
        ({"sourcefilename": "../x"}, "sourcefilename '../x'"),
        ({"sourcefilename": "-x.py"}, "sourcefilename"),
        ({"sourcefilename": "a;b.py"}, "sourcefilename"),
        ({"file_list": "x"}, "no file specifier"),
        ({"file_list": [["short", "x"]]}, "no file specifier"),
        ({"file_list": [["abcdef0123", "../x"]]}, "no file specifier"),
        ({"file_list": [["../../etc", "x"]]}, "no file specifier"),
        ({"parameters": 5}, "parameters is no object"),
        ({"parameters": {"cputime": "soon"}}, "cputime is no number"),
        ({"parameters": {"cputime": -1}}, "cputime is no number"),
        ({"parameters": {"memorylimit": float("nan")}}, "memorylimit is no number"),
        ({"parameters": {"numprocs": [1]}}, "numprocs is no number"),
        ({"parameters": {"cputime": 11}}, "11 s is more than the 10 s"),
        ({"parameters": {"runargs": "x"}}, "runargs is no array"),
        ({"parameters": {"runargs": ["a\nb"]}}, "line feed"),
        ({"parameters": {"cputime": 10**400}}, "cputime is no number"),
        ({"parameters": {"main_class": "x; rm"}}, "main_class"),
        ({"file_list": [["abcdef0123", f"f{n}"] for n in range(101)]}, "101 files"),
    ],
)
def test_a_run_that_cannot_be_begun(spec: dict[str, Any], says: str) -> None:
    with pytest.raises(jobe.BadRunError, match=says):
        parse(**spec)


def test_what_php_leaves_empty_is_nothing() -> None:
    run = parse(parameters=[], file_list=None, input=False, sourcefilename="")
    assert (run.stdin, run.files, run.words, run.name) == ("", {}, {}, "prog.py")
    assert parse(parameters={"cputime": "3", "memorylimit": None}).numbers == {"cputime": 3.0}
    assert parse(parameters={"memorylimit": 1e308}).numbers["memorylimit"] == 1e6


def test_who_names_no_time_has_what_there_is() -> None:
    told = {"run_spec": {"language_id": "c", "sourcecode": "x"}}
    assert jobe.parse(told, MOST._replace(cpu=3)).numbers["cputime"] == 3


def test_no_run_asks_for_more_processes_than_its_box_may_have() -> None:
    run = parse(parameters={"numprocs": 10**6})
    assert f"ulimit -p {MOST.tasks + 1} " in jobe.script(run)


@pytest.mark.parametrize(
    "source", ["public class a{" * 60_000, "public " * 100_000, "public  class  x" + " " * 10**6]
)
def test_no_program_keeps_others_from_being_read(source: str) -> None:
    """A text in which a careless pattern would look from every place to the end."""
    assert parse(language_id="java", sourcecode=source).name == "prog.java"


def test_the_class_with_main_is_the_one_before_it() -> None:
    source = "public class A {}\npublic class B {\n static public void main(String[] a) {}\n}"
    assert parse(language_id="java", sourcecode=source).name == "B.java"
    run = parse(language_id="java", sourcecode=source, parameters={"main_class": "p.C"})
    assert "java -Xrs -Xss8m -Xmx200m p.C" in jobe.script(run)


@pytest.mark.parametrize("given", ["", "prog.java"])
def test_a_class_names_its_file(given: str) -> None:
    source = "public class Hello {\n  public static void main(String[] args) {}\n}"
    assert parse(language_id="java", sourcecode=source, sourcefilename=given).name == "Hello.java"
    assert parse(language_id="java", sourcecode="x", sourcefilename=given).name == "prog.java"


def test_no_run_may_use_more_than_any_task() -> None:
    greedy = {"memorylimit": 10**6, "disklimit": 10**6, "streamsize": 10**6, "numprocs": 10**6}
    limits = jobe.limit(parse(parameters={**greedy, "cputime": 10}), MOST)
    assert all(value <= most for value, most in zip(limits, MOST, strict=True) if most)
    modest = jobe.limit(
        parse(language_id="nodejs", parameters={"cputime": 1, "disklimit": 1, "memorylimit": 600}),
        MOST._replace(memory=1024 * MIB),
    )
    assert (modest.cpu, modest.clock, modest.file_size) == (1, 2, 1_000_000)
    assert modest.memory == 600_000_000
    assert "ulimit -v" not in jobe.script(parse(parameters={"memorylimit": 0}))


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (Result("finished", 0, stdout="x"), jobe.SUCCESS),
        (Result("failed", 3), jobe.SUCCESS),  # an exit status alone is no error
        (Result("finished", 0, stderr="warning"), jobe.RUNTIME_ERROR),
        (Result("failed", 139, reason="killed by signal 11"), jobe.RUNTIME_ERROR),
        (Result("failed", 0, reason="/tmp was full"), jobe.RUNTIME_ERROR),
        (Result("failed", 152), jobe.TIME_LIMIT),
        (Result("timeout", None, stderr="so far", reason="wall time limit"), jobe.TIME_LIMIT),
        (Result("timeout", 152, stderr="so far", reason="processor time limit"), jobe.TIME_LIMIT),
        (Result("failed", None, reason="output limit"), jobe.TIME_LIMIT),
        (Result("failed", None, reason="memory limit"), jobe.MEMORY_LIMIT),
        (Result("failed", None, reason="the host failed: x"), jobe.INTERNAL_ERROR),
    ],
)
def test_outcomes_are_jobes(result: Result, outcome: int) -> None:
    told = jobe.answer(parse(), "id", result)
    assert told["outcome"] == outcome
    assert set(told) == {"run_id", "outcome", "cmpinfo", "stdout", "stderr"}
    if outcome in (jobe.RUNTIME_ERROR, jobe.INTERNAL_ERROR):
        assert told["stderr"]
    elif outcome == jobe.TIME_LIMIT:
        assert told["stderr"] == ""


def test_only_the_compiler_tells_of_compiling() -> None:
    run = parse()
    told = jobe.answer(run, "id", Result("failed", 1, output=f"{run.nonce}line 1: no"))
    assert (told["outcome"], told["cmpinfo"]) == (jobe.COMPILATION_ERROR, "line 1: no")
    told = jobe.answer(run, "id", Result("failed", 1, output=f"{parse().nonce}forged"))
    assert told["outcome"] == jobe.SUCCESS


def test_versions_are_read() -> None:
    printed = "c 14.2.0\npython3 Python 3.13.5\nphp\n"
    assert jobe.read_versions(["c", "python3", "php"], printed) == {
        **{"c": "14.2.0", "python3": "3.13.5", "php": "unknown"}
    }


def test_a_clients_files_are_its_own(tmp_path: Path) -> None:
    files = Files(tmp_path, keep=60, most=100)
    files.put("moodle", "abcdefgh", b"mine")
    assert files.get("moodle", "abcdefgh") == b"mine"
    assert files.get("other", "abcdefgh") is None
    files.put("other", "abcdefgh", b"theirs")
    assert files.get("moodle", "abcdefgh") == b"mine"


def test_old_files_and_too_many_go(tmp_path: Path) -> None:
    files = Files(tmp_path, keep=60, most=12_000)
    for number in range(3):
        files.put("moodle", f"abcdefg{number}", bytes(5000))
        (written,) = tmp_path.glob(f"*/abcdefg{number}")
        os.utime(written, (time.time() - 50 + number,) * 2)
    assert [files.size("moodle", f"abcdefg{number}") for number in range(3)] == [None, 5000, 5000]
    assert files.get("moodle", "abcdefg1") is not None  # and is young again
    (written,) = tmp_path.glob("*/abcdefg2")
    os.utime(written, (time.time() - 61,) * 2)
    assert files.get("moodle", "abcdefg2") is None
    files.put("moodle", "abcdefg3", b"x")
    assert [path.name for path in sorted(tmp_path.glob("*/*"))] == ["abcdefg1", "abcdefg3"]


def test_an_empty_file_takes_a_place_too(tmp_path: Path) -> None:
    files = Files(tmp_path, keep=60, most=5 * 4096)
    for number in range(10):
        files.put("moodle", f"abcdefg{number}", b"")
    assert len(list(tmp_path.glob("*/*"))) == 5


def test_many_send_files_at_once(tmp_path: Path) -> None:
    files = Files(tmp_path, keep=60, most=20 * 4096)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: files.put("moodle", f"abcdefg{n}", b"x"), range(200)))
    assert len(list(tmp_path.glob("*/*"))) == 20


def test_a_database_of_an_earlier_release_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "tasks.sqlite"
    with sqlite3.connect(path) as old:
        old.execute(
            "CREATE TABLE task (id TEXT PRIMARY KEY, client TEXT NOT NULL, state TEXT NOT NULL,"
            " image TEXT NOT NULL, engine TEXT NOT NULL, notify TEXT, token TEXT,"
            " format TEXT NOT NULL, created REAL NOT NULL, ended REAL,"
            " attempts INTEGER NOT NULL DEFAULT 0, result TEXT, notified TEXT) STRICT"
        )
        old.execute(
            "INSERT INTO task (id, client, state, image, engine, format, created)"
            " VALUES ('old', 'c', 'queued', 'i', 'e', 'json', 1.0)"
        )
    old.close()
    store = Store(path)
    store.add(
        Task("new", "c", "queued", "i", "e", None, None, "json", 2.0, limits=Limits(memory=5))
    )
    assert [task.limits for task in store.open_tasks()] == [None, Limits(memory=5)]
    store.close()
    Store(path).close()
