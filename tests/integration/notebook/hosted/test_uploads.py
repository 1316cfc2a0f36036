"""A file that cannot fit is refused in the page before it is sent, chosen or dragged there."""

from collections.abc import Callable
from pathlib import Path

import pytest
from browser import picture, sign_in, window
from guest import Guest
from playwright.sync_api import Browser, Page, expect
from student import Student

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def choose(page: Page, file: Path) -> None:
    """Upload by the button."""
    with page.expect_file_chooser() as chooser:
        page.locator('[data-command="filebrowser:upload"], [title^="Upload Files"]').first.click()
    chooser.value.set_files(file)


def drag(page: Page, file: Path) -> None:
    """Drag a file of this host's into the list, as a file manager does."""
    listing = page.locator(".jp-DirListing-content")
    expect(listing).to_be_visible()
    box = listing.bounding_box()
    assert box is not None
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] - 20}
    data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
    browser = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.send("Input.dispatchDragEvent", {"type": kind, "data": data, **place})
    browser.detach()


@pytest.mark.parametrize("send", [choose, drag])
def test_ten_gigabytes(
    hosted: Guest, browser: Browser, tmp_path: Path, send: Callable[[Page, Path], None]
) -> None:
    large, small = tmp_path / "large.bin", tmp_path / f"ünï 🧮 {send.__name__}.csv"
    with large.open("wb") as file:
        file.truncate(10 << 30)  # a hole: it takes no room
    small.write_text("1,2,3\n")
    Student(hosted.url, "noether").sign_in().start()
    page = window(browser)
    sign_in(page, hosted, "noether")
    page.goto(f"{hosted.url}/user/noether/lab")
    expect(page.locator("#appliance-usage")).to_contain_text("Disk")
    send(page, large)
    dialog = page.locator(".jp-Dialog")
    expect(dialog).to_contain_text("large.bin has 10 G; one file may have 100 M here.")
    picture(page, f"upload-refused-{send.__name__}")
    dialog.get_by_role("button").last.click()
    send(page, small)
    expect(page.locator(".jp-DirListing-content")).to_contain_text(small.name)
    assert hosted.run(f"cat '/home/students/noether/{small.name}'") == "1,2,3\n"
    assert "large" not in hosted.run("ls /home/students/noether")
