"""An assignment from release to feedback, and everything that a student may hand in instead."""

import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from guest import Guest
from handed import book, cell, hand_in, hand_in_all, make_places, write

COURSE = "/home/students/.courses/graded"
MARK = "what-no-student-reads"
# Two workers have the language, and rest for the course's next notebooks; no box is left.
RESTS = (
    "for n in $(seq 50); do [ $(ps -eo args | grep -c '^/opt.*[f]orkserver') -le 2 ] && exit; "
    "sleep 0.2; done; ps -ef; exit 1"
)
SOURCE = """
import math


def double(n):
    ### BEGIN SOLUTION
    return 2 * n
    ### END SOLUTION
"""
GIVEN = """
def close(a, b):
    return math.isclose(a, b)
"""
TEST = f"""
assert double(2) == 4
### BEGIN HIDDEN TESTS
told = "{MARK}"
for n in (3, 17, 123456):
    assert double(n) == 2 * n, told
assert close(double(1.5), 3)
assert abs(double(5) - 10) < 1e-9
### END HIDDEN TESTS
"""
# What stands in the place of a solution, and gets no point. SEEN is what it found and shows.
ATTACKS = {
    "leaves": "import sys; sys.exit(0)",
    "leaves-at-once": "import os; os._exit(0)",
    "kills-the-kernel": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "kills-everybody": "import os, signal; os.kill(-1, signal.SIGKILL)",
    "leaves-when-asked": "import os\ndef double(n): os._exit(0)",
    "raises-the-end": "def double(n): raise SystemExit(0)",
    "raises-what-is-caught": "def double(n): raise GeneratorExit",
    "equals-everything": """
        class Yes:
            def __getattr__(self, name): return Yes()
            def __call__(self, *a): return Yes()
        for name in ("eq", "ne", "lt", "gt", "le", "ge", "sub", "rsub", "add", "radd"):
            setattr(Yes, f"__{name}__", lambda *a: True)
        Yes.__abs__ = Yes.__float__ = lambda self: 0.0
        Yes.__bool__ = lambda self: True
        def double(n): return Yes()
    """,
    "a-number-that-equals": """
        class Number(int):
            __eq__ = __lt__ = lambda *a: True
            __sub__ = __rsub__ = lambda *a: 0
            __hash__ = int.__hash__
        def double(n): return Number(0)
    """,
    "patches-what-tests-use": """
        import builtins, math, unittest
        def double(n): return 0
        close = lambda *a: True
        math.isclose = builtins.abs = builtins.len = lambda *a, **k: True
        builtins.AssertionError = type("Fine", (Exception,), {})
        builtins.compile = builtins.exec = builtins.eval = lambda *a, **k: None
    """,
    "imports-its-own-math": """
        open("math.py", "w").write("isclose = lambda *a: True")
        import sys; sys.modules.pop("math"); import math
        def double(n): return 0
    """,
    "looks-at-frames": """
        import sys
        def double(n):
            frame = sys._getframe()
            while frame:
                print("SEEN", frame.f_code.co_consts, list(frame.f_locals.items()))
                frame = frame.f_back
            return 0
    """,
    "traces": """
        import sys, threading
        def double(n): return 0
        def trace(frame, *a): print("SEEN", frame.f_code.co_consts); return trace
        sys.settrace(trace); threading.settrace(trace); sys.setprofile(trace)
        sys.addaudithook(lambda *a: a[0] in ("exec", "compile") and print("SEEN", a))
    """,
    "searches-memory": """
        import gc
        def double(n):
            print("SEEN", [each for each in gc.get_objects() if "-no-student" in repr(each)[:9999]])
            return 0
    """,
    "reads-the-history": """
        def double(n):
            print("SEEN", get_ipython().user_ns.get("In"), get_ipython().history_manager)
            return 0
    """,
    "searches-the-disk": """
        import os
        def double(n):
            for top in ("/tmp", "/home", "/etc", "/var", "/run", "/root", "/opt/assignments"):
                for where, _, names in os.walk(top):
                    for name in names:
                        try: text = open(os.path.join(where, name), errors="replace").read(99999)
                        except OSError: continue
                        if "-no-student-" in text: print("SEEN", text)
            return 0
    """,
    "forges-messages": """
        import os, threading
        def lie():
            while True:
                for fd in range(3, 64):
                    try: os.write(fd, b'{"done": []}\\n{"value": 4, "after": []}\\n')
                    except OSError: pass
        def double(n): return 0
        threading.Thread(target=lie, daemon=True).start()
    """,
    "forges-values": """
        import os
        def double(n):
            for fd in range(3, 64):
                try: os.write(fd, b'["mine"]\\n{"value": ["array", "O"]}\\n' + b"\\xff" * 99)
                except OSError: pass
            return 0
    """,
    "forges-results": """
        import os
        for name in ("result.json", "version.json", "gradebook.db", "work.ipynb", "score"):
            for place in (".", "/tmp", os.path.expanduser("~")):
                open(os.path.join(place, name), "w").write('{"score": 9, "max_score": 9}')
        display({"application/json": {"score": 9}}, raw=True)
        def double(n): return 0
        9.0
    """,
    "outlives-by-a-thread": """
        import threading, os
        def double(n): return 0
        def stay():
            while True:
                if os.fork() == 0: os.setsid()
        threading.Thread(target=stay).start()
    """,
    "prints-a-gigabyte": """
        import os, sys
        for _ in range(300): print("x" * 4_000_000)
        os.system("head -c 300000000 /dev/zero >&2"); sys.__stdout__.write("y" * 9_000_000)
        def double(n): return 0
    """,
    "answers-a-gigabyte": "def double(n): return 'x' * (1 << 29)",
    "takes-all-memory": "x = []\nwhile True: x.append(bytearray(1 << 27))",
    "takes-all-processes": "import os\nwhile True: os.fork()",
    "takes-the-disk": """
        def double(n): return 0
        with open("/tmp/large", "wb") as file:
            while True: file.write(bytes(1 << 20))
    """,
    "asks-the-network": """
        import socket
        def double(n): return 0
        for place in ("127.0.0.1", "10.0.2.2", "1.1.1.1"):
            try: socket.create_connection((place, 8000), 1); print("SEEN -no-student-", place)
            except OSError: pass
    """,
    "nests-without-end": "def double(n):\n    x = []\n    x.append(x)\n    return x",
}
PUPILS = {name: f"pupil{number:02}" for number, name in enumerate(ATTACKS)}
# By what was handed in: what is said of it, and whether it is graded nevertheless.
HONEST = "def double(n):\n    return n + n"
BAD = {
    "text": ("is no notebook: Expecting value: line 1 column 1", False),
    "third": ("is of nbformat 3, not 4: open it in JupyterLab and save it", False),
    "list": ("is no notebook: it has no cells", False),
    "giant": ("work.ipynb: it has 200 MB; a file may have 20", False),
    "link": ("work.ipynb: it is a link", False),
    "pipe": ("work.ipynb: it is a pipe", False),
    "folder": ("work.ipynb: it is a folder", False),
    "elsewhere": ("task: it is a link", False),
    "twice": ("", True),
    "kernelless": ("", True),
    "other-kernel": ("", True),
    "capitals": ("", True),
    # What a cell is its teacher says, not its metadata.
    "grades-a-solution": ("", True),
    "grades-a-cell-of-its-own": ("", True),
}
GRADES = {"grades-a-solution": 0, "grades-a-cell-of-its-own": 2}  # which cell
PUPILS |= {name: f"pupil{number:02}" for number, name in enumerate(BAD, len(ATTACKS))}


def notebook(solution: str, test: str = TEST) -> dict[str, Any]:
    cells = [
        cell(solution, grade_id="double", solution=True, locked=False),
        cell(GIVEN, grade_id="given", locked=True),
        cell("double(21)"),
        cell(test, grade_id="test", grade=True, points=3, locked=True),
    ]
    return book(cells)


@dataclass(frozen=True)
class Graded:
    """What came of it.

    Args:
        said: what the command told of each student.
        cells: the graded notebook's cells, by student.
    """

    said: dict[str, str]
    cells: dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def course(guest: Guest) -> Guest:
    """The course, with a place for each student's hand-in, as the first session makes it."""
    make_places(guest, "graded")
    return guest


@pytest.fixture(scope="module")
def graded(course: Guest) -> Iterator[Graded]:
    """All that is in the tables, handed in and graded at once."""
    source = f"{COURSE}/source/task"
    course.run(f"mkdir {source}; echo 1,2 > {source}/data.csv")
    write(course, f"{source}/work.ipynb", json.dumps(notebook(SOURCE)))
    course.run("notebook-assignments release graded task")
    released = course.run(f"cat {COURSE}/hand-out/task/work.ipynb")
    assert "return 2 * n" not in released
    assert MARK not in released
    fresh = json.loads(released)
    work = {}
    for name, pupil in PUPILS.items():
        mine = json.loads(released)
        mine["cells"][0]["source"] = textwrap.dedent(ATTACKS.get(name, HONEST))
        work[pupil] = json.dumps(mine)
    fresh["cells"][0]["source"] = HONEST
    work["pupil"] = json.dumps(fresh)
    # Points are not the student's to say, and a test is brought back.
    fresh["cells"][0]["source"] = "def double(n): return 0"
    fresh["cells"][3]["source"] = "pass"
    fresh["cells"][3]["metadata"]["nbgrader"] |= {"points": 99, "locked": False}
    work["hacker"] = json.dumps(fresh)
    fresh["cells"][3]["metadata"]["nbgrader"]["solution"] = True
    work["pupil41"] = json.dumps(fresh)
    del fresh["cells"][3]
    work["bitdiddle"] = json.dumps(fresh)
    spoil(work)
    hand_in_all(course, COURSE, "task", work)
    at = {name: f"{PUPILS[name]}/task" for name in BAD}
    spoiled = [
        *("set -e", f"cd {COURSE}/hand-in"),
        f"truncate -s 200M {at['giant']}/work.ipynb",
        f"ln -sf /etc/shadow {at['link']}/work.ipynb",
        f"rm {at['pipe']}/work.ipynb; mkfifo {at['pipe']}/work.ipynb",
        f"rm {at['folder']}/work.ipynb; mkdir {at['folder']}/work.ipynb",
        f"rm -r {at['elsewhere']}; ln -s ../pupil/task {at['elsewhere']}",
        f"mv {at['capitals']}/work.ipynb {at['capitals']}/Work.IPYNB",
    ]
    course.run("\n".join(spoiled))
    told = course.run("notebook-assignments grade graded task", timeout=600)
    said = dict(line.split(": ", 1) for line in told.splitlines() if "graded" not in line[-8:])
    results = course.run(f"cd {COURSE}/results/task; tail -n +1 */work.ipynb | grep -v '^$'")
    cells = {}
    for part in results.split("==> ")[1:]:
        path, _, text = part.partition(" <==\n")
        cells[path.partition("/")[0]] = json.loads(text)["cells"]
    yield Graded(said, cells)
    course.run(RESTS)


def spoil(work: dict[str, str]) -> None:
    """Make of honest notebooks what is none."""
    work[PUPILS["text"]] = "once upon a time"
    work[PUPILS["list"]] = "[1, 2]"
    third = {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": []}]}
    work[PUPILS["third"]] = json.dumps(third)
    for name in ("twice", "kernelless", "other-kernel", *GRADES):
        mine = json.loads(work[PUPILS[name]])
        if name == "twice":
            mine["cells"].insert(0, mine["cells"][3])
        elif name in GRADES:
            about = mine["cells"][GRADES[name]]["metadata"].setdefault("nbgrader", {})
            about |= {"grade": True, "points": 99, "solution": False, "locked": False}
            about |= {"schema_version": 3} | ({"grade_id": "more"} if "own" in name else {})
        else:
            mine["metadata"] = {"kernelspec": {"name": "cobol"}} if name == "other-kernel" else {}
        work[PUPILS[name]] = json.dumps(mine)


def test_who_is_honest_gets_the_points_among_them_all(graded: Graded) -> None:
    assert graded.said["pupil"].startswith("3 of 3, handed in ")


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_gains_no_point_and_reads_no_test(graded: Graded, attack: str) -> None:
    pupil = PUPILS[attack]
    assert graded.said[pupil].startswith("0 of 3, handed in "), graded.said[pupil]
    own = [each for each in graded.cells[pupil] if MARK not in "".join(each["source"])]
    assert len(own) == 3
    assert "-no-student-" not in json.dumps([each.get("outputs") for each in own])
    shown = [out for each in graded.cells[pupil] for out in each.get("outputs", [])]
    printed = "".join("".join(out.get("text", "")) for out in shown)
    assert not [line for line in printed.splitlines() if "SEEN" in line and MARK in line]
    assert len(json.dumps(shown)) < 1 << 20


@pytest.mark.parametrize("name", ["hacker", "bitdiddle", "pupil41"])
def test_points_and_tests_are_not_the_students_to_change(graded: Graded, name: str) -> None:
    assert graded.said[name].startswith("0 of 3"), graded.said[name]
    if name == "hacker":
        assert MARK in json.dumps(graded.cells[name])


@pytest.mark.parametrize("bad", BAD)
def test_what_is_no_notebook_is_said_and_the_others_go_on(graded: Graded, bad: str) -> None:
    words, counts = BAD[bad]
    said = graded.said[PUPILS[bad]]
    assert words in said
    assert said.startswith("3 of 3" if counts else "0 of 3"), said
    assert "root:" not in json.dumps(graded.cells.get(PUPILS[bad], []))


def test_versions_are_kept_and_what_is_new_is_graded(course: Guest, graded: Graded) -> None:
    """A deadline that has passed, a second version, feedback of it, and the list of it all."""
    source, mine = f"{COURSE}/source/later", f"{COURSE}/hand-in/pupil/later"
    course.run(f"mkdir {source} {mine}; cp {COURSE}/source/task/* {source}")
    run = "notebook-assignments {} graded later"
    course.run(run.format("release") + " --due 2099-01-01T12:00")
    course.run(f"cp {COURSE}/hand-out/later/work.ipynb {mine}; touch -d 2000-01-01 {mine}/*")
    assert "pupil: graded" in course.run(run.format("grade"))
    assert "pupil: graded" not in course.run(run.format("grade"))
    course.run(run.format("release") + " --due 2020-03-01T12:00 --grace 10")
    course.run(f"cp {COURSE}/hand-in/pupil/task/work.ipynb {mine}")
    told = course.run(run.format("grade"))
    (line,) = [line for line in told.splitlines() if line.startswith("pupil: 3")]
    assert line.startswith("pupil: 3 of 3, handed in 20")
    assert line.endswith(", late, 2 versions"), line
    assert "2000-01-01" not in line
    assert course.run(run.format("feedback")) == "pupil: hand-in/feedback/later\n"
    page = f"{COURSE}/hand-in/pupil/feedback/later/work.html"
    owner, text = course.run(f"stat -c %u {page}"), course.run(f"cat {page}")
    assert owner == course.run(f"stat -c %u {COURSE}/hand-in/pupil")
    assert "Score: 3.0 / 3.0" in text
    assert not re.search(r"""(src=|href=|url\()["']?(https?:)?//""", text)
    assert "returned" in course.run(run.format("show"))
    book = course.run("notebook-assignments gradebook graded")
    assert course.run(f"cat {COURSE}/results/gradebook.csv") == book
    (row,) = [line for line in book.splitlines() if line.startswith("later,") and ",pupil," in line]
    assert row.startswith("later,2020-03-01T12:00:00+00:00,20")
    assert ",pupil,3.0,0,3.0,3.0,True,False," in row


def test_no_link_of_a_students_leads_feedback_elsewhere(course: Guest, graded: Graded) -> None:
    course.run("mkdir -p /root/trap")
    for name in ("leaves", "equals-everything"):
        course.run(f"ln -s /root/trap {COURSE}/hand-in/{PUPILS[name]}/feedback")
    told = course.run("notebook-assignments feedback graded task")
    assert "pupil: hand-in/feedback/task" in told
    assert PUPILS["leaves"] not in told
    assert course.run("ls -A /root/trap") == ""


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("release graded nothing", "source has no folder nothing; it has: "),
        ("release graded ../task", "'../task' is no name of an assignment"),
        ("release graded task --due yesterday", "'yesterday' is no time; write it as 2026-"),
        ("grade graded never", "never of graded was not released; released: "),
        ("grade graded task --student emmy", "emmy is no student of graded"),
        ("show physics task", "no course physics; there are: algebra, examined, graded"),
    ],
)
def test_what_cannot_be_done_is_said(course: Guest, graded: Graded, typed: str, words: str) -> None:
    assert words in course.run(f"! notebook-assignments {typed} 2>&1")


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        ("", "more.ipynb has the kernel '', which is not here: notebooks of python3"),
        ("ir", "more.ipynb has the kernel 'ir', which is not here: notebooks of python3 can be"),
        ("bash", "in whose language no test can be run apart from what it tests"),
        ("../bash", "more.ipynb has the kernel '../bash', which is not here"),
    ],
)
def test_what_cannot_be_graded_is_not_released(course: Guest, kernel: str, words: str) -> None:
    place = "/usr/local/share/jupyter/kernels/bash"
    bash = {"argv": ["/bin/bash", "{connection_file}"], "display_name": "Bash", "language": "bash"}
    course.run(f"mkdir -p {place} {COURSE}/source/foreign")
    write(course, f"{place}/kernel.json", json.dumps(bash))
    told = {"name": kernel, "display_name": kernel, "language": "bash"} if kernel else {}
    write(course, f"{COURSE}/source/foreign/more.ipynb", json.dumps(book([], told)))
    try:
        said = course.run("! notebook-assignments release graded foreign 2>&1")
    finally:
        course.run(f"rm -r {place}")
    assert words in said
    course.run(f"test ! -e {COURSE}/hand-out/foreign")


def test_a_notebook_whose_kernel_is_gone_is_said_and_the_others_count(course: Guest) -> None:
    """As of a Sage that is not in the appliance any more."""
    course.run(f"mkdir {COURSE}/source/gone")
    for name in ("work", "more"):
        write(course, f"{COURSE}/source/gone/{name}.ipynb", json.dumps(notebook(SOURCE)))
    course.run("notebook-assignments release graded gone")
    hand_in(course, COURSE, "pupil38", "gone", notebook(HONEST))
    here = f"{COURSE}/hand-in/pupil38/gone"
    course.run(f"cp {here}/work.ipynb {here}/more.ipynb")
    gone = book(notebook(SOURCE)["cells"], {"name": "sagemath", "language": "sage"})
    write(course, f"{COURSE}/source/gone/more.ipynb", json.dumps(gone))
    said = course.run("notebook-assignments grade graded gone")
    (line,) = [line for line in said.splitlines() if line.startswith("pupil38: 3")]
    assert line.startswith("pupil38: 3 of 6")
    assert line.endswith(
        "more: more.ipynb has the kernel 'sagemath', which is not here: "
        "notebooks of python3 can be graded"
    ), line


def versions(guest: Guest, name: str, student: str) -> list[str]:
    return guest.run(f"ls -d {COURSE}/grades/{name}/{student}.*/[0-9]*").split()


def start(guest: Guest, name: str, students: Sequence[str]) -> None:
    """Release a further assignment, of which some hand in honest work."""
    guest.run(f"cp -r {COURSE}/source/task {COURSE}/source/{name}")
    guest.run(f"notebook-assignments release graded {name}")
    for student in students:
        hand_in(guest, COURSE, student, name, notebook(HONEST))


def test_a_full_disk_loses_nothing_and_says_so(course: Guest, graded: Graded) -> None:
    start(course, "full", ["pupil30"])
    place = f"{COURSE}/grades/full"
    course.run("notebook-assignments collect graded full")
    hand_in(course, COURSE, "pupil30", "full", notebook(f"{HONEST}  # and again"))
    course.run(f"cp -a {place} /root/full; mount -t tmpfs -o size=128k tmpfs {place}")
    try:
        course.run(f"cp -a /root/full/. {place}; ! head -c 1M /dev/zero > {place}/fill")
        for verb in ("grade", "collect", "release"):
            said = course.run(f"! notebook-assignments {verb} graded full 2>&1")
            assert "No space left on device" in said, verb
        course.run(f"rm {place}/fill; mount -o remount,size=64M {place}")
        said = course.run("notebook-assignments grade graded full")
        assert "pupil30: 3 of 3" in said
        assert len(versions(course, "full", "pupil30")) == 2
    finally:
        course.run(f"umount {place}; rm -r /root/full")


def test_who_kills_it_loses_nothing_and_nothing_is_done_twice(
    course: Guest, graded: Graded
) -> None:
    """Release, collection, grading and return, each ended at many moments, then done again."""
    pupils = [f"pupil{number}" for number in range(30, 34)]
    start(course, "killed", pupils)
    command = "notebook-assignments {} graded killed"
    for verb, file in (
        ("release", f"{COURSE}/hand-out/killed/work.ipynb"),
        ("collect", f"{COURSE}/grades/killed/pupil*/0*/handed/work.ipynb"),
        ("grade", f"{COURSE}/results/killed/*/work.ipynb"),
    ):
        for tenths in (2, 4, 6, 8, 12, 20, 30):
            course.run(f"timeout -s KILL {tenths / 10} {command.format(verb)} >/dev/null 2>&1 || :")
            found = course.run(f"cat {file} 2>/dev/null | wc -c; cat {file} 2>/dev/null || :")
            size, _, text = found.partition("\n")
            # Each is there whole or not at all.
            assert int(size) == 0 or text.rstrip().endswith("}"), verb
    stamps = f"cd {COURSE}/grades/killed; stat -c '%n %Y' pupil*/0*/result.json 2>/dev/null || :"
    before = set(course.run(stamps).splitlines())
    said = course.run(command.format("grade"))
    assert [p for p in pupils if f"{p}: 3 of 3" in said] == pupils
    assert before <= set(course.run(stamps).splitlines())
    for pupil in pupils:
        assert len(versions(course, "killed", pupil)) == 1
    for tenths in (2, 4, 6, 8):
        ended = f"timeout -s KILL {tenths / 10} {command.format('feedback')} >/dev/null 2>&1 || :"
        course.run(ended)
    told = course.run(command.format("feedback")).splitlines()
    assert told == [f"{pupil}: hand-in/feedback/killed" for pupil in pupils]
    for pupil in pupils:
        page = course.run(f"cat {COURSE}/hand-in/{pupil}/feedback/killed/work.html")
        assert "Score: 3.0 / 3.0" in page
        assert page.rstrip().endswith("</html>")
    course.run(RESTS)


def test_who_has_another_name_by_now_begins_anew_and_nothing_is_lost(
    course: Guest, graded: Graded
) -> None:
    """And who takes the old name sees nothing of what was there."""
    start(course, "renamed", ["pupil34"])
    course.run("notebook-assignments grade graded renamed")
    settings = "/etc/notebook/guest.json"
    with course.keeping(settings):
        course.run(f'sed -i \'s/"pupil34"/"pupil34new"/\' {settings}')
        course.run("mv /home/students/pupil34 /home/students/pupil34new")
        make_places(course, "graded")
        assert "pupil34new: nothing handed in" in course.run(
            "notebook-assignments show graded renamed"
        )
        hand_in(course, COURSE, "pupil34new", "renamed", notebook(HONEST))
        assert "pupil34new: 3 of 3" in course.run("notebook-assignments grade graded renamed")
        assert len(versions(course, "renamed", "pupil34")) == 1
    make_places(course, "graded")
    said = course.run("notebook-assignments show graded renamed")
    assert "pupil34: nothing handed in" in said
    assert course.run(f"ls -A {COURSE}/hand-in/pupil34") == ""


# A test that would fail, were there anything of the one before, whose box it has.
LEAVES = """
import builtins, os, socket, subprocess, sys

assert not hasattr(builtins, "before")
with socket.socket(socket.AF_UNIX) as free:
    free.bind(chr(0) + "left")
builtins.before = True
os.makedirs("/tmp/further/deep")
open("left", "x").close()
os.symlink("/", "/tmp/further/link")
code = "import socket, time; s = socket.socket(socket.AF_UNIX); s.bind(chr(0) + 'left');"
code += " print(flush=True); time.sleep(1000)"
left = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
assert left.stdout.readline() == b"\\n"
assert double(2) == 4
"""


def test_what_tests_leave_meets_no_other_students(course: Guest, graded: Graded) -> None:
    """Their language is begun once for all, their process is each student's own."""
    source = notebook(SOURCE)
    source["cells"][3]["source"] = LEAVES
    course.run(f"mkdir {COURSE}/source/leaves")
    write(course, f"{COURSE}/source/leaves/work.ipynb", json.dumps(source))
    course.run("notebook-assignments release graded leaves")
    class_ = [f"pupil{number}" for number in range(30, 36)]
    for student in class_:
        hand_in(course, COURSE, student, "leaves", notebook(HONEST))
    course.run("notebook-assignments grade graded leaves")
    said = course.run("notebook-assignments show graded leaves").splitlines()
    whole = [line.partition(":")[0] for line in said if ": 3 of 3" in line]
    assert whole == class_


def test_two_teachers_at_once_grade_each_once(course: Guest, graded: Graded) -> None:
    start(course, "both", ["pupil30", "pupil31"])
    grade = "notebook-assignments grade graded both"
    said = course.run(
        f"{grade} > /root/first & {grade} > /root/second; wait; cat /root/first /root/second"
    )
    assert sorted(line for line in said.splitlines() if line.endswith(": graded")) == [
        "pupil30: graded",
        "pupil31: graded",
    ]
    assert len(versions(course, "both", "pupil30")) == 1


def test_nbgraders_own_example_gets_the_grades_that_nbgrader_gives(course: Guest) -> None:
    """nbgrader's run executes in no sandbox, by kernels of its own."""
    guide = "/opt/nbgrader/nbgrader/docs/source/user_guide"
    course.run(
        f"cp -r {guide}/source/ps1 {COURSE}/source/; cd {COURSE}/hand-in; "
        f"for each in bitdiddle hacker; do cp -r {guide}/submitted/$each/ps1 $each/; done"
    )
    course.run("notebook-assignments release graded ps1")
    course.run("notebook-assignments grade graded ps1", timeout=300)
    ours = {}
    for name in ("bitdiddle", "hacker"):
        found = course.run(f"cat {COURSE}/grades/ps1/{name}.*/0001/result.json")
        cells = [each["cells"] for each in json.loads(found)["notebooks"].values()]
        ours[name] = {cell: points for each in cells for cell, points in each.items()}
    listed = (
        "import json; from nbgrader.api import Gradebook; "
        "book = Gradebook('sqlite:///gradebook.db'); "
        "print(json.dumps({s.student.id: {g.name: [g.score, g.max_score] for n in s.notebooks "
        "for g in n.grades} for s in book.assignment_submissions('ps1')}))"
    )
    theirs = course.run(
        "mkdir -p /root/nbgrader/source && cd /root/nbgrader && export HOME=/root "
        "PATH=/opt/notebook/bin:$PATH PYTHONPATH=/opt/nbgrader PYTHONWARNINGS=ignore && "
        f"cp -r {guide}/source/ps1 source/ && cp -r {guide}/submitted . && "
        "echo \"get_config().CourseDirectory.course_id = 'x'\" > nbgrader_config.py && "
        "python -m nbgrader generate_assignment ps1 >log 2>&1 && "
        f'python -m nbgrader autograde ps1 >>log 2>&1 && python -c "{listed}"',
        timeout=300,
    )
    assert ours == json.loads(theirs)
    assert ours["hacker"]["correct_squares"] == [1, 1]
    assert ours["bitdiddle"]["correct_squares"] == [0, 1]


def test_what_understands_notebooks_is_begun_once(course: Guest, graded: Graded) -> None:
    """One process for all who grade; where it is gone, or of before a renewal, grading goes on."""
    grade = "notebook-assignments grade graded warm --again"
    process = "systemctl show -P MainPID notebook-workers"
    course.run("systemctl start notebook-workers.socket")
    start(course, "warm", ["pupil32"])

    def begun() -> str:
        assert "pupil32: 3 of 3" in course.run(grade)
        return course.run(process).strip()

    language = "pgrep -f '^/opt.*forkserver'"
    first = begun()
    assert first != "0"
    rests = course.run(language)
    assert begun() == first
    assert course.run(language) == rests
    course.run(f"kill -9 {first}")
    assert begun() not in ("0", first)
    now = course.run(process).strip()
    shown, other = "/opt/notebook", "/opt/notebook-renewed"
    course.run(f"cp -al {shown} {other} && mount --bind {other} {shown}")
    try:
        assert begun() not in ("0", now)
    finally:
        course.run(f"umount --lazy {shown}; rm -r {other}")
    course.run("systemctl stop notebook-workers.socket notebook-workers.service")
    assert begun() == "0"
    course.run("systemctl start notebook-workers.socket")


def test_only_root_has_workers_and_one_ends_with_who_asked(course: Guest) -> None:
    course.run("systemctl start notebook-workers.socket")
    ask = (
        "from provision.guest.assignments.workers import WorkerProcess; import time; "
        "worker = WorkerProcess(47123); print(bool(worker._life), flush=True); time.sleep({})"
    )
    run = "/opt/notebook/bin/python -I -c"
    assert course.run(f'{run} "{ask.format(0)}"') == "True\n"
    course.run("for n in $(seq 99); do pgrep -u 47123 || exit 0; sleep 0.1; done; exit 1")
    course.run(f'setsid {run} "{ask.format(100)}" > /root/said 2>&1 & echo $! > /root/asks')
    course.run("until pgrep -u 47123 && grep -q True /root/said; do sleep 0.1; done")
    course.run("kill -9 $(cat /root/asks)")
    course.run("for n in $(seq 99); do pgrep -u 47123 || exit 0; sleep 0.1; done; exit 1")
    student = f'setpriv --reuid 2001 --regid 2001 --clear-groups {run} "{ask.format(0)}"'
    assert "Operation not permitted" in course.run(f"! {student} 2>&1")
    wrong = "import socket; asks = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); "
    wrong += "asks.connect('/run/notebook-workers.socket'); asks.send(b'{}'); print(asks.recv(9))"
    process = "systemctl show -P MainPID notebook-workers"
    before = course.run(process)
    assert course.run(f'{run} "{wrong}"') == "b''\n"
    assert course.run(process) == before
    # One that rests leaves nothing when its time is over, or the service's is.
    course.run("systemctl stop notebook-workers.service")
    course.run(RESTS.replace("-le 2", "-eq 0"))
