"""Accounts in a real browser: sign-up, the own password, a class on the classroom's page."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import Guest
from pages import accessible, change, sign_in
from playwright.sync_api import Browser, Page, expect
from student import RefusedError, Student, opens

FIRST, SECOND = "the first password", "the second password"
PICTURES = Path(__file__).parents[3] / "dist" / "screenshots"
NAMES = "rosa rosa.luxemburg lise mueller obrien gauss hedy"


@pytest.fixture(autouse=True)
def forgotten(guest: Guest) -> Iterator[None]:
    """No account of a test's is left."""
    yield
    guest.run(f"for n in {NAMES}; do notebook-accounts remove $n 2>/dev/null; done; true")
    guest.run(f"cd /home/students && rm -rf {NAMES}")


def picture(page: Page, name: str) -> None:
    accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)


def as_admin(page: Page, guest: Guest) -> str:
    password = guest.run("cat /var/lib/notebook/first-password").strip()
    sign_in(page, guest.url, "sageadm", password)
    return password


def test_signing_up_says_what_it_is_and_what_is_wrong(guest: Guest, page: Page) -> None:
    page.goto(f"{guest.url}/hub/login")
    expect(page.locator("#sign-up")).to_contain_text("make your account")
    expect(page.locator("#names")).to_contain_text("a-z")
    expect(page.locator("#passwords")).to_contain_text("8 characters")
    picture(page, "sign-up-phone")
    wrong = page.locator(".login_error")
    for name, password, told in (
        ("Rosa Luxemburg", FIRST, "A name has the letters a-z"),
        ("röschen", FIRST, "A name has the letters a-z"),
        ("rosa", "kurz", "at least 8 characters"),
    ):
        sign_in(page, guest.url, name, password)
        expect(wrong).to_contain_text(told)
        expect(wrong).not_to_contain_text("Invalid")
    assert "rosa" not in guest.run("notebook-accounts list").split()
    guest.run(f"printf 'lise,{FIRST}\\n' | notebook-accounts import -")
    sign_in(page, guest.url, "lise", SECOND)
    expect(wrong).to_contain_text("this name is taken")
    sign_in(page, guest.url, "Rosa", FIRST)
    expect(page).to_have_url(re.compile("/hub/home"))
    assert opens(guest.url, "rosa", FIRST)


def test_a_student_changes_the_own_password(guest: Guest, page: Page, browser: Browser) -> None:
    guest.run(f"printf 'lise,{FIRST}\\n' | notebook-accounts import -")
    thief = Student(guest.url, "lise", FIRST).sign_in().start()
    by_cookie = Student(guest.url, "lise", "", thief.cookies)
    sign_in(page, guest.url, "lise", FIRST)
    page.set_viewport_size({"width": 1280, "height": 800})
    page.get_by_role("link", name="Password").click()
    page.set_viewport_size({"width": 390, "height": 844})
    picture(page, "change-password-phone")
    alert = page.get_by_role("alert")
    change(page, guest.url, "a stranger's", SECOND, SECOND)
    expect(alert).to_contain_text("old password is not right")
    change(page, guest.url, FIRST, SECOND, FIRST)
    expect(alert).to_contain_text("not the same")
    change(page, guest.url, FIRST, FIRST, FIRST)
    expect(alert).to_contain_text("This is the old password")
    assert thief.json("GET", "/hub/api/user")["name"] == "lise"
    change(page, guest.url, FIRST, SECOND, SECOND)
    expect(page.get_by_role("status")).to_contain_text("counts from now on")
    for each in (thief, by_cookie):
        with pytest.raises(RefusedError):
            each.json("GET", "/hub/api/user")
    assert "lise" not in guest.run("notebook-sessions")
    page.goto(f"{guest.url}/hub/home")
    expect(page).to_have_url(re.compile("/hub/home"))  # this browser stays in
    assert not opens(guest.url, "lise", FIRST)
    assert opens(guest.url, "lise", SECOND)


def test_a_class_is_added_on_the_page(guest: Guest, page: Page, tmp_path: Path) -> None:
    guest.run(f"printf 'lise,{FIRST}\\n' | notebook-accounts import -")
    password = as_admin(page, guest)
    page.goto(f"{guest.url}/hub/classroom/add")
    page.get_by_label("Names", exact=True).fill("rosa\n\nO'Brien\nhedy,kurz!77\nRosa\nlise\n")
    page.get_by_role("button", name="Add them").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Nobody was added")
    for told in ("line 3: ", "obrien", "line 4: the password", "line 5: the same name"):
        expect(alert).to_contain_text(told)
    expect(alert).not_to_contain_text("kurz!77")
    picture(page, "add-students-wrong-phone")
    assert not {"rosa", "hedy"} & set(guest.run("notebook-accounts list").split())

    table = tmp_path / "class.csv"
    table.write_bytes(
        "Name;Passwort\r\nMüller;\r\nO'Brien;über alles\r\nLise;\r\n".encode("cp1252")
    )
    page.goto(f"{guest.url}/hub/classroom/add")
    page.get_by_label("Or a file").set_input_files(table)
    page.get_by_label("Make names").check()
    page.get_by_role("button", name="Add them").click()
    expect(alert).to_contain_text("windows-1252")
    page.get_by_label("Or a file").set_input_files(table)
    page.get_by_label("Letters in the file").select_option("windows-1252")
    page.get_by_label("Make names").check()
    page.get_by_role("button", name="Add them").click()
    expect(alert).to_contain_text("Müller → mueller")
    assert "mueller" not in guest.run("notebook-accounts list").split()
    page.get_by_role("button", name="Add them").click()
    page.get_by_label("Your password").fill("a guess")
    page.get_by_role("button", name="Add them").click()
    expect(alert).to_contain_text("not the password")
    page.get_by_label("Your password").fill(password)
    page.get_by_role("button", name="Add them").click()
    expect(page.get_by_role("status")).to_contain_text("2 added")
    expect(page.locator("body")).to_contain_text("lise: is there already")
    made = page.locator('#passwords [data-student="mueller"] code').inner_text()
    picture(page, "students-added-phone")
    assert opens(guest.url, "mueller", made)
    assert opens(guest.url, "obrien", "über alles")
    assert opens(guest.url, "lise", FIRST)


def test_who_is_locked_is_seen_and_let_in_again(guest: Guest, page: Page) -> None:
    guest.run(f"printf 'lise,{FIRST}\\n' | notebook-accounts import -")
    lise = Student(guest.url, "lise", FIRST).sign_in().start()
    as_admin(page, guest)
    page.goto(f"{guest.url}/hub/classroom")
    row = page.locator('.student[data-student="lise"]')
    row.locator("summary").click()
    row.get_by_role("button", name="Lock").click()
    expect(row).to_contain_text("locked")
    assert "lise" not in guest.run("notebook-sessions")
    with pytest.raises(RefusedError):
        lise.json("GET", "/hub/api/user")
    assert not opens(guest.url, "lise", FIRST)
    row.locator("summary").click()
    row.get_by_role("button", name="Unlock").click()
    expect(row).not_to_contain_text("locked")
    assert opens(guest.url, "lise", FIRST)


def test_our_pages_can_be_read_and_heard_by_everybody(guest: Guest, page: Page) -> None:
    page.goto(f"{guest.url}/hub/login")
    accessible(page)
    as_admin(page, guest)
    for place in ("home", "token", "classroom", "classroom/add", "classroom/logs"):
        page.goto(f"{guest.url}/hub/{place}")
        accessible(page)
    # What is asked before a name is added.
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{guest.url}/hub/classroom")
    accessible(page)
