"""The hub's origin, the sessions', and one student's place in a browser: attacked in a real one.

A script in a student's notebook is a script in the page that shows it: what is evaluated below in
``/user/mallory/lab`` is what an output of a cell, or an extension of the student's own, can do.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from guest import Guest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from student import RefusedError, Student

from provision.process import require

pytestmark = pytest.mark.timeout(900)
PATIENCE = 120_000  # milliseconds: build hosts are busy
VICTIM, MALLORY = "origin-victim", "origin-mallory"


@dataclass
class Scene:
    """Two students at work, and whoever looks on.

    Args:
        guest: where.
        browser: a real one.
        password: the administrator's.
    """

    guest: Guest
    browser: Browser
    password: str

    @property
    def hub(self) -> str:
        return self.guest.url

    @property
    def sessions(self) -> str:
        return self.guest.sessions_url

    def window(self, name: str, password: str = "correct horse") -> Page:  # noqa: S107
        """A browser of somebody's own, signed in."""
        page = self.browser.new_context(ignore_https_errors=True).new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"{self.hub}/hub/login?next=%2Fhub%2Fhome")
        page.fill("#username_input", name)
        page.fill("#password_input", password)
        page.click("#login_submit")
        page.wait_for_url("**/hub/home")
        return page

    def admin(self) -> Page:
        """The administrator's browser."""
        return self.window("sageadm", self.password)

    def opened(self, page: Page, student: str) -> None:
        """As an administrator, press the classroom's button for a student's notebook."""
        page.goto(f"{self.hub}/hub/classroom")
        row = page.locator(f'.student[data-student="{student}"]')
        for _ in range(60):
            if row.locator('button[value="open"]').count():  # in what is still closed
                break
            page.wait_for_timeout(1000)
            page.goto(f"{self.hub}/hub/classroom")
        row.locator("summary").click()
        row.get_by_role("button", name="Open as this student").click()
        agree = page.get_by_role("button", name="Authorize")
        agree.or_(page.locator("#jp-main-dock-panel")).first.wait_for()
        if agree.count():  # the hub asks once
            agree.click()
        page.locator("#jp-main-dock-panel").wait_for()
        assert page.url.startswith(f"{self.sessions}/user/{student}/lab")


@pytest.fixture(scope="module", params=["guest", "school"])
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    guest: Guest = request.getfixturevalue(request.param)
    names = "".join(f"{name},correct horse\n" for name in (VICTIM, MALLORY))
    guest.run(f"printf '{names}' | notebook-accounts import -")
    students = [Student(guest.url, name).sign_in().start() for name in (VICTIM, MALLORY)]
    password = guest.run("cat /var/lib/notebook/first-password").strip()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=require("chromium", "chromium"),
            args=["--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server"],
        )
        expect.set_options(timeout=PATIENCE)
        yield Scene(guest, browser, password)
        browser.close()
    for student in students:
        student.stop()


TRIES = (Path(__file__).parent / "origins.js").read_text().replace("VICTIM", VICTIM)
FIXED = """
values => {
  const paths = ["/", "/hub/", "/hub/home", "/hub/classroom", "/visit"];
  const places = paths.map(each => "path=" + each);
  for (const [name, value] of Object.entries(values))
    for (const where of [...places, "path=/; domain=" + location.hostname])
      for (const how of ["", "; Secure"])
        document.cookie = `${name}=${value}; ${where}${how}`;
}
"""
WORKER = "self.addEventListener('fetch', e => e.respondWith(new Response('mine')))"


def tried(scene: Scene, page: Page) -> dict[str, str]:
    script = f"'/user/{MALLORY}/files/worker.js'"
    return dict(page.evaluate(TRIES.replace("SCRIPT", script), scene.hub))


def test_a_students_script_gets_nothing_of_the_administrators(scene: Scene) -> None:
    mallory = Student(scene.hub, MALLORY).sign_in()
    told = {"type": "file", "format": "text", "content": WORKER}
    mallory.server("PUT", "contents/worker.js", told)
    before = scene.guest.run("cat /var/lib/notebook/accounts.json")
    scene.guest.run("rm -f /var/lib/notebook/messages.json")
    page = scene.admin()
    scene.opened(page, MALLORY)
    assert tried(scene, page) == {}
    assert scene.guest.run("cat /var/lib/notebook/accounts.json") == before
    assert "by mallory" not in scene.guest.run("cat /var/lib/notebook/messages.json || true")
    page.goto(f"{scene.hub}/hub/classroom")
    expect(page.locator(".classroom")).to_be_visible()
    page.context.close()


def test_a_students_script_gets_nothing_of_its_own_visit_to_the_hub(scene: Scene) -> None:
    """The other student's browser: nothing of the hub by script, though it is signed in there."""
    page = scene.window(MALLORY)
    page.goto(f"{scene.hub}/user/{MALLORY}/lab")
    page.locator("#jp-main-dock-panel").wait_for()
    assert page.url.startswith(f"{scene.sessions}/user/{MALLORY}/lab")
    assert tried(scene, page) == {}
    page.context.close()


def test_the_hubs_pages_reach_no_session(scene: Scene) -> None:
    page = scene.window(VICTIM)
    page.goto(f"{scene.hub}/user/{VICTIM}/lab")
    page.locator("#jp-main-dock-panel").wait_for()
    page.goto(f"{scene.hub}/hub/home")
    got = page.evaluate(
        """async places => { const got = [];
          for (const place of places) try {
            const answer = await fetch(place, { credentials: "include" });
            if (answer.ok) got.push(place);
          } catch (error) {}
          return got; }""",
        [f"{each}/user/{VICTIM}/api/contents" for each in ("", scene.sessions)],
    )
    assert got == []
    page.context.close()


def test_a_browser_is_let_in_to_one_student_and_no_link_changes_that(scene: Scene) -> None:
    page = scene.window(VICTIM)
    page.goto(f"{scene.hub}/user/{VICTIM}/lab")
    page.locator("#jp-main-dock-panel").wait_for()
    place = f"/user/{MALLORY}/files/worker.js"
    for url in (scene.sessions, scene.hub):
        page.goto(f"{url}{place}")
        expect(page.locator("body")).not_to_contain_text("respondWith")
        assert page.url.startswith(f"{scene.hub}/hub/")

    mallory = scene.window(MALLORY).context
    link = ticket(scene, mallory, place)
    page.goto(link)  # is for mallory's own browser
    expect(page.locator("body")).not_to_contain_text("respondWith")
    assert page.url.startswith(f"{scene.hub}/hub/")
    page.goto(f"{scene.sessions}/user/{VICTIM}/lab")
    page.locator("#jp-main-dock-panel").wait_for()  # is still the own one's

    opened = mallory.new_page()
    opened.goto(ticket(scene, mallory, place))
    assert opened.url == f"{scene.sessions}{place}"
    used = ticket(scene, mallory, place)
    assert "ticket=" in used
    changed = used[:-1] + ("A" if used[-1] != "A" else "B")
    assert opened.goto(changed).status == 403  # type: ignore[union-attr]
    page.context.close()
    mallory.close()


def ticket(scene: Scene, context: BrowserContext, path: str) -> str:
    """The address with a ticket to which the hub sends a browser."""
    asked = f"{scene.hub}/hub/visit?next={path.replace('/', '%2F')}"
    answer = context.request.get(asked, max_redirects=0)
    return f"{scene.hub.partition(':')[0]}:{answer.headers['location']}"


def test_opening_another_student_closes_the_one_before(scene: Scene) -> None:
    page = scene.admin()
    scene.opened(page, MALLORY)
    scene.opened(page, VICTIM)
    seen = "async place => (await fetch(place)).status"
    assert page.evaluate(seen, f"/user/{MALLORY}/api/contents") == 403
    assert page.evaluate("navigator.serviceWorker.getRegistrations().then(all => all.length)") == 0
    page.context.close()


SOCKET = """
name => new Promise((done, failed) => {
  const place = location.origin.replace("http", "ws");
  window.mine = new WebSocket(`${place}/user/${name}/api/events/subscribe`);
  window.mine.onopen = () => done();
  window.mine.onerror = failed;
})
"""


def test_who_signs_out_leaves_nothing_open_for_who_comes_next(scene: Scene) -> None:
    page = scene.window(MALLORY)
    page.goto(f"{scene.hub}/user/{MALLORY}/lab")
    page.locator("#jp-main-dock-panel").wait_for()
    page.evaluate("localStorage.setItem('left', 'here')")
    page.evaluate(SOCKET, MALLORY)
    next_page = page.context.new_page()
    next_page.goto(f"{scene.hub}/hub/logout")
    next_page.wait_for_url("**/hub/login*")
    page.wait_for_function("window.mine.readyState === WebSocket.CLOSED")
    seen = "async place => (await fetch(place)).status"
    assert page.evaluate(seen, f"/user/{MALLORY}/api/contents") == 403
    names = [cookie["name"].removeprefix("__Host-") for cookie in page.context.cookies()]
    assert not {"appliance-visit", "appliance-browser"} & set(names)

    next_page.fill("#username_input", VICTIM)
    next_page.fill("#password_input", "correct horse")
    next_page.click("#login_submit")
    next_page.wait_for_url(lambda url: "/hub/login" not in url)
    next_page.goto(f"{scene.hub}/user/{VICTIM}/lab")
    next_page.locator("#jp-main-dock-panel").wait_for()
    assert next_page.evaluate("localStorage.getItem('left')") is None
    assert page.evaluate(seen, f"/user/{MALLORY}/api/contents") == 403
    page.context.close()


@pytest.mark.parametrize("scene", ["school"], indirect=True)  # names of __Host- need HTTPS
def test_a_script_puts_no_cookie_in_the_place_of_the_hubs(scene: Scene) -> None:
    own = {c["name"]: c["value"] for c in scene.window(MALLORY).context.cookies()}
    names = [name for name in own if not name.startswith("_xsrf")]
    assert any(name.startswith("__Host-jupyterhub-hub-login") for name in names)
    page = scene.admin()
    scene.opened(page, MALLORY)
    page.evaluate(FIXED, {name: own[name] for name in names})
    page.evaluate(FIXED, {"jupyterhub-hub-login": own["__Host-jupyterhub-hub-login"]})
    page.goto(f"{scene.hub}/hub/classroom")
    expect(page.locator(".classroom")).to_be_visible()  # the administrator's, as before
    expect(page.locator("body")).to_contain_text("sageadm")
    page.context.close()


def test_old_addresses_lead_to_the_session(scene: Scene) -> None:
    page = scene.browser.new_context(ignore_https_errors=True).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{scene.sessions}/user/{VICTIM}/lab?reset")  # a bookmark, not signed in
    page.fill("#username_input", VICTIM)
    page.fill("#password_input", "correct horse")
    page.click("#login_submit")
    page.locator("#jp-main-dock-panel").wait_for()
    for place in (
        f"{scene.hub}/user/{VICTIM}/lab/tree/First%20steps.ipynb",
        f"{scene.hub}/hub/user-redirect/lab/tree/First%20steps.ipynb",
    ):
        page.goto(place)
        page.locator(".jp-Notebook").first.wait_for()
        assert page.url.startswith(f"{scene.sessions}/user/{VICTIM}/lab")
    page.goto(f"{scene.sessions}/hub/home")
    assert page.url == f"{scene.hub}/hub/home"
    page.goto(f"{scene.sessions}/")
    assert page.url.startswith(f"{scene.hub}/") or VICTIM in page.url
    page.context.close()


def test_a_program_with_a_token_asks_where_it_always_did(scene: Scene) -> None:
    victim = Student(scene.hub, VICTIM).sign_in()
    assert victim.kernel().run("6 * 7") == "42"
    with pytest.raises(RefusedError, match=r"40[34]"):
        Student(scene.hub, VICTIM, token="made up").server("GET", "contents")  # noqa: S106
    deadline = time.monotonic() + 60
    while not victim.ready():
        assert time.monotonic() < deadline
