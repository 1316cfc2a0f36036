"""Git in the browser, and a teacher's links, through the filtering proxy."""

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from browser import picture, sign_in, window
from gitserver import GIT_PORT, further_lesson, git_server, name_it
from guest import Guest
from playwright.sync_api import Browser, Page, expect
from student import Student

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

URL = f"http://git.school.test:{GIT_PORT}/course.git"


@pytest.fixture
def course(hosted: Guest, tmp_path: Path) -> Iterator[Path]:
    with git_server(tmp_path, GIT_PORT) as bare:
        name_it(hosted)
        yield bare


def fresh_session(browser: Browser, hosted: Guest, student: str) -> Page:
    """A window on the started session of a student who has no files."""
    hosted.run(f"rm -rf /home/students/{student}")
    page = window(browser)
    sign_in(page, hosted, student)
    page.goto(f"{hosted.url}/hub/spawn")
    page.get_by_role("button", name="Start").click()
    page.locator(".jp-Notebook h1", has_text="First steps").wait_for()
    page.goto(f"{hosted.url}/user/{student}/lab?reset")
    page.wait_for_selector(".jp-Launcher")
    return page


def test_a_teachers_link_brings_a_notebook(hosted: Guest, browser: Browser, course: Path) -> None:
    page = fresh_session(browser, hosted, "sophie")
    link = f"git-pull?repo={quote(URL, safe='')}&branch=main&targetpath=course"
    link += "&urlpath=lab/tree/course/lesson.ipynb"
    page.goto(f"{hosted.url}/hub/user-redirect/{link}")
    page.locator(".jp-Notebook h1", has_text="Rings").wait_for()
    picture(page, "link")
    assert "Rings" in hosted.run("cat /home/students/sophie/course/lesson.ipynb")


def test_own_files_in_a_links_way_are_moved_aside(hosted: Guest, course: Path) -> None:
    student = Student(hosted.url, "sophie").sign_in().start()
    kernel = student.kernel()
    kernel.shell("rm -rf course")

    def follow() -> list[str]:
        place = f"repo={quote(URL, safe='')}&branch=main&targetpath=course"
        told = student.request("GET", f"/user/sophie/git-pull/api?{place}")
        events = [json.loads(line[5:]) for line in told.splitlines() if line.startswith("data:")]
        return [event["message"] for event in events if event["phase"] == "error"]

    assert follow() == []
    mine = {
        **{
            "Übung.txt": "mine",
            'a "b".txt': "mine",
            "tab\tname.txt": "mine",
            "moved ü.ipynb": "mine",
        },
        **{
            "Neu": "mine",
            "-n": "mine",
            "Blatt 1.txt": "mine",
            "deep/Ä": "mine",
            "Alt/x.txt": "mine",
        },
    }
    write = "from pathlib import Path as P\nfor n, c in {}.items():\n    p = P('{}', n)\n    "
    write += "p.parent.mkdir(parents=True, exist_ok=True)\n    p.write_text(c)\n"
    kernel.run(write.format(mine, "course"))
    theirs = [name for name in mine if name not in ("Neu", "deep/Ä", "Alt/x.txt", "moved ü.ipynb")]
    theirs += ["Neu/Blatt.txt", "deep/Ä/in/it.txt", "Alt"]
    further_lesson(course, dict.fromkeys(theirs, "theirs"), moved={"lesson.ipynb": "moved ü.ipynb"})
    assert follow() == []
    assert follow() == []
    names = kernel.shell(
        "cd course && git ls-files -z | xargs -0 grep -lZ theirs -- | tr '\\0' ';'"
    )
    assert sorted(names.strip(";").split(";")) == sorted(theirs)
    assert "Rings" in kernel.shell("cat 'course/moved ü.ipynb'")
    kept = kernel.shell("cd course && grep -rl --exclude-dir=.git mine . | wc -l")
    assert int(kept) == len(mine)  # nothing of one's own is lost
    # The teacher makes a file of a folder where a student has put something, too.
    kernel.run(write.format({"Neu/mine.txt": "mine"}, "course"))
    further_lesson(course, {"Neu": "a file now"}, removed=["Neu"])
    assert follow() == []
    assert kernel.shell("cat course/Neu") == "a file now"
    assert kernel.shell("cat course/Neu__*/mine.txt") == "mine"
    student.stop()


def test_clone_commit_push_and_pull(hosted: Guest, browser: Browser, course: Path) -> None:
    page = fresh_session(browser, hosted, "lise")
    page.get_by_role("menuitem", name="Git", exact=True).click()
    page.get_by_role("menuitem", name="Clone a Repository").click()
    page.locator(".jp-Dialog input").first.fill(URL)
    page.locator(".jp-Dialog .jp-mod-accept").click()
    folder = page.locator('.jp-DirListing-item[title*="course"]')
    folder.wait_for()
    folder.dblclick()
    page.locator('.jp-DirListing-item[title*="lesson.ipynb"]').wait_for()
    student = Student(hosted.url, "lise").sign_in()
    kernel = student.kernel()
    kernel.shell(
        "cd course && git config user.name Emmy && git config user.email emmy@school.test"
        " && echo mine > mine.txt"
    )
    page.get_by_role("tab", name="Git").click()
    untracked = page.get_by_text("mine.txt", exact=True).first
    untracked.wait_for()
    untracked.hover()
    page.get_by_title("Track this file").first.click()
    page.get_by_placeholder("Summary").fill("My answer")
    page.locator("#jp-git-sessions button", has_text=re.compile("^commit$", re.I)).click()
    kernel.shell(
        "cd course && for i in $(seq 40); do git log | grep -q answer && break; sleep 1; done"
    )
    assert "My answer" in kernel.shell("cd course && git log -1 --format=%s")
    page.get_by_title("Push committed changes", exact=False).first.click()
    page.get_by_placeholder("username").fill("emmy")
    page.get_by_placeholder("password / personal access token").fill("token-of-emmy")
    picture(page, "git")
    page.locator(".jp-Dialog .jp-mod-accept").click()
    kernel.shell(
        "cd course; for i in $(seq 40); do git fetch -q;"
        " [ $(git rev-parse HEAD) = $(git rev-parse origin/main) ] && break; sleep 1; done"
    )
    there = subprocess.run(
        ["git", "-C", str(course), "log", "-1", "--format=%s", "main"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout == "My answer\n"
    further_lesson(course)
    page.get_by_title("Pull latest changes").click()
    kernel.shell("for i in $(seq 40); do [ -e course/further.txt ] && break; sleep 1; done")
    assert kernel.shell("cat course/further.txt") == "Fields\n"
    # What was typed is nobody else's and is not kept where files are backed up.
    assert "token-of-emmy" not in hosted.run("grep -ro token-of-emmy /home/students || true")
    assert "token-of-emmy" not in hosted.run("journalctl --no-pager -o cat; ps -eo args")


def test_nothing_but_the_allowed_hosts_is_reached(hosted: Guest, course: Path) -> None:
    kernel = Student(hosted.url, "emmy").sign_in().start().kernel()
    clone = "git clone -q {} /tmp/x 2>&1; rm -rf /tmp/x"
    assert kernel.shell(clone.format(URL)) == ""
    for other in (
        f"http://other.school.test:{GIT_PORT}/course.git",
        f"http://{hosted.gateway()}:{GIT_PORT}/course.git",
        "http://git.school.test:22/course.git",
        "http://127.0.0.1:8001/api/routes",
        "http://localhost:8081/hub/api",
    ):
        told = kernel.shell(f"no_proxy= NO_PROXY= {clone.format(other)}")
        assert "403" in told, told
    direct = f"env -u http_proxy -u HTTP_PROXY timeout 10 {clone.format(URL)}"
    told = kernel.shell(direct)
    assert told
    assert "403" not in told


def test_a_repository_that_is_too_large_is_said_to_be(hosted: Guest, course: Path) -> None:
    """One pack is one file, which has a limit in a session."""
    work = course.parent / "work"
    kernel = Student(hosted.url, "emmy").sign_in().start().kernel()
    limit = int(kernel.run("import resource; resource.getrlimit(resource.RLIMIT_FSIZE)[0]"))
    (work / "large.bin").write_bytes(os.urandom(limit + (1 << 20)))
    further_lesson(course)
    told = kernel.shell(f"rm -rf clone; git clone {URL} clone; echo status $?; ls -d clone", 300)
    assert "status 0" not in told
    assert re.search("too large|signal 25", told, re.I), told  # SIGXFSZ
    assert "\nclone\n" not in told  # nothing is left
    assert kernel.run("6 * 7") == "42"


def test_a_server_that_says_nothing_is_given_up(hosted: Guest, browser: Browser) -> None:
    name_it(hosted)
    with socket.create_server(("127.0.0.1", GIT_PORT)):  # takes connections, and says nothing
        page = fresh_session(browser, hosted, "sophie")
        kernel = Student(hosted.url, "sophie").sign_in().kernel()
        link = f"git-pull?repo={quote(URL, safe='')}&branch=main&targetpath=course"
        page.goto(f"{hosted.url}/hub/user-redirect/{link}")
        assert "status 128" in kernel.shell(f"git clone {URL} x; echo status $?", 600)
        assert kernel.run("6 * 7") == "42"
        given_up = "Remote content unavailable"
        expect(page.locator("body")).to_contain_text(given_up, timeout=600_000)
