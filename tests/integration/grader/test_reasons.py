"""What the service says of a task's end is what happened: unpacking, starting, ending."""

import io
import os
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.grader.conftest import USER, Grader, script, task

MIB = 1 << 20
ENGINES = ["bubblewrap", pytest.param("uml", marks=pytest.mark.slow)]
Run = Callable[[bytes], dict[str, Any]]
ERROR = "the student's own error"
FAILS = f'#!/bin/sh\necho "{ERROR}" >&2\nexit 1\n'.encode()


@pytest.fixture(scope="module", params=ENGINES)
def run(request: pytest.FixtureRequest, images: Path) -> Iterator[Run]:
    state = Path("/var/tmp") / f"appliance-grader-reasons-{os.getpid()}-{request.param}"
    state.mkdir(mode=0o755)
    if os.getuid() == 0:
        os.chown(state, USER, USER)
    options: dict[str, Any] = {"engine": request.param, "engines": [request.param]}
    options["upload_size"] = 128 * MIB
    if request.param == "uml":
        options |= request.getfixturevalue("uml")
    limits = {"clock": 60.0, "cpu": 30.0, "disk": 64 * MIB}
    service = Grader(state, images, options, limits).start()
    yield service.client.result
    service.stop(kill=True)
    shutil.rmtree(state)


def archive(*members: tuple[str, bytes, dict[str, Any]], **pax: str) -> bytes:
    """A tar of executable files, each with attributes of its own; and headers for all."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers=pax) as tar:
        for name, data, attributes in members:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            for key, value in attributes.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(data) if member.isreg() else None)
    return buffer.getvalue()


MAC = {"pax_headers": {"LIBARCHIVE.xattr.com.apple.provenance": "AQIA"}}
LATER = {"mtime": time.time() + 86400}
WARNED = {
    "from a Mac": archive(
        ("tmc-run", FAILS, MAC), *((f"modules/f{n:05}.js", b"x", MAC) for n in range(13_000))
    ),
    "a clock a day behind": archive(
        ("tmc-run", FAILS, LATER), *((f"src/F{n}.java", b"x", LATER) for n in range(300))
    ),
    "before 1970": archive(("tmc-run", FAILS, {"mtime": -86400})),
    "absolute names": archive(("tmc-run", FAILS, {}), ("/tmp/task/x", b"x", {})),
    "a lone zero block": archive(("tmc-run", FAILS, {}))[: 3 * 512],
    "headers for all": archive(("tmc-run", FAILS, {}), **{"LIBARCHIVE.creationtime": "1"}),
}


@pytest.mark.parametrize("kind", WARNED)
def test_what_tar_warns_of_is_no_word_of_the_tasks(run: Run, kind: str) -> None:
    result = run(WARNED[kind])
    assert (result["status"], result["exit_code"], result["stderr"]) == ("failed", 1, f"{ERROR}\n")
    assert result["reason"] == "tmc-run exited with status 1"


def test_the_file_of_errors_is_shown_though_tar_warns(run: Run) -> None:
    quiet = f'#!/bin/sh\necho "{ERROR}" > stderr.txt\n'.encode()
    result = run(archive(("tmc-run", quiet, LATER)))
    assert (result["status"], result["stderr"]) == ("finished", f"{ERROR}\n")


def test_why_an_archive_cannot_be_unpacked_is_told(run: Run) -> None:
    whole = archive(("tmc-run", FAILS, LATER), ("big", b"x" * 100_000, {}))
    result = run(whole[:5000])
    assert (result["status"], result["exit_code"]) == ("failed", None)
    assert result["reason"] == "the tar could not be unpacked"
    assert "Unexpected EOF" in result["stderr"]
    assert "future" not in result["stderr"]
    crowded = run(
        archive(("tmc-run", FAILS, {}), ("big", b"x" * 60 * MIB, {}), ("b", b"x" * 8 * MIB, {}))
    )
    assert crowded["exit_code"] is None
    assert "full" in crowded["reason"]
    assert "tar: b: " in crowded["stderr"]


LINK, FIFO, FOLDER = (
    {"type": kind} for kind in (tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)
)


@pytest.mark.parametrize(
    ("members", "code", "reason"),
    [
        ([("other", b"", {})], 127, "tmc-run is missing"),
        ([("tmc-run", b"", {**LINK, "linkname": "gone"})], 127, "is a link that leads nowhere"),
        ([("tmc-run", b"", {**LINK, "linkname": "tmc-run"})], 127, "is a link that leads nowhere"),
        ([("tmc-run", b"", FOLDER)], 126, "tmc-run is no file"),
        ([("tmc-run", b"", FIFO)], 126, "tmc-run is no file"),
        ([("tmc-run", b"", {**LINK, "linkname": "/etc"})], 126, "tmc-run is no file"),
        ([("tmc-run", FAILS, {"mode": 0o644})], 126, "tmc-run is not executable"),
        ([("tmc-run", b"#!/bin/sh\r\nexit 0\r\n", {})], 127, "line ends of Windows (CRLF)"),
        ([("tmc-run", b"#!/usr/bin/python3\r\n", {})], 127, "line ends of Windows (CRLF)"),
        ([("tmc-run", b"#!/usr/bin/env python3\r\n", {})], 127, "line ends of Windows (CRLF)"),
        ([("tmc-run", b"#!/bin/sh -e\r\nexit 0\r\n", {})], 2, "line ends of Windows (CRLF)"),
        ([("tmc-run", b"#!/no/ruby -w\n", {})], 127, "'/no/ruby', is not in the image"),
        ([("tmc-run", b"#!/etc/passwd\n", {})], 126, "'/etc/passwd', cannot be executed"),
        ([("tmc-run", b"#!/bin/sh\nnonesuch\n", {})], 127, "that it called was not found"),
        ([("tmc-run", b"#!/bin/sh\n./closed\n", {}), ("closed", b"", {"mode": 0o644})],
         126, "that it called could not be executed"),
    ],
)  # fmt: skip
def test_what_did_not_start_and_what_did(
    run: Run, members: list[tuple[str, bytes, dict[str, Any]]], code: int, reason: str
) -> None:
    result = run(archive(*members))
    assert (result["status"], result["exit_code"]) == ("failed", code), result
    assert reason in result["reason"]
    assert ("is missing" in result["reason"]) == ("is missing" in reason)
    assert ("is not executable" in result["reason"]) == ("is not executable" in reason)


def test_a_link_to_a_program_is_one(run: Run) -> None:
    result = run(archive(("tmc-run", b"", {**LINK, "linkname": "run"}), ("run", FAILS, {})))
    assert (result["exit_code"], result["stderr"]) == (1, f"{ERROR}\n")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        *((128, None), (193, None), (200, None), (255, None)),
        *((129, "signal 1 (SIGHUP)"), (192, "signal 64")),
    ],
)
def test_only_signals_are_called_so(run: Run, code: int, reason: str | None) -> None:
    result = run(script(f"exit {code}"))
    assert (result["status"], result["exit_code"]) == ("failed", code)
    assert f"status {code}" in result["reason"]
    assert (reason or "signal") in result["reason"] if reason else "signal" not in result["reason"]


def test_a_task_cannot_make_itself_out_as_not_started(run: Run) -> None:
    result = run(script("printf '\\0not started\\0'; printf missing; exit 127"))
    assert (result["exit_code"], result["stdout"]) == (127, "\0not started\0missing")


@pytest.mark.parametrize("code", [0, 3])
def test_outputs_that_found_no_room_are_no_good_end(run: Run, code: int) -> None:
    fill = "dd if=/dev/zero of=a bs=1M count=60 2> /dev/null; cat /dev/zero > b 2> /dev/null"
    result = run(script(f"{fill}; echo points > output.txt; exit {code}"))
    assert (result["status"], result["exit_code"], result["output"]) == ("failed", code, "")
    assert "/tmp, was full" in result["reason"]
    emptied = run(script(f"{fill}; rm a b; echo points > output.txt"))
    assert (emptied["status"], emptied["output"]) == ("finished", "points\n"), emptied


def test_a_task_of_many_files_needs_no_memory_of_the_services(run: Run) -> None:
    result = run(
        task({"tmc-run": "#!/bin/sh\necho fine\n", **{f"f{n}": "" for n in range(13_000)}})
    )
    assert (result["status"], result["stdout"]) == ("finished", "fine\n")
