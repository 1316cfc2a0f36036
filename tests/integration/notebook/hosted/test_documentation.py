"""Documentation in a session without a network: a student finds it, and it keeps its size."""

import re

import pytest
from browser import PHONE, fits, picture, sign_in, window
from guest import Guest
from pages import accessible
from playwright.sync_api import Browser, expect
from student import Student

from provision import resources
from provision.config.books import BOOKS
from provision.config.languages import PYTHON_PACKAGES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

MOST = 100 * 10**6  # bytes, compressed, of all books; Sage's are counted where there is a Sage
SAGE = 10 * 10**6
PLACES = 'python3 -c \'import json; print(*(b["place"] for b in json.load(open("{}"))))\''
KNOWN = "/usr/local/share/documentation/books.json"
LOOKED_UP = {
    "python": ("json.loads", "library/json.html#json.loads", "Deserialize"),
    "packages": ("numpy.linspace", "numpy.html#linspace", "evenly spaced"),
    "r": ("integrate", "stats/html/integrate.html", "Adaptive quadrature"),
    "octave": ("quad", "Functions-of-One-Variable.html#index-quad", "QUADPACK"),
}


@pytest.fixture(scope="module")
def base(hosted: Guest) -> str:
    Student(hosted.url, "reader").sign_in()
    return "/user/reader/appliance/documentation/"


@pytest.mark.parametrize("book", LOOKED_UP)
def test_each_book_is_searched_and_opens(hosted: Guest, base: str, book: str) -> None:
    name, address, says = LOOKED_UP[book]
    student = Student(hosted.url, "reader").sign_in().start()
    found = student.request("GET", f"{base}?q={name}")
    assert f'href="{base}{book}/{address}"' in found
    assert says in student.request("GET", f"{base}{book}/{address.partition('#')[0]}")
    assert student.request("GET", f"{base}{book}/index.html")


def test_a_student_finds_it_by_keyboard(hosted: Guest, base: str, browser: Browser) -> None:
    Student(hosted.url, "reader").sign_in().start()
    page = window(browser)
    sign_in(page, hosted, "reader")
    page.goto(f"{hosted.url}/user/reader/lab")
    page.locator("#jp-main-dock-panel").wait_for()
    page.locator(".lm-MenuBar-itemLabel", has_text="Help").click()
    entry = page.locator(".lm-Menu-item", has_text=re.compile("^Documentation"))
    with page.expect_popup() as opened:
        entry.click()
    book = opened.value
    field = book.get_by_label("Name of a function")
    expect(field).to_be_focused()
    accessible(book)
    book.keyboard.type("integrate")
    book.keyboard.press("Enter")
    expect(book.get_by_role("status")).to_contain_text("Found")
    accessible(book)
    picture(book, "documentation")
    book.set_viewport_size(PHONE)
    assert fits(book)
    picture(book, "documentation-phone")
    book.get_by_role("link", name="integrate", exact=True).first.click()
    expect(book.locator("main")).to_contain_text("ntegra")


def test_the_own_search_of_pythons_book_works(hosted: Guest, base: str, browser: Browser) -> None:
    Student(hosted.url, "reader").sign_in().start()
    page = window(browser)
    sign_in(page, hosted, "reader")
    page.goto(f"{hosted.url}/user/reader/lab")
    page.locator("#jp-main-dock-panel").wait_for()
    page.goto(f"{page.url.partition('/user/')[0]}{base}python/search.html?q=generator")
    expect(page.locator("#search-results li").first).to_be_visible()


def test_the_books_keep_their_size(hosted: Guest) -> None:
    places = hosted.run(PLACES.format(KNOWN)).split()
    assert len(places) == len(BOOKS) - 1
    size = int(
        hosted.run(f"tar -chf - {' '.join(places)} {KNOWN.rpartition('/')[0]} | gzip | wc -c")
    )
    assert 5 * 10**6 < size < MOST - 2 * SAGE, size
    forms = "-path '*/_sources/*' -o -name '*.pdf' -o -name '*.devhelp.gz'"
    assert hosted.run(f"find /usr/share/doc -type f '(' {forms} ')'") == ""
    owners = hosted.run(f"find -L {' '.join(places)} '(' ! -user root -o -perm /022 ')' | head")
    assert not owners


def test_the_same_packages_make_the_same_book(hosted: Guest) -> None:
    program = (resources.PACKAGE / "guest/documentation/docstrings.py").read_text()
    with hosted.root.open_sftp() as sftp, sftp.open("/root/docstrings.py", "w") as file:
        file.write(program)
    packages, title = " ".join(PYTHON_PACKAGES), BOOKS["packages"].title
    python = "PYTHONHASHSEED=0 /opt/python/bin/python -W ignore"
    hosted.run(f'{python} - /root/again "{title}" {packages} < /root/docstrings.py', timeout=600)
    assert hosted.run(f"diff -rq {BOOKS['packages'].place} /root/again") == ""
    hosted.run("rm -r /root/again /root/docstrings.py")
