"""The hub starts anew in the middle of a lesson, and nobody in a browser loses anything."""

import hashlib
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import Guest, settings
from playwright.sync_api import Browser, Page, expect
from student import Student
from test_browser import PATIENCE, run, sign_in

WAYS = {
    "stopped": "systemctl restart notebook",
    "killed": "systemctl kill --kill-whom=main -s KILL notebook",
}
ways = pytest.mark.parametrize("way", ["killed", pytest.param("stopped", marks=pytest.mark.slow)])
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(autouse=True)
def empty(guest: Guest) -> Iterator[None]:
    """Leave no session behind, whatever happens."""
    yield
    guest.run("systemctl reset-failed; systemctl start notebook-proxy notebook")
    guest.wait()
    guest.run("notebook-sessions end")


def shell(page: Page, command: str) -> None:
    """Type a command into the terminal that is shown."""
    page.locator(".jp-Terminal").click()
    page.keyboard.type(f"{command}\n")


def upload(page: Page, file: Path) -> None:
    """Begin to send a file, so slowly that it takes a while."""
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1}
    network = page.context.new_cdp_session(page)
    network.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": 1 << 20})
    with page.expect_file_chooser() as chooser:
        page.locator('[data-command="filebrowser:upload"], [title^="Upload Files"]').first.click()
    chooser.value.set_files(file)


@ways
def test_what_is_open_stays(browser: Browser, guest: Guest, tmp_path: Path, way: str) -> None:
    name, place = f"emmy-{way}", f"/home/students/emmy-{way}"
    page = sign_in(browser, guest, name)
    page.locator('.jp-LauncherCard[title*="terminal"]').last.click()
    page.locator(".jp-Terminal .xterm-helper-textarea").wait_for(state="attached")
    shell(page, "kept=42; touch begun")
    guest.run(f"until [ -e {place}/begun ]; do sleep 0.2; done")
    page.keyboard.press("Control+Shift+L")
    page.locator('.jp-LauncherCard[data-category="Notebook"]:visible').first.click()
    page.wait_for_selector(".jp-Notebook .jp-Cell .cm-content")
    page.get_by_text("| Idle").wait_for()
    run(page, "x = 41\nimport os, time")
    run(page, "for n in range(10**6):\n    if os.path.exists('bell'): break\n    time.sleep(0.1)")
    run(page, "print('over', x + 1)")
    page.keyboard.insert_text("unsaved = 'not yet run'")
    file = tmp_path / "large.bin"
    file.write_bytes(os.urandom(14 << 20))
    upload(page, file)
    guest.run(f"until [ -s {place}/large.bin ]; do sleep 0.1; done")

    begun = guest.run("date +%s").strip()
    guest.run(WAYS[way])
    guest.wait()
    said = guest.run(f"journalctl -u notebook --since @{begun} -o cat")
    found = re.search(r"Initialized (\d+) spawners", said)  # which an operator counts
    assert found and int(found[1]) >= 1, said[-2000:]

    guest.run(f"touch {place}/bell")
    expect(page.locator(".jp-Notebook")).to_contain_text("over 42", timeout=PATIENCE)
    expect(page.locator(".jp-Notebook .jp-Cell").last).to_contain_text("unsaved = 'not yet run'")
    run(page, "  # it is run now")
    run(page, "print(unsaved.upper())")
    expect(page.locator(".jp-Notebook")).to_contain_text("NOT YET RUN")
    page.keyboard.press("Control+s")
    page.locator(".jp-Dialog .jp-mod-accept").click()  # it has no name of its own yet
    guest.run(f"until grep -q upper {place}/Untitled.ipynb; do sleep 0.2; done")
    wanted = hashlib.sha256(file.read_bytes()).hexdigest()
    guest.run(f"until sha256sum {place}/large.bin | grep -q {wanted}; do sleep 0.5; done", 240)
    page.get_by_role("tab", name=re.compile("Terminal [0-9]")).click()
    shell(page, "echo $kept > of-the-terminal")
    guest.run(f"until grep -qx 42 {place}/of-the-terminal; do sleep 0.2; done")
    assert page.locator(".jp-Dialog").count() == 0
    page.context.close()


@pytest.fixture
def patient(guest: Guest) -> Iterator[None]:
    """Who waits does so for a while."""
    with settings(guest, patience=300):
        yield


@ways
@pytest.mark.usefixtures("patient")
def test_who_is_in_line_stays_there(browser: Browser, guest: Guest, way: str) -> None:
    first, *others = [Student(guest.url, n).sign_in().start() for n in ("anna", "berta", "clara")]
    pages = []
    for name in ("zoe", "yvonne", "xenia"):  # in another order than any that sorts them
        page = browser.new_context(ignore_https_errors=True).new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"{guest.url}/hub/login")
        page.fill("#username_input", name)
        page.fill("#password_input", "correct horse")
        page.click("#login_submit")
        expect(page.locator("#progress-message")).to_contain_text(f"number {len(pages) + 1} in")
        pages.append(page)
    line = "(you, yvonne, xenia)"
    expect(pages[0].locator("#progress-message")).to_contain_text(line, timeout=PATIENCE)
    for page in pages:
        page.evaluate("document.querySelector('#progress-message').textContent = ''")

    guest.run(WAYS[way])
    guest.wait()
    for place, page in enumerate(pages, start=1):
        told = page.locator("#progress-message")
        expect(told).to_contain_text(f"number {place} in line", timeout=PATIENCE)
    expect(pages[0].locator("#progress-message")).to_contain_text(line)

    for page, leaves in zip(pages, [first, *others], strict=True):
        leaves.stop()
        page.locator(".jp-Launcher, .jp-Notebook").first.wait_for()
        page.context.close()
    assert sorted(guest.run("notebook-sessions").split()[1::2]) == ["xenia", "yvonne", "zoe"]


def test_who_begins_when_the_hub_is_killed_is_let_in_by_the_next(guest: Guest) -> None:
    """Its session has an account by then, of which the hub knows nothing yet."""
    begins = Student(guest.url, "paula").sign_in()
    watch = "until ls /var/lib/notebook/leases 2>/dev/null | xargs -I{} grep -l paula"
    watch += f" /var/lib/notebook/leases/{{}}; do :; done; {WAYS['killed']}"
    guest.run(shlex.join(["systemd-run", "--quiet", "--collect", "sh", "-c", watch]))
    begins.start(180)
    assert guest.run("notebook-sessions").count("paula") == 1
    assert begins.kernel().run("6 * 7") == "42"
