"""A term's life in a real browser: a class comes, works, moves to another machine, comes again."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from guests import Fleet
from pages import add, change, sign_in
from playwright.sync_api import Browser, Page, expect
from student import RefusedError, Student, opens

pytestmark = pytest.mark.slow

PATIENCE = 60_000  # milliseconds: build hosts are busy
FILES = "/home/students"
FIRST, SECOND = "the first password", "the second password"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    expect.set_options(timeout=PATIENCE)
    page = window(browser)
    yield page
    page.context.close()


def window(browser: Browser) -> Page:
    page = browser.new_context().new_page()
    page.set_default_timeout(PATIENCE)
    return page


def call(one: Fleet, *words: str) -> Any:
    done = one.appliance(*words, "--json")
    assert done.code == 0, done
    return json.loads(done.out)["hosts"][0]["facts"]


@pytest.mark.timeout(1200)
def test_a_terms_life(one: Fleet, page: Page, browser: Browser) -> None:  # noqa: PLR0915
    """Imported, locked, not renamed, restored on a new appliance, deleted, imported again."""
    guest = one.guests[0]
    url, classroom = guest.host.url, f"{guest.host.url}/hub/classroom"
    guest.run(f"mount -t tmpfs -o mode=0711 tmpfs {FILES}")
    password = guest.run("cat /var/lib/notebook/first-password").strip()
    row = page.locator('.student[data-student="lise"]')

    # The class comes; Lise takes a password of her own and works.
    sign_in(page, url, "sageadm", password)
    add(page, url, f"Name;Passwort\nLise;{FIRST}\nHedy;{FIRST}\n", password)
    hers = window(browser)
    sign_in(hers, url, "Lise", FIRST)
    change(hers, url, FIRST, SECOND, SECOND)
    expect(hers.get_by_role("status")).to_contain_text("counts from now on")
    lise = Student(url, "lise", SECOND).sign_in().start()
    lise.kernel().shell("echo fission > paper.txt")

    # A list of all, with one more, touches nobody who is there.
    add(page, url, f"lise\nhedy,{SECOND}\nsageadm,{SECOND}\ngauss,{FIRST}\n", password)
    expect(page.get_by_role("status")).to_contain_text("1 added")
    assert lise.kernel().run("1 + 1") == "2"
    assert opens(url, "hedy", FIRST)
    assert opens(url, "sageadm", password)

    # Locked: out, in her own window too; unlocked: in.
    page.goto(classroom)
    row.locator("summary").click()
    row.get_by_role("button", name="Lock").click()
    expect(row).to_contain_text("locked")
    hers.goto(f"{url}/hub/home")
    expect(hers.locator("#login_submit")).to_be_visible()
    guest.run("notebook-accounts unlock lise")
    assert opens(url, "lise", SECOND)

    # JupyterHub's own page cannot give her another name.
    admin = Student(url, "sageadm", password).sign_in()
    with pytest.raises(RefusedError, match="cannot be changed"):
        admin.json("PATCH", "/hub/api/users/lise", {"name": "new.one"})

    # The machine is lost. On a new one, all of it is there, and who was signed in signs in again.
    sign_in(hers, url, "lise", SECOND)
    call(one, "backup", "setup", "--to", "/var/backups/{host}")
    call(one, "backup", "run")
    one.replace("sage-01", FILES)
    assert not opens(url, "lise", SECOND)
    call(one, "backup", "setup", "--to", "/var/backups/{host}")
    call(one, "restore", "sage-01", "--all", "--yes")
    guest.wait(240)
    hers.goto(f"{url}/hub/home")
    expect(hers.locator("#login_submit")).to_be_visible()
    sign_in(hers, url, "lise", SECOND)
    hers.goto(f"{url}/user/lise/lab/tree/paper.txt")
    hers.get_by_role("button", name="Launch Server").click()
    expect(hers.locator(".cm-content")).to_contain_text("fission")
    assert not opens(url, "lise", FIRST)
    assert opens(url, "gauss", FIRST)
    sign_in(page, url, "sageadm", password)
    add(page, url, f"lise,{FIRST}\n", password)
    expect(page.locator("body")).to_contain_text("lise: is there already")

    # Deleted, brought back: a new password lets her in to her files.
    page.goto(classroom)
    row.locator("summary").click()
    row.get_by_label("Name of the student to delete").fill("lise")
    row.get_by_role("button", name="Delete").click()
    expect(page.locator('.job[data-action="delete"]').first).to_contain_text("archived as lise.")
    expect(row).to_have_count(0)
    assert not opens(url, "lise", SECOND)
    page.goto(classroom)
    page.get_by_role("button", name="Bring back lise").click()
    job = page.locator('.job[data-action="bring back"]').first
    expect(job).to_contain_text("a new password lets the student in")
    guest.run(f"echo {FIRST} | notebook-accounts password lise")
    assert opens(url, "lise", FIRST)

    # The term ends, the next begins: her name waits until the teacher knows that it is she.
    guest.run("notebook-accounts remove lise hedy gauss")
    assert not opens(url, "lise", FIRST)
    add(page, url, f"lise,{SECOND}\nhedy,{SECOND}\n", password)
    expect(page.locator("body")).to_contain_text("lise: waits for your approval")
    assert opens(url, "hedy", SECOND)  # who never had a session has no files
    assert not opens(url, "lise", SECOND)
    page.goto(classroom)
    row.locator("summary").click()
    row.get_by_role("button", name="Approve").click()
    expect(row).not_to_contain_text("waits")
    lise = Student(url, "lise", SECOND).sign_in().start()
    assert lise.kernel().shell("cat paper.txt") == "fission\n"
    lise.stop()
    hers.context.close()
