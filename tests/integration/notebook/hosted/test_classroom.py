"""The administrator's screen, what students see of their limits, metrics and health."""

import json
import time
import urllib.error
import urllib.request

import pytest
from browser import DESKTOP, PHONE, fits, picture, sign_in, sign_in_as_admin, window
from guest import Guest
from playwright.sync_api import Browser, Locator, Page, Route, expect
from student import RefusedError, Student

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def ask(hosted: Guest, path: str, token: str = "") -> tuple[int, str]:
    request = urllib.request.Request(hosted.url + path)
    if token:
        request.add_header("Authorization", f"token {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def both(page: Page, name: str) -> None:
    """Pictures of a page as a desktop shows it, and as a phone does."""
    picture(page, f"{name}-desktop")
    page.set_viewport_size(PHONE)
    picture(page, f"{name}-phone")
    page.set_viewport_size(DESKTOP)


def test_prometheus_reads_hub_pool_limits_and_host(hosted: Guest) -> None:
    emmy = Student(hosted.url, "emmy").sign_in().start()
    token = hosted.run("cat /var/lib/notebook/metrics-token").strip()
    labels = '{account="nb1@localhost",student="emmy"}'
    wanted = f"appliance_session_memory_limit{labels} 2.147483648e+09"
    deadline = time.monotonic() + 60
    while wanted not in (told := ask(hosted, "/hub/metrics", token)[1]):
        assert time.monotonic() < deadline, told[-3000:]
        time.sleep(0.5)
    for name in (
        *("jupyterhub_running_servers", "appliance_sampler_up 1.0", "appliance_pool_leased 1.0"),
        *("appliance_host_memory_free_bytes", 'appliance_disk_free_bytes{mount="/home"}'),
    ):
        assert name in told
    assert ask(hosted, "/hub/metrics")[0] == 403
    assert ask(hosted, "/hub/api/users", token)[0] == 403  # for metrics and nothing else
    emmy.stop()


def test_health_is_told_to_everybody_and_names_nobody(hosted: Guest) -> None:
    deadline = time.monotonic() + 60
    while ask(hosted, "/hub/healthy") != (200, '{"healthy": true, "wrong": []}'):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    hosted.run("systemctl stop notebook-usage; rm /run/notebook-usage/now.json")
    try:
        status, told = ask(hosted, "/hub/healthy")
        assert status == 503
        assert json.loads(told)["wrong"] == ["the sampler has not written for a minute"]
    finally:
        hosted.run("systemctl start notebook-usage")


def test_a_student_does_not_see_the_classroom(hosted: Guest) -> None:
    emmy = Student(hosted.url, "emmy").sign_in()
    for path in ("classroom", "classroom/logs"):
        with pytest.raises(RefusedError) as refused:
            emmy.request("GET", f"/hub/{path}")
        assert refused.value.status == 403


def test_a_student_chooses_and_sees_what_is_left(hosted: Guest, browser: Browser) -> None:
    page = window(browser)
    page.goto(f"{hosted.url}/hub/login")
    both(page, "sign-in")
    assert fits(page)
    sign_in(page, hosted, "noether")
    page.goto(f"{hosted.url}/hub/spawn")
    page.get_by_label("Statistics").check()
    both(page, "profiles")
    page.get_by_role("button", name="Start").click()
    usage = page.locator("#appliance-usage")
    expect(usage).to_contain_text("Memory")
    expect(usage).to_contain_text("of 1.5 G")
    expect(usage).to_contain_text("Disk")
    expect(usage).to_contain_text("Time left 11 h")
    cards = page.locator('.jp-LauncherCard[data-category="Notebook"]')
    expect(cards).to_have_count(1)
    expect(cards).to_contain_text("R")
    both(page, "lab")
    page.set_viewport_size(PHONE)
    for each in usage.locator("span, a").all():
        expect(each).to_be_in_viewport(ratio=1)
    Student(hosted.url, "noether").sign_in().stop()


def test_a_notebook_on_a_phone(hosted: Guest, browser: Browser) -> None:
    hosted.run("rm -rf /home/students/noether")
    student = Student(hosted.url, "noether").sign_in()
    student.json("POST", "/hub/api/users/noether/server", {"profile": "any"})
    student.start()
    page = window(browser, phone=True)
    sign_in(page, hosted, "noether")
    page.goto(f"{hosted.url}/user/noether/lab")
    files_selector = '.jp-DirListing-item[title*="First steps.ipynb"]'
    files = page.locator(files_selector)
    expect(page.locator("#appliance-usage")).to_contain_text("Memory")
    expect(page.locator('[data-shell-mode="single-document"]')).to_have_count(1)
    expect(files).not_to_be_visible()  # the window is the document's
    page.wait_for_function("document.documentElement.scrollWidth <= window.innerWidth")
    for menu in ("File", "Help"):
        expect(page.get_by_role("menuitem", name=menu, exact=True)).to_be_in_viewport(ratio=1)
    for _ in range(20):  # the launcher comes to the front when it is drawn, and closes the list
        if files.is_visible():
            break
        page.locator('[data-id="filebrowser"]').click()
        page.wait_for_timeout(1500)
    files.dblclick()
    notebook = page.locator(".jp-Notebook")
    expect(notebook.locator("h1").first).to_be_visible()
    expect(files).not_to_be_visible()
    box = notebook.bounding_box()
    assert box is not None and box["width"] > 0.8 * PHONE["width"]
    picture(page, "lab-notebook-phone")
    # The same phone turned, or a window made larger: nothing of a desktop's is missing.
    page.set_viewport_size(DESKTOP)
    expect(page.locator(".lm-TabBar-tab", has_text="First steps")).to_be_visible()
    expect(page.locator('[data-id="jp-property-inspector"]')).to_be_visible()
    # What is closed on a phone is open on a desktop.
    desktop = page.context.new_page()
    desktop.set_viewport_size(DESKTOP)
    desktop.goto(f"{hosted.url}/user/noether/lab")
    expect(desktop.locator(files_selector)).to_be_visible()
    desktop.close()
    said = "Please save your work. " * 20
    page.route("**/api/appliance/usage", lambda route: _with_message(route, said))
    message = page.locator("#appliance-usage strong")
    expect(message).to_contain_text("Please save")
    for each in page.locator("#appliance-usage").locator("span, a").all():
        expect(each).to_be_in_viewport(ratio=1)
    page.set_viewport_size(PHONE)
    for each in page.locator("#appliance-usage").locator("span, a").all():
        expect(each).to_be_in_viewport(ratio=1)
    page.unroute_all(behavior="ignoreErrors")
    page.context.close()
    student.stop()


def _with_message(route: Route, text: str) -> None:
    answer = route.fetch()
    route.fulfill(response=answer, json=answer.json() | {"message": text})


def until_in(page: Page, address: str, row: Locator, text: str) -> None:
    """Load the page until a row of it has a text."""
    deadline = time.monotonic() + 60
    page.goto(address)
    while text not in row.inner_text():
        assert time.monotonic() < deadline
        page.goto(address)


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_the_classroom(hosted: Guest, browser: Browser, phone: bool) -> None:  # noqa: PLR0915
    hosted.run("echo correct horse | notebook-accounts password carl")
    Student(hosted.url, "carl").sign_in().start()
    seen = window(browser)
    sign_in(seen, hosted, "carl")
    seen.goto(f"{hosted.url}/user/carl/lab")
    seen.locator("#appliance-usage").wait_for()
    page = window(browser, phone=phone)
    sign_in_as_admin(page, hosted)
    classroom = f"{hosted.url}/hub/classroom"
    page.goto(classroom)
    row = page.locator('[data-student="carl"]')
    until_in(page, classroom, row, "memory")
    expect(page.locator("body")).to_contain_text("of 3")
    assert fits(page)
    picture(page, f"classroom-{'phone' if phone else 'desktop'}")

    row.locator("summary").click()
    row.get_by_label("Message").fill("Five minutes left <b>!")
    row.get_by_role("button", name="Send").click()
    expect(page.get_by_role("status")).to_contain_text("message")
    expect(seen.locator("#appliance-usage")).to_contain_text("Five minutes left <b>!")

    row.locator("summary").click()
    assert fits(page)
    row.get_by_label("Memory").fill("1536M")
    row.get_by_label("Processor").fill("70")
    row.get_by_role("button", name="Set limits").click()
    expect(page.get_by_role("status")).to_contain_text("limits")
    account = hosted.run("notebook-sessions").split("@")[0]
    shown = f"systemctl show -p MemoryMax,CPUQuotaPerSecUSec user-$(id -u {account}).slice"
    deadline = time.monotonic() + 60
    while hosted.run(shown).split() != ["CPUQuotaPerSecUSec=700ms", f"MemoryMax={1536 << 20}"]:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    row.locator("summary").click()
    expect(row.get_by_label("Memory")).to_have_value("1536M")
    row.get_by_label("Memory").fill("a lot")
    row.get_by_role("button", name="Set limits").click()
    expect(page.locator("body")).to_contain_text("is not a limit of memory")

    page.goto(classroom)
    row.locator("summary").click()
    row.get_by_role("button", name="New password").click()
    password = page.locator("#password").inner_text()
    assert "carl" not in hosted.run("notebook-sessions")  # the session ended with the old one
    Student(hosted.url, "carl", password).sign_in().start()

    until_in(page, classroom, row, "memory")
    row.locator("summary").click()
    row.get_by_role("button", name="Open as this student").click()
    opened = page.locator(".jp-Launcher, .jp-Notebook")
    page.get_by_role("button", name="Authorize").or_(opened).first.wait_for()
    assert "carl" in page.url

    page.goto(classroom)
    row.locator("summary").click()
    row.get_by_role("button", name="Stop the session").click()
    expect(page.get_by_role("status")).to_contain_text("stop")
    deadline = time.monotonic() + 60
    while "carl" in hosted.run("notebook-sessions"):
        assert time.monotonic() < deadline
        time.sleep(0.5)

    page.goto(f"{classroom}/logs")
    expect(page.locator("pre")).to_contain_text("Audit: sageadm did open to carl")
    assert fits(page)
    lines = hosted.run("tail -5 /var/lib/notebook/audit.jsonl").splitlines()
    told = [json.loads(line)["action"] for line in lines]
    assert told == ["message", "limits", "password", "open", "stop"]
    hosted.run("rm -f /var/lib/notebook/limits.json")


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_a_student_leaves_and_comes_back(hosted: Guest, browser: Browser, phone: bool) -> None:
    hosted.run("echo correct horse | notebook-accounts password karl")
    Student(hosted.url, "karl").sign_in().start().kernel().shell("echo kept > work.txt")
    page = window(browser, phone=phone)
    sign_in_as_admin(page, hosted)
    classroom = f"{hosted.url}/hub/classroom"
    page.goto(classroom)
    row = page.locator('.student[data-student="karl"]')
    row.locator("summary").click()
    row.get_by_label("Name of the student to delete").fill("carl")
    row.get_by_role("button", name="Delete").click()
    expect(page.locator("body")).to_contain_text("write the name into the field beside it")

    page.goto(classroom)
    row.locator("summary").click()
    assert fits(page)
    row.get_by_label("Name of the student to delete").fill("karl")
    row.get_by_role("button", name="Delete").click()
    job = page.locator('.job[data-action="delete"]').first
    expect(job).to_contain_text("archived as karl.")  # the page keeps itself up to date
    expect(row).to_have_count(0)
    assert fits(page)
    picture(page, f"classroom-deleted-{'phone' if phone else 'desktop'}")
    assert "karl" not in hosted.run("ls /home/students; notebook-accounts list")

    page.get_by_role("button", name="Back up now").click()
    expect(page.locator('.job[data-action="backup"]').first).to_contain_text("backup setup")
    page.get_by_role("button", name="Bring back karl").click()
    job = page.locator('.job[data-action="bring back"]').first
    expect(job).to_contain_text("a new password lets the student in")
    assert hosted.run("cat /home/students/karl/work.txt") == "kept\n"
    row.locator("summary").click()
    row.get_by_role("button", name="New password").click()
    Student(hosted.url, "karl", page.locator("#password").inner_text()).sign_in()
    lines = hosted.run("tail -4 /var/lib/notebook/audit.jsonl").splitlines()
    done = [json.loads(line)["action"] for line in lines]
    assert done == ["delete", "backup", "bring back", "password"]
