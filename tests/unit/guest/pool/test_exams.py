import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from provision.guest.pool import exams
from provision.guest.pool.exams import Exam, arguments, exam_of, omissions
from provision.guest.typed import DamagedError

COURSES = {"algebra": {"members": ["emmy", "carl"], "teachers": ["noether"], "quota": 1}}
NOON = datetime.datetime(2026, 12, 1, 12, tzinfo=datetime.UTC)


def at(minutes: float) -> datetime.datetime:
    return NOON + datetime.timedelta(minutes=minutes)


def release(directory: Path, name: str = "test", **rules: Any) -> None:
    place = directory / exams.PLACE / "algebra" / exams.GRADES / name
    place.mkdir(parents=True)
    exam = {"from": NOON.isoformat(), "kernels": ["python3"], "terminals": False}
    exam |= {"material": False, "extra": {}, "paused": {}, **rules}
    told = {"due": at(90).isoformat(), "grace": 0, "notebooks": ["work"], "exam": exam}
    (place / exams.RECORD).write_text(json.dumps(told))


def exam_at(directory: Path, student: str, minutes: float) -> Exam | None:
    return exam_of(directory, student, COURSES, at(minutes))


@pytest.mark.parametrize(("minutes", "begun"), [(-0.1, False), (0, True), (89, True), (90, False)])
def test_an_exam_is_from_its_beginning_to_its_end(
    tmp_path: Path, minutes: float, begun: bool
) -> None:
    release(tmp_path)
    exam = exam_at(tmp_path, "emmy", minutes)
    assert (exam is not None) is begun
    assert exam is None or (exam.name, exam.until) == ("algebra/test", at(90))


def test_who_does_not_learn_in_the_course_is_in_no_exam(tmp_path: Path) -> None:
    release(tmp_path)
    for other in ("noether", "gauss"):
        assert exam_at(tmp_path, other, 1) is None


def test_one_has_more_time_than_the_others(tmp_path: Path) -> None:
    release(tmp_path, extra={"carl": 600})
    assert exam_at(tmp_path, "emmy", 95) is None
    assert exam_at(tmp_path, "carl", 95) is not None
    assert exam_at(tmp_path, "carl", 101) is None


def test_who_rests_is_in_the_exam_though_its_time_is_over(tmp_path: Path) -> None:
    release(tmp_path, paused={"emmy": NOON.isoformat()})
    exam = exam_at(tmp_path, "emmy", 500)
    assert exam
    assert exam.paused


def test_of_all_is_known_what_is_known_of_each(tmp_path: Path) -> None:
    release(tmp_path, extra={"carl": 600}, paused={"emmy": NOON.isoformat()})
    release(tmp_path, "later")
    for minutes in (-1, 1, 95, 500):
        known = exams.exams_now(exams.read_exams(tmp_path, COURSES), COURSES, at(minutes))
        for student in ("emmy", "carl", "noether"):
            assert known.get(student) == exam_at(tmp_path, student, minutes)


def test_an_assignment_is_no_exam(tmp_path: Path) -> None:
    place = tmp_path / exams.PLACE / "algebra" / exams.GRADES / "sheet1"
    place.mkdir(parents=True)
    (place / exams.RECORD).write_text('{"due": "", "grace": 0, "notebooks": []}')
    assert exam_at(tmp_path, "emmy", 0) is None


NO_TIME = datetime.datetime(2026, 12, 1, 12).isoformat()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Expecting value"),
        ("[]", "it must be dict"),
        ('{"due": "", "notebooks": []}', "grace is missing"),
        ('{"due": "", "grace": 0, "notebooks": [], "exam": {}}', "exam.extra is missing"),
        ({"from": "noon"}, "Invalid isoformat string: 'noon'"),
        ({"from": NO_TIME}, "a time is without its zone"),
        ({"paused": {"emmy": "since noon"}}, "Invalid isoformat string: 'since noon'"),
        ({"extra": {"emmy": float("inf")}}, "cannot convert float infinity"),
        ({"extra": {"emmy": 1e12}}, "date value out of range"),
    ],
)
def test_what_is_damaged_is_named_and_keeps_no_other_from_being_read(
    tmp_path: Path, text: str | dict[str, Any], words: str
) -> None:
    """Whose exam it may be gets no session; in another exam of the course all goes on."""
    place = tmp_path / exams.PLACE / "algebra" / exams.GRADES / "damaged"
    if isinstance(text, str):
        place.mkdir(parents=True)
        (place / exams.RECORD).write_text(text)
    else:
        release(tmp_path, "damaged", **text)
    with pytest.raises(DamagedError) as told:
        exam_at(tmp_path, "emmy", 1)
    assert str(told.value).startswith(f"{place / exams.RECORD} is damaged: {words}")
    assert str(told.value).endswith(f"; {exams.MEND}")
    assert exam_at(tmp_path, "noether", 1) is None
    release(tmp_path)
    exam = exam_at(tmp_path, "emmy", 1)
    assert exam
    assert exam.name == "algebra/test"


def test_the_server_is_told_kernels_and_terminals() -> None:
    exam = Exam("algebra", "test", NOON, ("python3", "sagemath"))
    assert arguments(exam) == [
        "--KernelSpecManager.allowed_kernelspecs=python3",
        "--KernelSpecManager.allowed_kernelspecs=sagemath",
        "--ServerApp.terminals_enabled=False",
    ]


def test_programs_of_other_kernels_are_hidden_unless_one_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opt = tmp_path.joinpath("opt").resolve()
    monkeypatch.setattr(exams, "_top", lambda program: opt / program.relative_to(opt).parts[0])
    monkeypatch.setattr(exams, "OPT", opt)
    monkeypatch.setattr(exams, "PROGRAMS", ())
    for name, program in {"sagemath": "sage/bin/a", "octave": "notebook/b", "r": "r/c"}.items():
        path = opt / program
        path.parent.mkdir(parents=True)
        path.touch()
        place = tmp_path / "kernels" / name
        place.mkdir(parents=True)
        (place / "kernel.json").write_text(json.dumps({"argv": [str(path), "-f"]}))
    (tmp_path / "kernels" / "gone").mkdir()
    (tmp_path / "kernels" / "gone" / "kernel.json").symlink_to("nowhere")
    exam = Exam("algebra", "test", NOON, ("python3",))
    assert list(omissions(exam, tmp_path / "kernels")) == [opt / "r", opt / "sage"]
    exam = Exam("algebra", "test", NOON, ("sagemath",))
    assert list(omissions(exam, tmp_path / "kernels")) == [opt / "r"]


def test_the_firewall_is_asked_only_where_it_must_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(
        exams.subprocess, "run", lambda command, check: read.append(Path(command[-1]).read_text())
    )
    exams.close_network("nb1", 2001, None, tmp_path)
    assert read == []
    exams.close_network("nb1", 2001, Exam("algebra", "test", NOON), tmp_path)
    assert exams.exams_by_account(tmp_path) == {"nb1": "algebra/test"}
    exams.close_network("nb1", 2001, None, tmp_path)
    element = "element inet notebook closed { 2001 }"
    assert read == [
        f"# algebra/test\nadd {element}\n",
        f"add {element}\ndelete {element}\n",
    ]
    assert exams.exams_by_account(tmp_path) == {}


def test_no_name_of_an_exam_is_an_order_to_the_firewall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exams.subprocess, "run", lambda command, check: None)
    exams.close_network("nb1", 2001, Exam("algebra", "x\nflush ruleset", NOON), tmp_path)
    lines = (tmp_path / "nb1.nft").read_text().splitlines()
    assert [line[:5] for line in lines] == ["# alg", "add e"]
