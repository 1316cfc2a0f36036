"""A teacher sees, tells and stops the students of the own course; administrators all of them."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from guest import Guest
from pages import accessible, sign_in
from playwright.sync_api import Page, expect
from student import RefusedError, Student, await_

RECORD = "/etc/notebook/guest.json"
MESSAGES, AUDIT = "/var/lib/notebook/messages.json", "/var/lib/notebook/audit.jsonl"
SESSIONS = "notebook-sessions"
WAITING = ("agnesi", "bolyai")


@pytest.fixture(scope="module")
def lesson(guest: Guest) -> Iterator[Guest]:
    """Two of one course have a session, and one of another."""
    guest.run("systemctl start notebook-assignments.socket")
    names = ("emmy", "carl", "pupil37")
    students = [Student(guest.url, name).sign_in().start() for name in names]
    for name in ("noether", "marker"):
        Student(guest.url, name).sign_in()
    await_(lambda: all(name in sampled(guest) for name in names))
    yield guest
    for student in students:
        student.stop()
    guest.run(f"for n in {' '.join(WAITING)}; do notebook-accounts remove $n; done; true")
    guest.run(f"cd /home/students && rm -rf {' '.join(WAITING)}; rm -f {MESSAGES}")


def sampled(guest: Guest) -> str:
    return guest.run("cat /run/notebook-usage/now.json")


def get(who: Student, course: str) -> str:
    return who.request("GET", f"/hub/course?{urllib.parse.urlencode({'course': course})}")


def act(who: Student, action: str, course: str, *names: str, **more: str) -> str:
    """Press a button of a course's page."""
    form = [("course", course), ("action", action), *more.items()]
    return who.request("POST", "/hub/course", [*form, *(("student", n) for n in names)], form=True)


def press(who: Student, *names: str, **form: str) -> str:
    """Press a button of the classroom's page."""
    told = [*form.items(), *(("student", name) for name in names)]
    return who.request("POST", "/hub/classroom/do", told, form=True)


def state(guest: Guest) -> tuple[str, ...]:
    """All that an action leaves behind."""
    names = sorted(name for name in ("emmy", "carl", "pupil37") if name in guest.run(SESSIONS))
    return (*names, guest.run(f"cat {MESSAGES} {AUDIT} 2>/dev/null; true"))


def refused(what: Callable[..., object], *words: Any, **more: Any) -> int:
    """Do what is to be refused; the status."""
    with pytest.raises(RefusedError) as error:
        what(*words, **more)
    return error.value.status


def test_a_teacher_sees_the_own_students_and_nobody_else(lesson: Guest) -> None:
    noether, marker = (Student(lesson.url, name).sign_in() for name in ("noether", "marker"))
    page = get(noether, "algebra")
    for name in ("emmy", "carl", "cheat"):
        assert f'data-student="{name}"' in page
    assert page.index('data-student="emmy"') < page.index('data-student="cheat"'), "active first"
    for secret in ("pupil37", "marker", "sageadm", "nb1", "classroom/do"):
        assert secret not in page
    page = get(marker, "graded")
    assert 'data-student="pupil37"' in page
    assert "emmy" not in page


def test_nobody_else_gets_anything(lesson: Guest) -> None:
    signed = {name: Student(lesson.url, name).sign_in() for name in ("noether", "marker", "emmy")}
    noether, marker, emmy = signed.values()
    before = state(lesson)
    odd = ("", ".", "..", "../algebra", "algebra/", "Algebra", "algebra ' OR 1", "<b>", "ä" * 99)
    for who, course in (
        *((emmy, "algebra"), (marker, "algebra"), (noether, "graded"), (noether, "never")),
        *((noether, f"alge{each}bra") for each in ("\x01", "\n", "%00", "/../")),
        *((noether, each) for each in odd),
    ):
        assert refused(get, who, course) == 404, (who.name, course)
        for action in ("stop", "message"):
            told = refused(act, who, action, course, "emmy", text="boo")
            assert told == 404, (who.name, course, action)
    # One who is not of the course, among those who are: nothing is done to anybody.
    for names in (
        *(("emmy", "pupil37"), ("pupil37",), ("noether",), ("sageadm",), ("nobody",)),
        *(("Emmy",), ("emmy/../pupil37",), ("em\x00my",), ("emmy", "<b>")),
    ):
        for action in ("stop", "message"):
            told = refused(act, noether, action, "algebra", *names, text="boo")
            assert told in (400, 404), names
    # What is the administrator's alone.
    for action in ("approve", "lock", "password", "open", "delete", "limits", "", "__class__"):
        assert refused(act, noether, action, "algebra", "emmy") == 400, action
    assert refused(press, noether, "emmy", action="stop") == 403
    assert refused(act, noether, "stop", "algebra") == 400, "nobody is chosen"
    assert state(lesson) == before


def test_a_request_that_was_not_meant_does_nothing(lesson: Guest) -> None:
    noether = Student(lesson.url, "noether").sign_in()
    get(noether, "algebra")
    before = state(lesson)
    (xsrf,) = {c.value for c in noether.cookies if c.name == "_xsrf" and c.path == "/hub/"}

    def send(token: str, *, cookies: bool = True, **headers: str) -> int:
        form = {"course": "algebra", "action": "stop", "student": "emmy", "_xsrf": token}
        body = urllib.parse.urlencode(form).encode()
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"{lesson.url}/hub/course", body, told)
        opener = noether.opener if cookies else urllib.request.build_opener()
        try:
            with opener.open(request, timeout=60) as answer:
                return int(answer.status) if "login" not in answer.url else 403
        except urllib.error.HTTPError as error:
            return error.code

    assert send("") == 403
    assert send("guess") == 403
    assert send(str(xsrf)[::-1]) == 403
    assert send(str(xsrf), cookies=False) == 403
    assert send(str(xsrf), Origin="https://elsewhere.test") == 403
    assert send(str(xsrf), Sec_Fetch_Site="same-site", Sec_Fetch_Mode="no-cors") == 403
    # A session's token opens no page: what runs in a teacher's notebook stops nobody.
    token = {"Authorization": f"token {noether.token}"}
    assert send("", cookies=False, **token) == 403
    assert state(lesson) == before


def test_who_has_left_the_course_is_out_of_reach(lesson: Guest) -> None:
    noether = Student(lesson.url, "noether").sign_in()
    assert "emmy" in get(noether, "algebra")
    leave = (
        f"import json; path = '{RECORD}'; told = json.load(open(path)); "
        "told['courses']['algebra']['members'].remove('emmy'); json.dump(told, open(path, 'w'))"
    )
    with lesson.keeping(RECORD):
        lesson.run(f'python3 -c "{leave}"')
        assert "emmy" not in get(noether, "algebra")
        before = state(lesson)
        assert refused(act, noether, "stop", "algebra", "emmy") == 404
        assert refused(act, noether, "message", "algebra", "carl", "emmy") == 404
        assert state(lesson) == before
    assert "emmy" in get(noether, "algebra")


def test_a_teacher_finds_tells_and_stops_several_at_once(lesson: Guest, page: Page) -> None:
    sign_in(page, lesson.url, "noether", "correct horse")
    page.goto(f"{lesson.url}/hub/assignments")
    page.get_by_role("link", name="Students of algebra").click()
    count, rows = page.locator("#count"), page.locator("#students > li")
    expect(rows).to_have_count(3)
    expect(count).to_have_text("2 sessions; 3 of 3 students shown, 0 chosen")
    assert count.get_attribute("aria-live") == "polite"
    accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    # By keyboard alone: found, chosen, told.
    page.get_by_label("Search").focus()
    page.keyboard.type("EM")
    expect(count).to_have_text("2 sessions; 1 of 3 students shown, 0 chosen")
    expect(page.get_by_label("carl")).to_be_hidden()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_label("All that are shown")).to_be_focused()
    page.keyboard.press("Space")
    expect(count).to_contain_text("1 chosen")
    page.get_by_label("Search").fill("")
    page.get_by_label("carl").focus()
    page.keyboard.press("Space")
    expect(count).to_have_text("2 sessions; 3 of 3 students shown, 2 chosen")
    page.get_by_label("Message to the chosen").focus()
    page.keyboard.type("Five minutes <b>left")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("the message is shown")
    told = json.loads(lesson.run(f"cat {MESSAGES}"))
    said = {name: each["text"] for name, each in told.items()}
    assert said == dict.fromkeys(("emmy", "carl"), "Five minutes <b>left")
    await_(lambda: lesson.run("cat /run/notebook-usage/*/usage.json").count("<b>left") == 2)

    lines = [json.loads(line) for line in lesson.run(f"tail -2 {AUDIT}").splitlines()]
    done = {(line["who"], line["action"], line["student"]) for line in lines}
    assert done == {("noether", "message", name) for name in ("emmy", "carl")}


def test_a_teacher_stops_several_and_sees_what_changes(lesson: Guest, page: Page) -> None:
    sign_in(page, lesson.url, "noether", "correct horse")
    page.goto(f"{lesson.url}/hub/course?course=algebra")
    count, rows = page.locator("#count"), page.locator("#students > li")
    # What is seen follows, and nothing that was typed is lost.
    page.get_by_label("emmy").check()
    page.get_by_label("carl").check()
    page.get_by_role("button", name="Stop the chosen sessions").click()
    expect(page.get_by_role("status")).to_contain_text("sessions were told to stop")
    await_(lambda: not {"emmy", "carl"} & set(lesson.run(SESSIONS).split()))
    assert "pupil37" in lesson.run(SESSIONS)
    page.get_by_label("Message to the chosen").fill("not sent yet")
    page.evaluate("document.activeElement.blur(); window.stays = true")
    expect(count).to_have_text("0 sessions; 3 of 3 students shown, 0 chosen")
    expect(rows.first).to_have_attribute("data-student", "carl")
    Student(lesson.url, "emmy").sign_in().start()
    expect(rows.first).to_have_attribute("data-student", "emmy")
    expect(count).to_have_text("1 sessions; 3 of 3 students shown, 0 chosen")
    assert page.evaluate("window.stays"), "it was not loaded anew"
    expect(page.get_by_label("Message to the chosen")).to_have_value("not sent yet")
    accessible(page)

    # Who does not want it to move says so; a hub that is gone is told.
    page.get_by_label("Keep this page up to date").uncheck()
    page.route("**/hub/course*", lambda route: route.abort())
    page.wait_for_timeout(7000)
    expect(count).to_contain_text("1 sessions")
    page.get_by_label("Keep this page up to date").check()
    expect(count).to_have_text("This page is not up to date: the notebook does not answer.")
    page.unroute_all(behavior="ignoreErrors")
    expect(count).to_contain_text("1 sessions")

    lines = [json.loads(line) for line in lesson.run(f"tail -2 {AUDIT}").splitlines()]
    done = {(line["who"], line["action"], line["student"]) for line in lines}
    assert done == {("noether", "stop", name) for name in ("emmy", "carl")}
    notice = lesson.run("cat /var/lib/notebook/notices/carl")
    assert "by noether" in notice


def test_an_administrator_approves_several_at_once(lesson: Guest, page: Page) -> None:
    lesson.run(f"cd /home/students; for n in {' '.join(WAITING)}; do mkdir $n; touch $n/kept; done")
    password = lesson.run("cat /var/lib/notebook/first-password").strip()
    sign_in(page, lesson.url, "sageadm", password)
    page.goto(f"{lesson.url}/hub/classroom")
    expect(page.locator("#students > li").first.locator(".session")).to_have_count(1)
    page.evaluate("window.stays = true")
    # A class is added meanwhile, by somebody else: it is seen without a look anew.
    lines = "".join(f"{name},correct horse\\n" for name in WAITING)
    lesson.run(f"printf '{lines}' | notebook-accounts import -")
    for name in WAITING:
        expect(page.locator(f".student[data-student={name}]")).to_contain_text("waits for approval")
        page.get_by_label(name, exact=True).check()
    assert page.evaluate("window.stays")
    page.get_by_label("emmy", exact=True).check()  # who waits for nothing is left alone
    accessible(page)
    page.get_by_role("button", name="Approve the chosen").click()
    expect(page.get_by_role("status")).to_contain_text("who waited may come in")
    for name in WAITING:
        expect(page.locator(f".student[data-student={name}]")).not_to_contain_text("waits")
        Student(lesson.url, name).sign_in()
    told = [json.loads(line) for line in lesson.run(f"tail -2 {AUDIT}").splitlines()]
    assert {(each["action"], each["student"]) for each in told} == {
        ("approve", name) for name in WAITING
    }
    # Two at once, where that cannot be meant.
    admin = Student(lesson.url, "sageadm", password).sign_in()
    assert refused(press, admin, *WAITING, action="lock") == 400
    assert refused(press, admin, "emmy", "nobody.at.all", action="stop") == 404
    assert "emmy" in lesson.run(SESSIONS)
