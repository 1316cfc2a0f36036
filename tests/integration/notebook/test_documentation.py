"""Documentation in a session: searched without a script, and no way to anything but the books."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import HERE, Guest
from pages import accessible, sign_in
from playwright.sync_api import Page, expect
from student import RefusedError, Student
from toybook import BASE, PLACE, lay, take_away

from provision.build.build import request
from provision.build.playbook import run_playbook
from provision.config import Config
from provision.errors import ProvisioningError

LANGUAGES = {"de_DE.UTF-8": ("Nichts heißt so", "Bücher"), "fr_FR.UTF-8": ("Rien ne", "Livres")}
SHOWN = (
    "from provision.guest.documentation.shelf import books, page;"
    " print(page('nowhere', books(), '/d/', '/lab').decode())"
)


@pytest.fixture(scope="module")
def reader(guest: Guest) -> Iterator[Student]:
    lay(guest, "reader")
    student = Student(guest.url, "reader").sign_in().start()
    student.kernel().shell("echo 'document.title += \" theirs\"' > ~/theirs.js")
    yield student
    student.stop()
    take_away(guest)


def at(path: str = "") -> str:
    return f"/user/reader/{BASE}{path}"


def test_a_name_is_found_and_opens(reader: Student) -> None:
    said = reader.request("GET", at("?q=quad"))
    assert f'<a href="{at("toy/index.html#index-quad")}">quad</a>' in said
    assert "A &lt;Toy&gt;" in said
    assert "index-quad" in reader.request("GET", at("toy/index.html"))
    assert "index-quad" in reader.request("GET", at("toy/"))
    assert reader.server("GET", "appliance/usage")["documentation"] is True


@pytest.mark.parametrize(
    "path",
    [
        "toy/../../../../../etc/passwd",
        "toy/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "toy//etc/passwd",
        "toy/%2e%2e/%2e%2e/documentation/books.json",
        "toy/link.html",
        "toy/nothing.html",
        "other/index.html",
        "toy%00/index.html",
        "books.json",
    ],
)
def test_nothing_but_books_is_sent(reader: Student, path: str) -> None:
    with pytest.raises(RefusedError) as refused:
        assert "root:" not in reader.request("GET", at(path))
    assert refused.value.status in (400, 403, 404)


def test_others_are_not_shown_it_by_this_session(guest: Guest, reader: Student) -> None:
    other = Student(guest.url, "stranger").sign_in()
    with pytest.raises(RefusedError) as refused:
        other.request("GET", at("toy/index.html"))
    assert refused.value.status in (403, 404)


def test_a_session_writes_nothing_into_it(reader: Student) -> None:
    said = reader.kernel().shell(f"echo x >> {PLACE}/index.html; echo x > {PLACE}/new.html")
    assert said.count("denied") + said.count("Read-only") == 2


def test_a_page_runs_the_books_scripts_alone(guest: Guest, reader: Student, page: Page) -> None:
    sign_in(page, guest.url, "reader", reader.password)
    page.goto(f"{guest.url}/user/reader/lab")
    page.locator("#jp-main-dock-panel").wait_for()
    sessions = page.url.partition("/user/")[0]
    page.goto(sessions + at("toy/index.html"))
    expect(page).to_have_title("Toy own")


def test_it_is_found_from_the_hub_and_by_keyboard(
    guest: Guest, reader: Student, page: Page
) -> None:
    sign_in(page, guest.url, "reader", reader.password)
    page.goto(f"{guest.url}/hub/home")
    link = page.locator("a.nav-link", has_text="Documentation")  # of a menu, on a phone
    page.goto(guest.url + str(link.get_attribute("href")))
    field = page.get_by_label("Name of a function")
    expect(field).to_be_focused()
    accessible(page)
    page.keyboard.type("quad")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Found: 1")
    accessible(page)


@pytest.mark.parametrize("locale", LANGUAGES)
def test_it_speaks_the_guests_language(guest: Guest, reader: Student, locale: str) -> None:
    said = guest.run(f'LANG={locale} /opt/notebook/bin/python -c "{SHOWN}"')
    assert all(word in said for word in LANGUAGES[locale])


def test_a_mirror_without_a_book_says_what_to_write_instead(guest: Guest, tmp_path: Path) -> None:
    about = [
        {"name": "python", "kind": "sphinx", "packages": ["no-such-doc"], "kept": [], "left": []},
        {"name": "sage", "kind": "docstrings", "packages": [], "kept": [], "left": []},
    ]
    told = {**request(Config()).variables(), "documentation_books": about}
    assert guest.endpoint is not None
    with pytest.raises(ProvisioningError) as caught:
        run_playbook(HERE / "documentation.yml", guest.endpoint, told, log=tmp_path / "log")
    guest.run("rm /etc/dpkg/dpkg.cfg.d/documentation")
    for word in ("no-such-doc", "leave python out of documentation", "documentation: [sage]"):
        assert word in str(caught.value)
