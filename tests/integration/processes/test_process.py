"""Commands of the host: nothing that goes wrong around one is taken for its success."""

import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from provision import process
from provision.process import CommandFailedError, feed, run


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def test_what_a_lines_handler_raises_ends_the_command_and_is_raised() -> None:
    def handle(line: str) -> None:
        raise LookupError(line)

    with pytest.raises(LookupError, match="first"):
        run(shell("echo first >&2; exec sleep 600"), on_line=handle)


def test_a_handler_that_failed_does_not_stop_the_pipe() -> None:
    def handle(line: str) -> None:
        raise LookupError(line)

    talkative = "trap '' TERM; echo first >&2; head -c 1000000 /dev/zero | tr '\\0' '\\n' >&2"
    with pytest.raises(LookupError, match="first"):
        run(shell(talkative), on_line=handle)


def test_output_that_a_grandchild_keeps_open_is_no_empty_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.5)
    with pytest.raises(CommandFailedError, match="left behind"):
        run(shell("echo answer; sleep 600 &"))


def test_a_daemon_that_closed_its_output_is_let_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(shell("echo answer; sleep 2 >/dev/null 2>&1 &")) == "answer\n"


def test_neither_side_of_a_pipe_waits_for_the_other() -> None:
    def write(pipe: IO[bytes]) -> None:
        for _ in range(64):
            pipe.write(b"x" * 65536)

    with pytest.raises(CommandFailedError) as failed:
        feed(shell("head -c 1000000 /dev/zero | tr '\\0' e >&2; cat > /dev/null; exit 3"), write)
    assert failed.value.returncode == 3
    feed(shell("head -c 1000000 /dev/zero | tr '\\0' e >&2; cat > /dev/null"), write)


def test_a_command_that_reads_no_further_is_told_by_its_status() -> None:
    def write(pipe: IO[bytes]) -> None:
        while True:
            pipe.write(b"x" * 65536)

    with pytest.raises(CommandFailedError, match="enough"):
        feed(shell("head -c 1000 > /dev/null; echo enough >&2; exit 1"), write)


def test_a_source_that_breaks_stops_the_command(tmp_path: Path) -> None:
    def write(pipe: IO[bytes]) -> None:
        pipe.write(b"x")
        raise EOFError("cut off")

    with pytest.raises(EOFError, match="cut off"):
        feed(shell(f"trap '' PIPE; cat > {tmp_path}/got; exec sleep 600"), write)


def test_an_upgrade_on_a_disk_that_fills_says_so(tmp_path: Path) -> None:
    """The program that goes to the guest: tar complains of each member, more than a pipe holds."""
    tree, archive, target = tmp_path / "tree", tmp_path / "a.tar", tmp_path / "target"
    tree.mkdir()
    target.mkdir()
    for number in range(4000):
        (tree / f"{'n' * 200}{number}").touch()
    subprocess.run(["tar", "-C", tmp_path, "-cf", archive, "tree"], check=True)
    program = (
        "from pathlib import Path; from provision.fleet.inside import incoming\n"
        f"incoming.extract(Path({str(archive)!r}), Path({str(target)!r}), 0)"
    )
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=9", "tmpfs", target], check=True)
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    finally:
        subprocess.run(["umount", target], check=True)
    assert "RefusedError: the archive cannot be unpacked" in done.stderr
    assert "No space left" in done.stderr
