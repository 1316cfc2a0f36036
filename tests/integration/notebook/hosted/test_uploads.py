"""A file that cannot fit is refused in the page before it is sent."""

from pathlib import Path

import pytest
from browser import picture, sign_in, window
from guest import Guest
from playwright.sync_api import Browser, expect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_ten_gigabytes(hosted: Guest, browser: Browser, tmp_path: Path) -> None:
    large, small = tmp_path / "large.bin", tmp_path / "ünï 🧮.csv"
    with large.open("wb") as file:
        file.truncate(10 << 30)  # a hole: it takes no room
    small.write_text("1,2,3\n")
    page = window(browser)
    sign_in(page, hosted, "noether")
    page.goto(f"{hosted.url}/user/noether/lab")
    expect(page.locator("#appliance-usage")).to_contain_text("Disk")
    for file in (large, small):
        with page.expect_file_chooser() as chooser:
            page.locator(
                '[data-command="filebrowser:upload"], [title^="Upload Files"]'
            ).first.click()
        chooser.value.set_files(file)
        if file is large:
            dialog = page.locator(".jp-Dialog")
            expect(dialog).to_contain_text("large.bin has 10 G; one file may have 100 M here.")
            picture(page, "upload-refused")
            dialog.get_by_role("button").last.click()
    expect(page.locator(".jp-DirListing-content")).to_contain_text("ünï 🧮.csv")
    assert "large" not in hosted.run("ls /home/students/noether")
