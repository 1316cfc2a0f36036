"""What is read from VBoxManage while it runs."""

import os
import threading
from pathlib import Path

import pytest

from vbox import VBoxManage, runner
from vbox.errors import InterruptedError

# Tells how often it was called, and hangs the first time.
HANGING = """#!/bin/sh
echo "$1" >> "$0.calls"
[ "$(wc -l < "$0.calls")" -gt 1 ] || exec sleep 600
echo answered
"""


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VBoxManage:
    monkeypatch.setattr(runner, "HANG_SECONDS", 0.5)
    program = tmp_path / "VBoxManage"
    program.write_text(HANGING)
    program.chmod(0o755)
    return VBoxManage(program)


def test_a_question_that_hangs_is_asked_once_more(hanging: VBoxManage) -> None:
    assert hanging.run("list", "vms") == "answered\n"
    assert hanging.path.with_suffix(".calls").read_text() == "list\nlist\n"


def test_a_change_that_hangs_is_not_made_twice(hanging: VBoxManage) -> None:
    with pytest.raises(InterruptedError, match="stopped after"):
        hanging.run("createvm", timeout=1.5)
    assert hanging.path.with_suffix(".calls").read_text() == "createvm\n"


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
