"""Messages to pupil and examiner; no box is begun."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from provision.guest.assignments import boxes
from provision.guest.assignments.examiner import Examiner, StandIn, next_order
from provision.guest.assignments.kernels import Kernel
from provision.guest.assignments.peer import LONGEST, GoneError
from provision.guest.assignments.pupil import KEPT

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


def test_outputs_of_a_notebook_are_kept_up_to_a_size() -> None:
    class Pupil:
        room, gone = 1000, ""

        def send(self, message: object) -> None: ...

        def receive(self, seconds: float) -> bytes:
            said = {"output_type": "display_data", "data": {"text/plain": "x" * 400}}
            return json.dumps({"done": [said] * 5}).encode()

    pupil: Any = Pupil()
    first, second = (boxes._work(pupil, {"run": ""}) for _ in range(2))
    assert [each["output_type"] for each in first] == ["display_data", "display_data", "stream"]
    assert [each["text"] for each in second] == ["… and more than is kept\n"]


def test_what_a_student_raises_is_told_up_to_a_length() -> None:
    source = f"raise ValueError('x' * {3 * KEPT})"
    (told,) = Examiner(5).run(source)
    assert len(json.dumps(told)) < 3 * KEPT


def test_a_notebook_that_was_ended_with_all_is_run_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What took all memory may have been the notebook before, whose end comes late."""
    begun: list[Any] = []

    class Zygote:
        def __init__(self, *_: object) -> None:
            begun.append(self)
            self.begun, self.why = 0.0, "memory limit" if len(begun) == 1 else ""

        def runs(self) -> bool:
            return not self.why

        def wait(self, seconds: float) -> str:
            return self.why

        def close(self) -> None: ...

    class Box:
        room = 100

        def __init__(self, zygote: Zygote, *_: object) -> None:
            self.gone = zygote.why

        def __enter__(self) -> "Box":
            return self

        def __exit__(self, *_: object) -> None: ...
        def send(self, *_: object) -> None: ...

        def receive(self, seconds: float) -> bytes | None:
            return None if self.gone else b'{"done": []}'

    monkeypatch.setattr(boxes, "Zygote", Zygote)
    monkeypatch.setattr(boxes, "Boxed", Box)
    monkeypatch.setattr(boxes, "LIFETIME", float("inf"))
    kept = boxes.Boxes(Path("/"), Kernel(("python",), ()))
    cells = [boxes.Cell("1", test=False)]
    assert kept.run(cells, {}, {}) == [[]]
    assert len(begun) == 2
