"""What a User-Mode Linux guest writes down becomes the same result as a box's."""

import pytest

from provision.guest.grader.uml import _result
from provision.guest.sandbox.limits import Ended, Verdict

ENDED = Ended(Verdict.EXITED, 0, b"", b"a\nPanic: b\n", 9.0, 8.0, 7.0, 10**9)
GOOD = {
    "exit_code.txt": b"7\n",
    "usage": b"1.25 3.75 500000 1000000\n",
    "cut-stdout.txt": b"\nout",
    "cut-stderr.txt": b"err",
    "task-output.txt": b"points",
}


def test_a_task_that_ended() -> None:
    result = _result(ENDED, GOOD)
    assert (result.status, result.exit_code) == ("failed", 7)
    assert (result.stdout, result.stderr, result.output) == ("out", "err", "points")
    assert (result.seconds, result.cpu, result.memory) == (2.5, 0.5, 1_000_000)


def test_a_disk_of_an_earlier_release() -> None:
    result = _result(ENDED, {**GOOD, "unpacked": b"\n", "cut-stdout.txt": b"out"})
    assert (result.status, result.exit_code, result.stdout) == ("failed", 7, "out")


def test_a_guest_whose_file_system_was_full() -> None:
    result = _result(ENDED, {**GOOD, "exit_code.txt": b"0", "full": b"\n"})
    assert (result.status, result.exit_code) == ("failed", 0)
    assert "full" in result.reason


@pytest.mark.parametrize(
    ("verdict", "status", "reason"),
    [
        (b"clock\n", "timeout", "wall time limit"),
        (b"cpu\n", "timeout", "processor time limit"),
        (b"memory\n", "failed", "memory limit"),
        (b"output\n", "failed", "output limit"),
    ],
)
def test_a_limit_that_the_guest_met(verdict: bytes, status: str, reason: str) -> None:
    result = _result(ENDED, {**GOOD, "verdict": verdict})
    assert (result.status, result.exit_code, result.reason) == (status, None, reason)


def test_a_guest_that_was_taken_over_writes_what_it_likes() -> None:
    evil = {**GOOD, "usage": b"nan", "verdict": b"passed", "exit_code.txt": b"\xff"}
    assert _result(ENDED, evil).status == "failed"


def test_a_kernel_that_fails_shows_its_last_words() -> None:
    result = _result(ENDED, {})
    assert (result.status, result.exit_code) == ("failed", None)
    assert "Panic: b" in result.reason
