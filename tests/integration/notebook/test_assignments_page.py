"""The page of assignments, for teachers and students, in a real browser."""

import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from guest import Guest
from handed import book, cell, make_places, write
from pages import accessible, sign_in
from playwright.sync_api import Browser, Page, expect

COURSE = "/home/students/.courses/graded"
NAME = '1 <b>&"sheet"'  # a teacher's folder may be called so
HOSTILE = "<img src=x onerror=document.title='owned'>"
# What a student's notebook shows, and what none of it may do in a teacher's browser.
OUTPUT = f"""
def double(n):
    return 2 * n

from IPython.display import HTML, Javascript, display
display(HTML("<script>document.title='owned'</script>{HOSTILE}"))
display(Javascript("document.title='owned'"))
print("<script>document.title='owned'</script>")
"""
SECONDS = 120_000  # a busy machine grades slowly


def source() -> dict[str, Any]:
    return book(
        [
            cell("def double(n): ...", grade_id="double", solution=True, locked=False),
            cell("assert double(4) == 8", grade_id="test", grade=True, points=3, locked=True),
            cell(
                "# why?",
                **{"grade_id": "why", "grade": True, "solution": True, "locked": False},
                points=2,
            ),
        ]
    )


def send(page: Page, **form: str) -> int:
    """Send the form of a page of the hub's, with its own token; the status."""
    fetch = (
        "async form => (await fetch('/hub/assignments', {method: 'POST', "
        "body: new URLSearchParams({_xsrf: window.jhdata.xsrf_token, ...form})})).status"
    )
    return int(page.evaluate(fetch, form))


@pytest.fixture(scope="module")
def course(guest: Guest) -> Guest:
    make_places(guest, "graded")
    guest.run("systemctl start notebook-assignments.socket")
    place = shlex.quote(f"{COURSE}/source/{NAME}")
    guest.run(f"mkdir -p {place}; echo 1,2 > {place}/data.csv")
    write(guest, f"{COURSE}/source/{NAME}/work.ipynb", json.dumps(source()))
    return guest


@pytest.fixture(scope="module")
def pages(course: Guest, browser: Browser) -> Iterator[dict[str, Page]]:
    """Browsers of a teacher, a student, and a teacher of another course."""
    contexts = {name: browser.new_context() for name in ("marker", "pupil37", "noether")}
    found = {}
    for name, context in contexts.items():
        found[name] = context.new_page()
        found[name].set_default_timeout(60_000)
        sign_in(found[name], course.url, name, "correct horse")
    yield found
    for context in contexts.values():
        context.close()


@pytest.fixture(scope="module")
def handed(course: Guest, pages: dict[str, Page]) -> Guest:
    """Released by a teacher, begun and handed in late by a student, with buttons."""
    teacher, student = pages["marker"], pages["pupil37"]
    teacher.goto(f"{course.url}/hub/assignments")
    form = teacher.locator("[data-teach=graded]")
    form.get_by_label("Hand out", exact=True).select_option(NAME)
    form.get_by_label("until").fill("2020-01-01T12:00")
    form.get_by_label("minutes of grace").fill("10")
    form.get_by_role("button", name="Hand out").click()
    for _ in range(60):
        teacher.goto(f"{course.url}/hub/assignments")
        if teacher.get_by_text(f"{NAME}: 2 files are handed out").count():
            break
        teacher.wait_for_timeout(1000)
    accessible(teacher)

    student.goto(f"{course.url}/hub/assignments")
    student.get_by_role("button", name=f"Begin: {NAME}").click()
    student.get_by_role("button", name=f"Hand in: {NAME}").wait_for()
    place = f"{COURSE}/hand-in/pupil37/{NAME}"
    work = json.loads(course.run(f"cat {shlex.quote(place + '/work.ipynb')}"))
    work["cells"][0]["source"], work["cells"][2]["source"] = OUTPUT, "# because"
    owner = course.run(f"stat -c %u {COURSE}/hand-in/pupil37").strip()
    write(course, f"{place}/work.ipynb", json.dumps(work))
    name = HOSTILE.replace("/", "")
    course.run(f"cd {shlex.quote(place)}; ln -s /etc/shadow {shlex.quote(f'={name}.ipynb')}")
    assert course.run(f"stat -c %u {shlex.quote(place)}").strip() == owner
    student.get_by_role("button", name=f"Hand in: {NAME}").click()
    row = student.locator("[data-learn=graded] tr", has_text=NAME)
    expect(row).to_contain_text("version 1 of 20", timeout=SECONDS)
    expect(row).to_contain_text("late", timeout=SECONDS)
    accessible(student)
    return course


def opened(page: Page, course: Guest, student: str = "") -> None:
    """Go to an assignment, or to one student's work, as one does by links."""
    page.goto(f"{course.url}/hub/assignments")
    page.get_by_role("link", name=NAME).click()
    page.get_by_role("heading", level=1, name=NAME).wait_for()
    if student:
        page.get_by_role("link", name=student).click()
        page.get_by_role("heading", level=1, name=f"{student}: {NAME}").wait_for()


def wait_for(page: Page, locator: str, text: str) -> None:
    """Look again until it is there."""
    for _ in range(120):
        if text in page.locator(locator).inner_text():
            return
        page.wait_for_timeout(1000)
        page.reload()
    raise AssertionError(f"{text} is not in {page.locator(locator).inner_text()}")


def until_done(page: Page) -> None:
    """Look again until nothing that was begun is at work."""
    for _ in range(120):
        if not page.get_by_text("is at work").count():
            return
        page.wait_for_timeout(1000)
        page.reload()
    raise AssertionError(page.locator("main").inner_text())


def test_a_teacher_grades_corrects_and_returns(handed: Guest, pages: dict[str, Page]) -> None:
    teacher, student = pages["marker"], pages["pupil37"]
    opened(teacher, handed)
    teacher.get_by_role("button", name=f"Collect and grade: {NAME}").click()
    row = "tr[data-student=pupil37]"
    wait_for(teacher, row, "3.0 of 5.0, some by hand")
    until_done(teacher)
    told = teacher.locator(row).inner_text()
    assert "late" in told
    assert "it is a link" in told
    assert "no" in teacher.locator("tr[data-student=pupil36]").inner_text()
    accessible(teacher)
    # What a student wrote is text, wherever it is shown.
    assert teacher.locator("img[src=x]").count() == 0
    assert "owned" not in teacher.title()

    opened(teacher, handed, "pupil37")
    teacher.get_by_role("link", name="work with its output").click()
    expect(teacher.get_by_text("Score: 3.0 / 5.0").first).to_be_visible(timeout=SECONDS)
    teacher.wait_for_timeout(500)
    assert teacher.title() != "owned"
    shown = teacher.request.get(teacher.url)
    assert shown.headers["content-security-policy"].startswith("sandbox; default-src 'none'")

    opened(teacher, handed, "pupil37")
    points = teacher.get_by_label("Points by hand for why")
    points.evaluate("each => each.removeAttribute('max')")
    points.fill("9")
    teacher.get_by_role("button", name="Keep points and comments").click()
    refused = teacher.get_by_role("heading", name="why: 9 points; it has 0 to 2")
    expect(refused).to_be_visible(timeout=SECONDS)
    opened(teacher, handed, "pupil37")
    teacher.get_by_label("Points by hand for why").fill("1.5")
    teacher.get_by_label("Comment on why").fill("Nearly there")
    teacher.get_by_role("button", name="Keep points and comments").click()
    expect(teacher.locator("#sum")).to_contain_text("4.5 of 5.0 points", timeout=SECONDS)
    assert "by hand" not in teacher.locator("#sum").inner_text()
    accessible(teacher)
    teacher.get_by_role("button", name="Grade again: pupil37").click()
    opened(teacher, handed)
    until_done(teacher)
    expect(teacher.locator(row)).to_contain_text("4.5 of 5.0")
    teacher.get_by_role("button", name="Return: pupil37").click()
    wait_for(teacher, row, "feedback returned")
    student.goto(f"{handed.url}/hub/assignments")
    mine = student.locator("[data-learn=graded] tr", has_text=NAME)
    expect(mine).to_contain_text(f"feedback is in hand-in/feedback/{NAME}", timeout=SECONDS)
    page = f"{COURSE}/hand-in/pupil37/feedback/{NAME}/work.html"
    text = handed.run(f"cat {shlex.quote(page)}")
    assert "Score: 4.5 / 5.0" in text
    assert "Nearly there" in text

    csv = teacher.request.get(f"{handed.url}/hub/assignments/gradebook?course=graded").text()
    (line,) = [line for line in csv.splitlines() if ",pupil37,4.5,0,4.5,5.0,True,False," in line]
    assert ",'=" in line.replace('"', ""), "a name that a program of tables takes for a formula"


def test_hand_ins_that_are_alike_are_shown_side_by_side(
    handed: Guest, pages: dict[str, Page]
) -> None:
    """One has copied another's and renamed all; what they wrote stays text in the browser."""
    code = """
    def double(number):
        parts = [number for _ in range(2)]
        if len(parts) != 2 or number is None:
            raise ValueError("never <script>document.title='owned'</script>")
        return sum(parts, start=0)  # honest
    """
    renamed = code.replace("number", "x").replace("parts", "ys").replace("honest", "mine")
    other = """
    def double(n):
        result = 0
        while n > result / 2:
            result += 1
        return {True: result, False: 2 * n}[result == 2 * n]
    """
    for student, text in {"pupil30": code, "pupil31": renamed, "pupil32": other}.items():
        work = source()
        work["cells"][0]["source"] = text
        place = f"{COURSE}/hand-in/{student}/{NAME}"
        handed.run(f"mkdir -p {shlex.quote(place)}")
        write(handed, f"{place}/work.ipynb", json.dumps(work))
    handed.run(f"notebook-assignments collect graded {shlex.quote(NAME)}")
    told = handed.run(f"notebook-assignments similar graded {shlex.quote(NAME)}")
    assert told == "pupil30 and pupil31: 100%\n"
    teacher = pages["marker"]
    opened(teacher, handed)
    teacher.get_by_role("link", name="Hand-ins that are alike").click()
    teacher.get_by_role("heading", level=1, name="hand-ins that are alike").wait_for()
    accessible(teacher)
    teacher.get_by_role("link", name="pupil30 and pupil31").click()
    teacher.get_by_role("heading", level=2, name="work").wait_for()
    accessible(teacher)
    assert teacher.locator("tr", has_text="raise ValueError").locator("td").nth(2).text_content()
    assert "owned" not in teacher.title()


def test_whoever_does_not_teach_the_course_finds_nothing(
    handed: Guest, pages: dict[str, Page]
) -> None:
    place = f"{handed.url}/hub/assignments"
    asked = {"course": "graded", "assignment": NAME}
    for name in ("pupil37", "noether"):
        page = pages[name]
        page.goto(place)
        accessible(page)
        assert page.locator("[data-teach=graded]").count() == 0
        one = {**asked, "student": "pupil37"}
        for path, query in (
            ("", asked),
            ("", one),
            ("/gradebook", {"course": "graded"}),
            ("/gradebook", {"course": "never"}),
            ("/result", {**one, "notebook": "work"}),
            ("/similar", asked),
            ("/similar", {**asked, "one": "pupil37", "other": "pupil30"}),
        ):
            assert page.request.get(f"{place}{path}", params=query).status == 404, (name, path)
        for verb in ("release", "collect", "grade", "again", "mark", "feedback"):
            assert send(page, verb=verb, **one) == 404, (name, verb)
        assert send(page, verb="overview", **asked) == 400
        assert send(page, verb="gradebook", **asked) == 400
    # Nobody hands in, or begins, for another: the name is of who has signed in.
    assert send(pages["noether"], verb="hand-in", **asked, student="pupil37") == 404
    assert send(pages["marker"], verb="hand-in", **asked, student="pupil37") == 404
    assert send(pages["pupil37"], verb="begin", **asked, student="pupil36") == 400
    handed.run(f"test ! -e {COURSE}/hand-in/pupil36/{shlex.quote(NAME)}")


def test_a_form_without_the_pages_token_does_nothing(handed: Guest, pages: dict[str, Page]) -> None:
    form = {"verb": "again", "course": "graded", "assignment": NAME}
    assert send(pages["marker"], **form, _xsrf="") == 403
    answer = pages["marker"].request.post(f"{handed.url}/hub/assignments", form=form)
    assert answer.status == 403


def test_only_the_hub_may_ask_roots_service(handed: Guest) -> None:
    ask = "import socket; socket.socket(socket.AF_UNIX).connect('/run/notebook/assignments.socket')"
    assert "PermissionError" in handed.run(f'! runuser -u nb1 -- python3 -c "{ask}" 2>&1')
