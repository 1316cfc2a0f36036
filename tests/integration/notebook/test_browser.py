"""A class hour in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import Guest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from provision.process import require

PATIENCE = 120_000  # milliseconds: build hosts are busy
DRAWING = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="9"/></svg>'
SVG = f"from IPython.display import SVG; SVG({DRAWING!r})"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=require("chromium", "chromium"),
            args=["--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server"],
        )
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def empty(guest: Guest) -> Iterator[None]:
    """Leave no session behind, whatever happens."""
    yield
    guest.run("pkill -x ssh || true")


def sign_in(browser: Browser, guest: Guest, name: str) -> Page:
    """A new window, signed in, with the launcher open."""
    page = browser.new_context(ignore_https_errors=True, accept_downloads=True).new_page()
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page.goto(f"{guest.url}/")
    page.fill("#username_input", name)
    page.fill("#password_input", "correct horse")
    page.click("#login_submit")
    page.wait_for_selector(".jp-Launcher")
    return page


def run(page: Page, code: str) -> None:
    """Run code in the notebook's selected cell, and go to the next one."""
    page.locator(".jp-Notebook .jp-Cell.jp-mod-active .cm-content").click()
    page.keyboard.insert_text(code)
    page.keyboard.press("Shift+Enter")


@pytest.mark.timeout(900)
def test_a_class_hour(browser: Browser, guest: Guest, tmp_path: Path) -> None:
    page = sign_in(browser, guest, "emmy")
    page.locator('.jp-LauncherCard[data-category="Notebook"]').first.click()
    page.wait_for_selector(".jp-Notebook .jp-Cell .cm-content")
    page.get_by_text("| Idle").wait_for()
    outputs = page.locator(".jp-Notebook .jp-OutputArea-output")

    run(page, "x = 6 * 7; x")
    expect(outputs.first).to_contain_text("42")
    run(page, SVG)
    page.wait_for_selector(".jp-Notebook .jp-RenderedSVG :is(svg, img)")
    run(page, "open('out.txt', 'w').write('written in a cell')")
    expect(outputs.nth(2)).to_contain_text("17")
    download = page.request.get(f"{guest.url}/user/emmy/files/out.txt?download=1")
    assert download.text() == "written in a cell"

    page.locator('[data-command="notebook:restart-kernel"]').first.click()
    page.locator(".jp-Dialog .jp-mod-accept").click()
    page.get_by_text("| Idle").wait_for()
    run(page, "'x' in dir()")
    expect(outputs.last).to_contain_text("False")

    upload = tmp_path / "data.csv"
    upload.write_text("1,2,3\n")
    with page.expect_file_chooser() as chooser:
        page.locator('[data-command="filebrowser:upload"], [title^="Upload Files"]').first.click()
    chooser.value.set_files(upload)
    page.locator('.jp-DirListing-item[title*="data.csv"]').wait_for()

    page.keyboard.press("Control+Shift+L")
    page.locator('.jp-LauncherCard[title*="terminal"]').last.click()
    page.locator(".jp-Terminal .xterm-helper-textarea").wait_for(state="attached")
    page.locator(".jp-Terminal").click()
    page.keyboard.type("wc -l < data.csv > lines.txt; git init -q repo\n")
    page.locator('.jp-DirListing-item[title*="lines.txt"]').wait_for()

    page.goto(f"{guest.url}/hub/logout")
    page.goto(f"{guest.url}/user/emmy/lab")
    page.wait_for_selector("#username_input")

    other = sign_in(browser, guest, "amalie")
    other.wait_for_timeout(2000)
    assert other.locator(".jp-DirListing-item").count() == 0
    other.goto(f"{guest.url}/user/emmy/lab")
    expect(other.locator("body")).not_to_contain_text("out.txt")
