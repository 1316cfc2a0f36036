"""A file from a web address: a teacher's link asks, the student agrees, and the limits hold."""

import http.server
import re
import threading
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from browser import PHONE, fits, picture, sign_in, window
from gitserver import GIT_PORT, name_it
from guest import Guest
from playwright.sync_api import Browser, expect
from student import Student

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LESSON = (
    '{"cells": [{"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Rings"}],'
    ' "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
)
PLACE = f"http://git.school.test:{GIT_PORT}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        size = 10 << 30 if "large" in self.path else len(LESSON)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(LESSON.encode())

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture(autouse=True)
def web(hosted: Guest) -> Iterator[None]:
    name_it(hosted)
    with http.server.ThreadingHTTPServer(("127.0.0.1", GIT_PORT), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


def test_a_teachers_link_brings_a_file(hosted: Guest, browser: Browser) -> None:
    files = "ls -A /home/students/sophie"
    hosted.run("rm -rf /home/students/sophie")
    Student(hosted.url, "sophie").sign_in().start()
    page = window(browser)
    sign_in(page, hosted, "sophie")
    link = f"{hosted.url}/hub/user-redirect/appliance/download?url="
    page.goto(link + quote(f"{PLACE}/week 1/lesson.ipynb", safe=""))
    assert "lesson.ipynb" not in hosted.run(files)  # a link alone does nothing
    page.set_viewport_size(PHONE)
    assert fits(page)
    picture(page, "download-phone")
    page.get_by_role("button", name="Get it").click()
    page.locator(".jp-Notebook h1", has_text="Rings").wait_for()
    assert "lesson.ipynb" in hosted.run(files)

    for url, why in {
        f"{PLACE}/large.bin": "larger than one file may be here",
        f"http://other.school.test:{GIT_PORT}/x": "may not reach this address",
        "https://other.school.test/x": "may not reach this address",
        "http://127.0.0.1:8001/api/routes": "did not come",
        "file:///etc/passwd": "is not an address",
        f"{PLACE}/<b>": "",
    }.items():
        page.goto(link + quote(url, safe=""))
        page.get_by_label("Name").fill("" if why else "<b>&")
        page.locator("form").evaluate("form => form.submit()")  # whatever the browser thinks
        if why:
            expect(page.get_by_role("alert")).to_contain_text(why)
    page.wait_for_url(re.compile("/(lab|doc)/(workspaces/phone/)?tree/"))
    left = set(hosted.run(files).splitlines())
    assert {"<b>&", "lesson.ipynb"} <= left
    assert not [name for name in left if "large" in name or "download" in name]
    there = f"{hosted.url}/user/sophie/appliance/download"  # another's page does not get it done
    assert page.request.post(there, form={"url": f"{PLACE}/x"}).status == 403


def test_it_is_in_the_menu_of_the_files(hosted: Guest, browser: Browser) -> None:
    Student(hosted.url, "sophie").sign_in().start()
    page = window(browser)
    sign_in(page, hosted, "sophie")
    page.goto(f"{hosted.url}/user/sophie/lab")
    expect(page.locator("#appliance-usage")).to_contain_text("Memory")
    page.locator(".jp-DirListing-content").click(button="right")
    with page.expect_popup() as opened:
        page.get_by_role("menuitem", name="Get a File from the Web…").click()
    expect(opened.value.get_by_label("Address")).to_be_visible()
