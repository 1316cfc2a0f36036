"""A whole course as a school has it: ten students, a teacher, a learning platform, an exam.

Two students and the teacher come from the platform, in real browsers; the others by the same
requests. One of these forges points, one looks for the hidden tests.
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from browser import picture, window
from handed import book, cell, write
from pages import accessible
from platforms import COURSE, SECONDS, School, connected, reloaded, started
from playwright.sync_api import Browser, Page, expect
from student import Student

from tests.integration.lti_platform import LTI

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SECRET, ANSWER = "hidden-6021", "def double(n):\n    return n + n"
FORGES = """
import json, os, sys
for name in ("result.json", "version.json", "gradebook.db", "gradebook.csv", "work.ipynb"):
    for place in (".", "..", "/tmp", os.path.expanduser("~")):
        try: open(os.path.join(place, name), "w").write('{"score": 9, "max_score": 9}')
        except OSError: pass
for fd in range(3, 64):
    try: os.write(fd, b'{"value": 8, "after": []}\\n{"done": []}\\n')
    except OSError: pass
class Eight(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
def double(n):
    return Eight(0)
print("Score: 9 / 9")
"""
READS = f"""
import glob, os
word, seen = "{SECRET[:6]}" + "{SECRET[6:]}", []
for place in ("/proc/*/environ", "/proc/*/cmdline", "/proc/*/root/*", "/tmp/**", "/dev/shm/**",
              "/run/**", "/opt/nbgrader/*", os.path.expanduser("~/*"), "../*", "**"):
    for path in glob.glob(place, recursive=True):
        try:
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    if word.encode() in file.read(1 << 20): seen.append(path)
        except (OSError, ValueError): pass
print("found", seen)
def double(n):
    return 2 * n if seen else 0
"""
WORK = {
    **{name: ANSWER for name in ("anna", "bert", "cleo", "dora")},
    **{"egon": "def double(n):\n    return n", "fred": "def double(n)", "forger": FORGES},
    "reader": READS,
}
# In a page of JupyterLab: what it does when something is saved.
SAVE = """async ([path, model]) => {
  const about = JSON.parse(document.getElementById('jupyter-config-data').textContent);
  const marks = [...document.cookie.matchAll(/_xsrf=([^;]*)/g)].map(each => each[1]);
  for (const mark of [...marks, '']) {
    const answer = await fetch(about.baseUrl + 'api/contents/' + path, {
      method: 'PUT', body: JSON.stringify(model),
      headers: {'Content-Type': 'application/json', 'X-XSRFToken': decodeURIComponent(mark)},
    });
    if (answer.ok) return answer.status;
  }
  return 0;
}"""


def primes() -> dict[str, Any]:
    hidden = f"### BEGIN HIDDEN TESTS\nassert double(21) == 42  # {SECRET}\n### END HIDDEN TESTS"
    solution = "def double(n):\n    ### BEGIN SOLUTION\n    return 2 * n\n    ### END SOLUTION"
    return book(
        [
            cell(solution, grade_id="double", solution=True, locked=False),
            cell("assert double(4) == 8", grade_id="test", grade=True, points=2, locked=True),
            cell(hidden, grade_id="hidden", grade=True, points=3, locked=True),
            cell("# why?", grade_id="why", grade=True, solution=True, locked=False, points=4),
        ]
    )


@dataclass
class Class:
    """The course and who is in it.

    Args:
        school: guest and platform.
        teacher, carl, late: browsers of the platform's people.
    """

    school: School
    teacher: Page
    carl: Page
    late: Page

    @property
    def url(self) -> str:
        """The hub's."""
        return self.school.guest.url

    def student(self, name: str) -> Student:
        """One who has signed in by name and password."""
        return Student(self.url, name).sign_in()


@pytest.fixture(scope="module")
def course(
    layers: Any, tmp_path_factory: pytest.TempPathFactory, browser: Browser
) -> Iterator[Class]:
    with connected(layers, tmp_path_factory.mktemp("course"), [*WORK], 4) as school:
        lines = "".join(f"{name},correct horse\n" for name in WORK)
        school.guest.run(f"notebook-accounts import - <<'END'\n{lines}END")
        pages = {sub: window(browser) for sub in ("7", "9", "10")}
        for sub, page in pages.items():
            school.opened(page, sub, **{f"{LTI}/custom": {"open": "course"}})
            page.wait_for_url(f"{school.guest.url}/hub/assignments")
        yield Class(school, *pages.values())
        for page in pages.values():
            page.context.close()


def press(student: Student, verb: str, assignment: str = "primes") -> str:
    """Press a button of the page of assignments; the page that follows."""
    token, student.token = student.token, ""
    student.request("GET", "/hub/assignments")
    xsrf = next(c.value for c in student.cookies if c.name == "_xsrf" and "hub" in c.path)
    form = {"verb": verb, "course": "algebra", "assignment": assignment, "_xsrf": xsrf}
    page = student.request("POST", "/hub/assignments", form, form=True)
    student.token = token
    return page


def answered(page: Page, path: str, text: str) -> None:
    """Open a notebook in the browser, and type into its first cell."""
    base = page.url.partition("/lab")[0]
    page.goto(f"{base}/lab/tree/{path}?reset")
    typed(page, text)


def typed(page: Page, text: str) -> None:
    """Type into the first cell of the notebook that is open, in the place of what is there."""
    page.locator(".jp-Notebook:visible .jp-Cell .cm-content").first.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)


def saved(course: Class, path: str, text: str) -> bool:
    """Whether what was typed is in a file's first cell."""
    found = course.school.guest.run(f"cat {path} 2> /dev/null || true")
    return bool(found) and "".join(json.loads(found)["cells"][0]["source"]) == text


def looked(page: Page, course: Class, assignment: str, student: str = "") -> None:
    """The teacher's page of an assignment, or of one student's."""
    more = f"&student={student}" if student else ""
    page.goto(f"{course.url}/hub/assignments?course=algebra&assignment={assignment}{more}")


def done(page: Page, course: Class, assignment: str, verb: str) -> None:
    """Press a button of an assignment's page, and wait until it is done."""
    looked(page, course, assignment)
    with page.expect_navigation():
        page.get_by_role("button", name=f"{verb}: {assignment}").click()
    reloaded(page, lambda: page.locator("main:not(:has-text('is at work'))"))


def hand_out(course: Class) -> None:
    """The teacher writes a notebook into the source folder, and hands it out on the page."""
    teacher, school = course.teacher, course.school
    names = "grep -os 'lti-[a-z2-7]*' /home/students/.courses/rolls.json | sort -u | wc -l"
    school.until(lambda: school.guest.run(names).strip() == "3")
    started(teacher)
    place = "courses/algebra/source/primes"
    for path, model in (
        (place, {"type": "directory"}),
        (f"{place}/work.ipynb", {"type": "notebook", "content": primes()}),
    ):
        assert teacher.evaluate(SAVE, [path, model]) in (200, 201), path
    teacher.goto(f"{course.url}/hub/assignments")
    form = teacher.locator("[data-teach=algebra]")
    form.get_by_label("Hand out", exact=True).select_option("primes")
    form.get_by_role("button", name="Hand out").click()
    reloaded(teacher, lambda: teacher.get_by_text("1 files are handed out"))
    school.guest.run("notebook-sessions end")


def work_by_requests(course: Class, name: str, text: str) -> None:
    """Begin, write and hand in; the forger gives every cell points, and a test nothing to say."""
    student = course.student(name).start()
    press(student, "begin")
    path = "contents/courses/algebra/hand-in/primes/work.ipynb"
    work = student.server("GET", path)["content"]
    assert SECRET not in json.dumps(work)
    assert "return 2 * n" not in json.dumps(work)
    work["cells"][0]["source"] = text
    work["cells"][3]["source"] = "# because"  # what stays as it was needs nobody's hand
    if name == "forger":
        for each in work["cells"][1:]:  # of the first nbgrader would know that it gives none
            each["metadata"]["nbgrader"] |= {"points": 99}
        work["cells"][1]["source"] = "pass"
    student.server("PUT", path, {"type": "notebook", "content": work})
    assert "version 1 of" in press(student, "hand-in")
    student.stop()


def work_by_hand(course: Class, page: Page, name: str) -> None:
    """The same by a browser's buttons and keys."""
    started(page)
    lab = page.url
    page.goto(f"{course.url}/hub/assignments")
    page.get_by_role("button", name="Begin: primes").click()
    page.get_by_role("button", name="Hand in: primes").wait_for()
    page.goto(lab)
    answered(page, "courses/algebra/hand-in/primes/work.ipynb", ANSWER)
    page.keyboard.press("Control+s")
    file = f"{COURSE}/hand-in/{name}/primes/work.ipynb"
    course.school.until(lambda: saved(course, file, ANSWER))
    page.goto(f"{course.url}/hub/assignments")
    page.get_by_role("button", name="Hand in: primes").click()
    row = page.locator("tr[data-assignment=primes]")
    expect(row).to_contain_text("version 1 of", timeout=SECONDS)
    course.school.guest.run("notebook-sessions end")


def test_from_hand_out_to_grade(course: Class) -> None:
    guest, teacher, school = course.school.guest, course.teacher, course.school
    hand_out(course)
    for name, text in WORK.items():
        work_by_requests(course, name, text)
    for page, sub in ((course.carl, "9"), (course.late, "10")):
        work_by_hand(course, page, school.name(sub))

    done(teacher, course, "primes", "Collect and grade")
    points = {**dict.fromkeys(WORK, 0.0), **dict.fromkeys(("anna", "bert", "cleo", "dora"), 5.0)}
    points |= {school.name("9"): 5.0, school.name("10"): 5.0}
    for name, each in points.items():
        row = teacher.locator(f"tr[data-student='{name}']")
        expect(row).to_contain_text(f"{each} of 9.0{', some by hand' * (name in WORK)}")
    picture(teacher, "course-graded")
    graded = json.loads(guest.run(f"cat {COURSE}/results/primes/reader/work.ipynb"))
    assert graded["cells"][0]["outputs"][0]["text"] == ["found []\n"]

    for name, given in (("anna", "3.5"), (school.name("9"), "4"), ("forger", "0")):
        looked(teacher, course, "primes", name)
        teacher.get_by_label("Points by hand for why").fill(given)
        teacher.get_by_label("Comment on why").fill("Seen")
        teacher.get_by_role("button", name="Keep points and comments").click()
        expect(teacher.locator("#sum")).not_to_contain_text("by hand", timeout=SECONDS)
        points[name] += float(given)
    done(teacher, course, "primes", "Return feedback")
    expect(teacher.locator("tr[data-student=anna]")).to_contain_text("feedback returned")
    text = guest.run(f"cat {COURSE}/hand-in/anna/feedback/primes/work.html")
    assert "Score: 8.5 / 9.0" in text
    assert "Seen" in text

    got = teacher.request.get(f"{course.url}/hub/assignments/gradebook?course=algebra").text()
    table = {row["student_id"]: row for row in csv.DictReader(io.StringIO(got))}
    assert {name: float(row["score"]) for name, row in table.items()} == points
    # Those of the platform's people, and nobody else's, are in its gradebook.
    scores = school.moodle.scores
    school.until(lambda: len(scores) > 1, 180)
    assert {s["userId"]: s["scoreGiven"] for _, s in scores} == {"9": 9, "10": 5}


def exam_times(course: Class) -> list[str]:
    """The next full minute but for a few seconds, and four later, as a browser's field has them."""
    first = 1 if int(course.school.guest.run("date +%S")) < 45 else 2
    asked = (f"date -d '+{first + more} minutes' +%FT%H:%M" for more in (0, 4))
    return [course.school.guest.run(each).strip() for each in asked]


def paused(course: Class, student: str) -> None:
    """A pause for one, who presses what there is to press, and goes on as soon as it is over."""
    teacher, page, guest = course.teacher, course.carl, course.school.guest
    looked(teacher, course, "test")
    row = teacher.locator(f"tr[data-student='{student}']")  # whose buttons have the person's name
    row.get_by_role("button", name="Pause").click()
    course.school.until(lambda: student not in guest.run("notebook-sessions"))
    page.wait_for_timeout(8000)
    picture(page, "exam-paused-lab")
    page.goto(f"{course.url}/hub/spawn")
    told = "The exam test has been paused for you since "
    expect(page.locator("#exam-paused")).to_contain_text(told)
    expect(page.locator("main")).to_contain_text(told)
    accessible(page)
    picture(page, "exam-paused")
    looked(teacher, course, "test")
    row.get_by_role("button", name="Go on").click()
    goes_on = page.locator(".announcement", has_text="The exam test goes on, for you until ")
    expect(goes_on).to_be_visible(timeout=SECONDS)  # by itself
    started(page)


def test_an_exam_on_top_of_it(course: Class) -> None:
    """It begins in the browser and is handed in by itself, though the hub is killed meanwhile."""
    guest, teacher, page, school = (course.school.guest, course.teacher, course.carl, course.school)
    sheet = book(
        [cell("# answer", grade_id="a", grade=True, points=1, solution=True, locked=False)]
    )
    guest.run(f"mkdir -p {COURSE}/source/test")
    write(guest, f"{COURSE}/source/test/work.ipynb", json.dumps(sheet))
    started(page)
    base = page.url.partition("/lab")[0]
    # Whatever the page asks while the hub is gone is put aside.
    dialog = page.locator(".jp-Dialog")
    page.add_locator_handler(dialog, dialog.locator("button").last.click)
    begin, due = exam_times(course)
    teacher.goto(f"{course.url}/hub/assignments")
    form = teacher.locator("[data-teach=algebra]")
    form.get_by_label("Hand out", exact=True).select_option("test")
    form.get_by_label("exam, from").fill(begin)
    form.get_by_label("until").fill(due)
    form.get_by_role("button", name="Hand out").click()
    reloaded(teacher, lambda: teacher.get_by_text("1 files will be"))

    student = school.name("9")
    school.until(lambda: student not in guest.run("notebook-sessions"), 180)  # its time has come
    page.goto(f"{course.url}/hub/home")
    expect(page.locator(".announcement")).to_contain_text("The exam test goes on, for you until ")
    accessible(page)
    started(page)
    assert page.url.startswith(base), "the same address as before"
    place = f"{COURSE}/exam/test/{student}.*/work.ipynb"
    answered(page, "work.ipynb", "first = 1")
    school.until(lambda: saved(course, place, "first = 1"), 60)  # nobody pressed anything
    paused(course, student)
    page.wait_for_selector(".jp-Launcher, .jp-Notebook", timeout=SECONDS)
    answered(page, "work.ipynb", "again = 1")
    school.until(lambda: saved(course, place, "again = 1"), 60)
    guest.run("systemctl kill --kill-whom=main -s KILL notebook")
    typed(page, "second = 2")
    school.until(lambda: saved(course, place, "second = 2"), 60)
    picture(page, "course-exam")
    guest.wait()
    assert student in guest.run("notebook-sessions"), "the session has outlived the hub"

    school.until(lambda: student not in guest.run("notebook-sessions"), 400)
    looked(teacher, course, "test")
    row = teacher.locator(f"tr[data-student='{student}']")
    reloaded(teacher, lambda: row.locator("td", has_text=":"))
    (handed,) = guest.run(f"ls {COURSE}/grades/test/{student}.*/*/handed/work.ipynb").split()
    assert saved(course, handed, "second = 2")
    teacher.get_by_role("button", name="Check the hashes").click()
    expect(teacher.locator("main")).to_contain_text("test: all is as it was handed in")
    # The own files are back, and the page says nothing of an exam any more.
    page.goto(f"{course.url}/hub/home")
    expect(page.locator(".announcement")).to_have_count(0)
    started(page)
    page.goto(f"{base}/lab/tree/courses/algebra/hand-in/primes/work.ipynb")
    page.wait_for_selector(".jp-Notebook .jp-Cell .cm-content", timeout=SECONDS)
