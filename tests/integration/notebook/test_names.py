"""Where the school's DNS has names for it, each student's sessions have a host of their own."""

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from guest import Guest
from playwright.sync_api import Browser, Page, sync_playwright
from student import Student

from provision.guest.hub.visit import label
from provision.process import require

pytestmark = pytest.mark.timeout(900)
PATIENCE = 120_000  # milliseconds: build hosts are busy
DOMAIN = "sage.school.test"
EMMY, CARL = "names-emmy", "names.carl"  # the second is no label of DNS
SET = 'sed -i \'s/subdomain_host="[a-z.]*"/subdomain_host="{}"/\' /usr/local/bin/start-notebook'
# What a page tries on another's server: each way, and whether it got there.
TRIES = """
async ([place, name]) => {
  const got = [];
  for (const mode of ["cors", "no-cors"]) try {
    const how = { credentials: "include", mode };
    const answer = await fetch(`${place}/user/${name}/api/contents`, how);
    if (await answer.text()) got.push(mode);
  } catch (error) {}
  await new Promise(done => {
    const ws = place.replace("http", "ws");
    const socket = new WebSocket(`${ws}/user/${name}/api/events/subscribe`);
    socket.onopen = () => { got.push("socket"); done(); };
    socket.onerror = done;
  });
  const frame = document.createElement("iframe");
  frame.src = `${place}/user/${name}/lab`;
  document.body.append(frame);
  const other = window.open(`${place}/user/${name}/files/diary.txt`);
  await new Promise(done => setTimeout(done, 3000));
  for (const [way, window] of [["frame", frame.contentWindow], ["window", other]]) try {
    if (window.document.body.innerText) got.push(way);
  } catch (error) {}
  return got;
}
"""
TOSSED = """
([name, value, domain]) => {
  document.cookie = `${name}=${value}; path=/; domain=${domain}; secure`;
  return document.cookie.includes(name);
}
"""


@dataclass
class School:
    """The guest by its name.

    Args:
        guest: where.
        browser: a real one, for which the names are this host's.
    """

    guest: Guest
    browser: Browser

    @property
    def hub(self) -> str:
        return f"https://{DOMAIN}:{self.guest.url.rpartition(':')[2]}"

    def sessions(self, student: str) -> str:
        port = self.guest.sessions_url.rpartition(":")[2]
        return f"https://{label(student)}.{DOMAIN}:{port}"

    def open(self, page: Page, student: str) -> None:
        """Sign in and open the own notebook."""
        page.set_default_timeout(PATIENCE)
        page.goto(f"{self.hub}/hub/login?next=%2Fhub%2Fhome")
        page.fill("#username_input", student)
        page.fill("#password_input", "correct horse")
        page.click("#login_submit")
        page.wait_for_url("**/hub/home")
        page.goto(f"{self.hub}/user/{student}/lab")
        page.locator("#jp-main-dock-panel").wait_for()
        assert page.url.startswith(f"{self.sessions(student)}/user/{student}/lab")

    def window(self, student: str) -> Page:
        """A browser of somebody's own, in the own notebook."""
        page = self.browser.new_context(ignore_https_errors=True).new_page()
        self.open(page, student)
        return page


@pytest.fixture(scope="module")
def named(school: Guest) -> Iterator[School]:
    names = "".join(f"{name},correct horse\n" for name in (EMMY, CARL))
    school.run(f"printf '{names}' | notebook-accounts import -")
    school.run(f"{SET.format(DOMAIN)} && systemctl restart notebook-proxy notebook")
    school.wait()
    students = [Student(school.url, name).sign_in().start() for name in (EMMY, CARL)]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=require("chromium", "chromium"),
            args=[
                *("--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server"),
                f"--host-resolver-rules=MAP {DOMAIN} 127.0.0.1,MAP *.{DOMAIN} 127.0.0.1",
            ],
        )
        yield School(school, browser)
        browser.close()
    for student in students:
        student.stop()
    school.run(f"{SET.format('')} && systemctl restart notebook-proxy notebook")
    school.wait()


def test_the_certificate_is_for_all_names(named: School, tmp_path: Path) -> None:
    trusted = tmp_path / "cert.pem"
    trusted.write_text(named.guest.run("cat /var/lib/notebook/tls/cert.pem"))
    context = ssl.create_default_context(cafile=str(trusted))
    port = int(named.guest.sessions_url.rpartition(":")[2])
    for name in (DOMAIN, f"{label(EMMY)}.{DOMAIN}", f"{label(CARL)}.{DOMAIN}", "localhost"):
        with (
            socket.create_connection(("127.0.0.1", port), 60) as connection,
            context.wrap_socket(connection, server_hostname=name) as encrypted,
        ):
            assert encrypted.version() in ("TLSv1.2", "TLSv1.3")


def test_no_students_page_reads_anothers(named: School) -> None:
    pages = {name: named.window(name) for name in (EMMY, CARL)}
    own = pages[EMMY].evaluate(TRIES, [named.sessions(EMMY), EMMY])
    assert own[:3] == ["cors", "no-cors", "socket"]  # where it may, it gets there
    for name, other in ((EMMY, CARL), (CARL, EMMY)):
        assert pages[name].evaluate(TRIES, [named.sessions(other), other]) == []
        assert pages[name].evaluate(TRIES, [named.hub, other]) == []
    for page in pages.values():
        page.context.close()


def test_a_tab_of_who_was_here_before_reads_nothing_of_who_comes_next(named: School) -> None:
    """Both in one browser: the first one's page stays open, and tries it with all cookies."""
    before = named.window(EMMY)
    page = before.context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{named.hub}/hub/logout")
    page.wait_for_url("**/hub/login*")
    named.open(page, CARL)
    assert before.evaluate(TRIES, [named.sessions(CARL), CARL]) == []
    seen = "async place => (await fetch(place)).status"
    assert before.evaluate(seen, f"/user/{EMMY}/api/contents") == 403
    before.context.close()


def test_a_cookie_for_all_hosts_opens_none(named: School) -> None:
    """The own visit, set by a script for the hosts beside: it would show mallory's there."""
    page = named.window(CARL)
    visits = [each for each in page.context.cookies() if each["name"].endswith("appliance-visit")]
    assert [each["domain"] for each in visits] == [f"{label(CARL)}.{DOMAIN}"]
    for name in ("appliance-visit", "jupyterhub-user-tossed"):
        assert page.evaluate(TOSSED, [name, visits[0]["value"], DOMAIN])
    page.goto(f"{named.sessions(EMMY)}/user/{CARL}/lab")
    page.locator("#jp-main-dock-panel").wait_for()
    assert page.url.startswith(named.sessions(CARL))  # led to the own host
    page.context.close()


def test_other_addresses_lead_to_the_own_host(named: School) -> None:
    page = named.window(CARL)
    port = named.guest.sessions_url.rpartition(":")[2]
    for place in (
        f"{named.hub}/hub/user-redirect/lab/tree/First%20steps.ipynb",
        f"https://{DOMAIN}:{port}/user/{CARL}/lab/tree/First%20steps.ipynb",
    ):
        page.goto(place)
        page.locator(".jp-Notebook").first.wait_for()
        assert page.url.startswith(f"{named.sessions(CARL)}/user/{CARL}/lab")
    page.context.close()
