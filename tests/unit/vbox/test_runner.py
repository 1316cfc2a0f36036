"""What is read from VBoxManage while it runs."""

import os
import threading
from pathlib import Path

import pytest

from vbox import VBoxManage, runner
from vbox.errors import InterruptedError, PassingError

# Tells how often it was called, and hangs the first time.
HANGING = """#!/bin/sh
echo "$1" >> "$0.calls"
[ "$(wc -l < "$0.calls")" -gt 1 ] || exec sleep 600
echo answered
"""
ENDING = """#!/bin/sh
echo "$1" >> "$0.calls"
[ "$(wc -l < "$0.calls")" -lt 3 ] || exec echo answered
cat >&2 <<END
VBoxManage: error: The object is not ready
VBoxManage: error: Details: code @CODE@ (0x80070005), component SessionMachine
VBoxManage: error: The session is not locked (session state: Unlocked)
VBoxManage: error: Details: code E_UNEXPECTED (0x8000ffff), component SessionMachine
END
exit 1
"""


def saying(script: str, place: Path) -> VBoxManage:
    program = place / "VBoxManage"
    program.write_text(script)
    program.chmod(0o755)
    return VBoxManage(program)


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VBoxManage:
    monkeypatch.setattr(runner, "HANG_SECONDS", 0.5)
    return saying(HANGING, tmp_path)


def test_a_question_that_hangs_is_asked_once_more(hanging: VBoxManage) -> None:
    assert hanging.run("list", "vms") == "answered\n"
    assert hanging.path.with_suffix(".calls").read_text() == "list\nlist\n"


def test_a_change_that_hangs_is_not_made_twice(hanging: VBoxManage) -> None:
    with pytest.raises(InterruptedError, match="stopped after"):
        hanging.run("createvm", timeout=1.5)
    assert hanging.path.with_suffix(".calls").read_text() == "createvm\n"


@pytest.fixture(params=["E_ACCESSDENIED", "E_UNEXPECTED", "NS_ERROR_CALL_FAILED"])
def ending(tmp_path: Path, request: pytest.FixtureRequest) -> VBoxManage:
    """Of a machine that ends while it is looked at, as 7.2 says it on a busy host."""
    return saying(ENDING.replace("@CODE@", request.param), tmp_path)


def test_a_machine_that_ends_while_it_is_looked_at_is_looked_at_again(ending: VBoxManage) -> None:
    assert ending.run("showvminfo", "sage") == "answered\n"
    assert ending.path.with_suffix(".calls").read_text() == "showvminfo\n" * 3


def test_what_changes_something_is_not_done_again(ending: VBoxManage) -> None:
    with pytest.raises(PassingError, match="not ready"):
        ending.run("modifyvm", "sage")
    assert ending.path.with_suffix(".calls").read_text() == "modifyvm\n"


def test_progress_is_understood_however_the_pipe_cuts_it() -> None:
    read, write = os.pipe()
    percents: list[float] = []
    out: list[bytes] = []
    with os.fdopen(read, "rb") as stream:
        reader = threading.Thread(target=runner._follow, args=(stream, out, percents.append))
        reader.start()
        for part in (b"0%...1", b"0%...90%...10", b"0", b"%\nMedium created.\n"):
            seen = len(out)
            os.write(write, part)
            while len(out) == seen:
                pass
        os.close(write)
        reader.join()
    assert percents == [0, 90, 100]
    assert b"".join(out) == b"0%...10%...90%...100%\nMedium created.\n"
