"""An exercise in TMC's form: released, handed in as a folder, attacked, graded by point."""

import base64
import json
from collections.abc import Iterator

import pytest
from exercises import ATTACKS, EXERCISE, MARK, WORKS, program
from guest import Guest
from handed import make_places

COURSE = "/home/students/.courses/graded"
RUN = "notebook-assignments {} graded {}"


def write_all(guest: Guest, place: str, files: dict[str, str]) -> None:
    """Write files into a folder, by one command."""
    script = ["set -e"]
    for name, text in files.items():
        packed = base64.b64encode(text.encode()).decode()
        path = f"{place}/{name}"
        script.append(f"mkdir -p {path.rpartition('/')[0]}; echo {packed} | base64 -d > {path}")
    with guest.root.open_sftp() as sftp, sftp.open("/root/exercise.sh", "w") as file:
        file.write("\n".join(script))
    guest.run("sh /root/exercise.sh")


@pytest.fixture(scope="module")
def said(guest: Guest) -> Iterator[str]:
    """What is said of all works, handed in and graded at once."""
    make_places(guest, "graded")
    write_all(guest, f"{COURSE}/source/ex", EXERCISE)
    told = guest.run(RUN.format("release", "ex"))
    names = (".tmcproject.yml", "data.csv", "src/__init__.py", "src/work.py", "test/__init__.py")
    names = (*names, "test/test_work.py", "tmc/__init__.py")
    assert told.split() == [f"hand-out/ex/{name}" for name in names]
    place = f"{COURSE}/hand-out/ex"
    assert MARK not in guest.run(f"cat {place}/test/*")
    work = guest.run(f"cat {place}/src/work.py")
    assert "return 0\n" in work
    assert "2 * n" not in work
    for number, text in enumerate([text for text, _ in WORKS.values()] + [*ATTACKS.values()]):
        here = f"{COURSE}/hand-in/pupil{number:02}/ex"
        guest.run(f"cp -r {place} {here}")
        write_all(guest, here, {"src/work.py": program(text)})
    # Its tests are not the student's, nor what is in the place of folders.
    hacked = {"src/work.py": "", "test/test_work.py": "", "tmc/__init__.py": "points = print"}
    write_all(guest, f"{COURSE}/hand-in/hacker/ex", hacked)
    guest.run(
        f"mkdir {COURSE}/hand-in/bitdiddle/ex; ln -s /etc {COURSE}/hand-in/bitdiddle/ex/src; "
        f"mkdir -p {COURSE}/hand-in/pupil/ex/src; ln -s /etc/shadow {COURSE}/hand-in/pupil/ex/src/a"
    )
    yield guest.run(RUN.format("grade", "ex"), timeout=300)
    assert int(guest.run("ps -eo args | grep -c '[b]wrap' || true")) == 0, "a box is left"


@pytest.mark.parametrize("number", range(len(WORKS)), ids=WORKS)
def test_each_point_is_given_whose_tests_pass(said: str, number: int) -> None:
    points = [*WORKS.values()][number][1]
    assert f"pupil{number:02}: {points} of 6, handed in " in said


@pytest.mark.parametrize("number", range(len(ATTACKS)), ids=ATTACKS)
def test_an_attack_gains_no_point_and_reads_no_test(guest: Guest, said: str, number: int) -> None:
    pupil = f"pupil{number + len(WORKS):02}"
    assert f"{pupil}: 0 of 6, handed in " in said
    text = guest.run(f"cat {COURSE}/results/ex/{pupil}/exercise.ipynb")
    shown = [out for cell in json.loads(text)["cells"] for out in cell.get("outputs", [])]
    lines = "".join("".join(out.get("text", "")) for out in shown).splitlines()
    assert not [line for line in lines if "SEEN" in line and MARK in line]
    assert not [line for line in lines if "SEEN" in line and "True" in line]


def test_neither_other_tests_nor_links_gain_anything(guest: Guest, said: str) -> None:
    assert "hacker: 0 of 6" in said
    assert "bitdiddle: 0 of 6" in said
    assert "src: it is a link" in said
    assert "src/a: it is a link" in said
    assert "root:" not in guest.run(f"cat {COURSE}/results/ex/pupil/*")
    assert guest.run("! notebook-assignments check graded ex 2>&1 | grep not") == ""


def test_feedback_shows_which_tests_passed(guest: Guest, said: str) -> None:
    assert "pupil01: hand-in/feedback/ex" in guest.run(RUN.format("feedback", "ex"))
    page = guest.run(f"cat {COURSE}/hand-in/pupil01/feedback/ex/exercise.html")
    assert "Score: 1.0 / 6.0" in page
    assert "Words.test_greeting passed" in page
    assert "Double.test_large failed" in page


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"src/work.py": "def double(n): return n"},
            "does not get all points of 1-1: Double.test_",
        ),
        ({"work.ipynb": "{}"}, "work.ipynb is a notebook, in an exercise of TMC's form"),
    ],
)
def test_what_is_wrong_is_said_and_not_handed_out(
    guest: Guest, said: str, changes: dict[str, str], words: str
) -> None:
    guest.run(f"rm -rf {COURSE}/source/wrong")
    write_all(guest, f"{COURSE}/source/wrong", {**EXERCISE, **changes})
    assert words in guest.run(f"! {RUN.format('release', 'wrong')} 2>&1")
    guest.run(f"test ! -e {COURSE}/hand-out/wrong")
