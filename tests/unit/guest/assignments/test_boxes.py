"""Messages to pupil and examiner; no box is begun."""

import io
import json
import subprocess
import sys

import pytest

from provision.guest.assignments import boxes
from provision.guest.assignments.examiner import StandIn, next_order
from provision.guest.assignments.peer import LONGEST, GoneError

LATE = (
    *(b'{"run": "open(1)"}\n', b'{"run": "open(1)", "key": "guessed"}\n', b'{"value": 1}\n'),
    *(b'["run"]\n', b"\n", b"no JSON\n", b"[" * 100_000 + b"\n", b'{"gone": "", "key": null}\n'),
)


def test_an_answer_that_comes_after_its_test_is_no_order() -> None:
    """It is the student's word, and would be run where the tests are."""
    ours = {"run": "1", "key": "ours"}
    orders = io.BytesIO(b"".join(LATE) + json.dumps(ours).encode() + b"\n" + LATE[0])
    assert next_order(orders, "ours") == ours
    with pytest.raises(GoneError):
        next_order(orders, "ours")


def test_an_examiner_begins_in_a_box_only() -> None:
    """It ends all processes that it can: here they are everybody's."""
    program = "from provision.guest.assignments.examiner import main; main(1)"
    done = subprocess.run(
        [sys.executable, "-c", program], input=b"", check=False, capture_output=True
    )
    assert (done.returncode, b"only in a box" in done.stderr) == (1, True)


def test_large_files_are_told_in_messages_that_can_be_read() -> None:
    files = {"large": b"x" * (LONGEST + 1), "empty": b"", "src/work.py": b"1"}
    found: dict[str, bytes] = {}
    for part in boxes._parts(files):
        assert len(json.dumps(part)) < LONGEST
        found[part["file"]] = found.get(part["file"], b"") + bytes.fromhex(part["part"])
    assert found == files


@pytest.mark.parametrize("name", ["__array_interface__", "__array_struct__"])
def test_no_object_of_a_notebook_tells_numpy_where_in_memory_to_read(name: str) -> None:
    with pytest.raises(AttributeError):
        getattr(StandIn(None, 0, "m", "n"), name)  # type: ignore[arg-type]
