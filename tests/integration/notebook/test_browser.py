"""A class hour in a real browser."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import FORKED, Guest, notebook_guest, sage_layer, settings
from playwright.sync_api import Browser, Locator, Page, expect
from student import Student

PATIENCE = 120_000  # milliseconds: build hosts are busy
DRAWING = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="9"/></svg>'
# Two primes of fifty digits: no class waits for them.
HARD = "print('begun', flush=True); factor(next_prime(10^50) * next_prime(2 * 10^50))"
SVG = f"from IPython.display import SVG; SVG({DRAWING!r})"


@pytest.fixture(autouse=True)
def empty(guest: Guest) -> Iterator[None]:
    """Leave no session behind, whatever happens."""
    yield
    guest.run("pkill -x ssh || true")


def arrive(browser: Browser, guest: Guest, name: str) -> Page:
    """A new window, signed in, with what opens by itself."""
    page = browser.new_context(ignore_https_errors=True, accept_downloads=True).new_page()
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page.goto(f"{guest.url}/")
    page.fill("#username_input", name)
    page.fill("#password_input", "correct horse")
    page.click("#login_submit")
    page.locator(".jp-Launcher, .jp-Notebook").first.wait_for()
    return page


def sign_in(browser: Browser, guest: Guest, name: str) -> Page:
    """A new window, signed in, with the launcher open."""
    page = arrive(browser, guest, name)
    page.goto(f"{guest.url}/user/{name}/lab?reset")
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

    assert page.get_by_text("official Jupyter news").count() == 0  # nobody is asked about it

    page.goto(f"{guest.url}/hub/logout")
    page.goto(f"{guest.url}/user/emmy/lab")
    page.wait_for_selector("#username_input")

    other = arrive(browser, guest, "amalie")
    expect(other.locator(".jp-Notebook h1").first).to_contain_text("First steps")
    expect(other.locator('.jp-DirListing-item[title*="First steps"]')).to_be_visible()
    expect(other.locator(".jp-DirListing-item")).to_have_count(1)
    other.goto(f"{guest.url}/user/emmy/lab")
    expect(other.locator("body")).not_to_contain_text("out.txt")


def test_the_first_notebook_opens_by_itself_once(browser: Browser, guest: Guest) -> None:
    guest.run("rm -rf /home/students/ida")
    page = arrive(browser, guest, "ida")
    expect(page.locator(".jp-Notebook h1").first).to_contain_text("First steps")
    expect(page.locator(".jp-Notebook")).to_contain_text("There is no internet in here")
    workspaces = "/home/students/ida/.jupyter/lab/workspaces"
    guest.run(f"until ls {workspaces}/*; do sleep 1; done")
    page.context.close()
    Student(guest.url, "ida").sign_in().stop()
    # From now on the page opens what was open, here nothing.
    guest.run(f"rm {workspaces}/*")
    again = arrive(browser, guest, "ida")
    expect(again.locator(".jp-Launcher")).to_be_visible()
    expect(again.locator(".jp-Notebook")).to_have_count(0)


def test_who_is_stopped_reads_by_whom(browser: Browser, guest: Guest) -> None:
    page = sign_in(browser, guest, "maryam")
    admin = Student(guest.url, "sageadm", guest.run("cat /var/lib/notebook/first-password").strip())
    admin.sign_in().json("DELETE", "/hub/api/users/maryam/server")
    page.goto(f"{guest.url}/hub/home")
    expect(page.locator("body")).to_contain_text("by sageadm. Your files are safe")
    page.context.close()
    Student(guest.url, "maryam").sign_in().start()
    guest.run("notebook-sessions end")
    assert "by the administrator" in guest.run("cat /var/lib/notebook/notices/maryam")


def test_a_kernel_that_ran_out_of_memory_says_so(browser: Browser, guest: Guest) -> None:
    """What the kernel's own count says is played here: not every test host limits memory."""
    page = sign_in(browser, guest, "grete")
    page.locator('.jp-LauncherCard[data-category="Notebook"]').first.click()
    page.wait_for_selector(".jp-Notebook .jp-Cell .cm-content")
    page.get_by_text("| Idle").wait_for()
    expect(page.locator("#appliance-usage")).to_contain_text("Memory")
    dialog = page.locator(".jp-Dialog-body")
    die = "import os; os.kill(os.getpid(), 9)"
    run(page, die)
    expect(dialog).to_contain_text("appears to have died")  # of something else
    page.wait_for_timeout(16_000)
    expect(dialog).to_contain_text("appears to have died")
    page.locator(".jp-Dialog .jp-mod-accept").click()
    page.get_by_text("| Idle").wait_for()
    account = guest.run("notebook-sessions").split("@")[0].split()[0]
    told = f"/run/notebook-usage/{account}/usage.json"
    guest.run("systemctl stop notebook-usage")
    try:
        for killed in (0, 1):
            memory = {"used": 1 << 29, "limit": 1 << 30, "killed": killed}
            guest.run(f"echo '{json.dumps({'memory': memory})}' > {told}")
            page.wait_for_timeout(6000)
        run(page, die)
        expect(dialog).to_contain_text("ran out of memory")
        expect(dialog).to_contain_text("(1.0 G)")
        expect(dialog).to_contain_text("files are safe")
    finally:
        guest.run("systemctl start notebook-usage")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_who_was_away_too_long_reads_why_and_finds_everything_saved(
    browser: Browser, guest: Guest
) -> None:
    with settings(guest, timeout=60):
        page = sign_in(browser, guest, "sofia")
        page.locator('.jp-LauncherCard[data-category="Notebook"]').first.click()
        page.wait_for_selector(".jp-Notebook .jp-Cell .cm-content")
        page.get_by_text("| Idle").wait_for()
        run(page, "7 * 6")
        page.wait_for_timeout(40_000)  # it saves itself within 30 s
        page.goto("about:blank")  # the lesson is over; nobody pressed a key
        deadline = 180
        while guest.run("notebook-sessions").strip():
            deadline -= 1
            assert deadline > 0
            page.wait_for_timeout(1000)
        page.goto(f"{guest.url}/hub/home")
        expect(page.locator("body")).to_contain_text("after 1 minute without use")
        assert "7 * 6" in guest.run("cat /home/students/sofia/Untitled.ipynb")
    guest.wait()


@pytest.fixture(scope="module")
def with_sage(layers: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A guest with Sage, whose kernels are forked."""
    scratch = tmp_path_factory.mktemp("sage")
    limits = {"memory": 3 << 30, "swap": 0, "cpu": 200, "tasks": 512, "files": 1024}
    limits |= {"file_size": 1 << 30, "tmp": 256 << 20, "disk": 0}
    variables = {"pool_accounts": ["nb1"], "notebook_accounts": True, "notebook_limits": limits}
    variables |= {"notebook_forked": FORKED}
    with notebook_guest([*layers, sage_layer(layers, scratch)], scratch, variables) as guest:
        yield guest


def open_sage(page: Page, guest: Guest) -> Locator:
    """Sage's notebook from the launcher, with its kernel; who forked that is Sage's nursery."""
    page.locator('.jp-LauncherCard[data-category="Notebook"][title^="SageMath"]').first.click()
    page.wait_for_selector(".jp-Notebook .jp-Cell .cm-content")
    page.get_by_text("| Idle").wait_for()
    is_forked(page, guest)
    return page.locator(".jp-Notebook")


def is_forked(page: Page, guest: Guest) -> None:
    nursery = guest.run("systemctl show -P MainPID nursery@sage-*.service").strip()
    shows(page, f"import os; os.getppid() == {nursery or 0}", str(FORKED))


def shows(page: Page, code: str, text: str) -> None:
    """Run code, and wait until its cell shows something."""
    run(page, code)
    expect(page.locator(".jp-Notebook .jp-Cell").nth(-2)).to_contain_text(text)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_sage_draws(browser: Browser, with_sage: Guest) -> None:
    page = sign_in(browser, with_sage, "gauss")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    book = open_sage(page, with_sage)
    shows(page, "integrate(x * sin(x), x)", "-x*cos(x) + sin(x)")
    shows(page, "gap('Size(SymmetricGroup(5))')", "120")
    shows(page, "maxima('integrate(x^2, x)')", "x^3/3")
    shows(page, "print(singular.eval('ring r = 0,x,dp; factorize(x^2-1);'))", "_[2]=x")
    shows(page, "pari('factorint(91)')", "[7, 1; 13, 1]")
    shows(page, "%%cython\ndef double(int n):\n    return 2 * n", "")
    shows(page, "double(21)", "42")
    run(page, "plot(sin, 0, 7)")
    picture = book.locator(".jp-RenderedImage img")
    picture.wait_for()
    assert picture.evaluate("img => img.naturalWidth") > 200
    run(page, "animate([plot(x + n, (x, 0, 1)) for n in range(2)])")
    moving = book.locator('.jp-OutputArea-output :is(img[src^="data:image/gif"], video)')
    moving.first.wait_for()
    run(page, "%display latex\nintegrate(x, x)")
    book.locator("mjx-container").first.wait_for()
    # Three dimensions need a program in the browser, and a classroom may have no internet.
    run(page, "%display plain\nplot3d(lambda x, y: x * y, (-1, 1), (-1, 1))")
    frame = book.frame_locator("iframe").first
    frame.locator("canvas").wait_for()
    assert "not supported" not in frame.locator("body").inner_text()
    run(page, "sphere().show(viewer='jmol')")
    book.frame_locator("iframe").last.locator("canvas").first.wait_for()
    # The last cell: whoever moves a slider selects its cell.
    run(page, "@interact\ndef squares(n=(2, 9)):\n    print(n^2)")
    expect(book).to_contain_text("25")
    book.locator(".noUi-handle").first.press("ArrowRight")
    expect(book).to_contain_text("36")
    ours = (with_sage.url, with_sage.sessions_url, "data:", "blob:")
    assert [url for url in asked if not url.startswith(ours)] == []
    page.context.close()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_long_computation_of_sage_is_interrupted_and_its_kernel_restarted(
    browser: Browser, with_sage: Guest
) -> None:
    page = sign_in(browser, with_sage, "gauss")
    book = open_sage(page, with_sage)
    shows(page, "known = 6 * 7; known", "42")
    run(page, HARD)
    told = book.locator(".jp-Cell").nth(-2).locator(".jp-OutputArea")
    expect(told).to_contain_text("begun")
    page.locator('[data-command="notebook:interrupt-kernel"]').first.click()
    expect(told).to_contain_text("KeyboardInterrupt")
    shows(page, "known + 1", "43")
    page.locator('[data-command="notebook:restart-kernel"]').first.click()
    page.locator(".jp-Dialog .jp-mod-accept").click()
    page.get_by_text("| Idle").wait_for()
    shows(page, "'known' in globals()", "False")
    is_forked(page, with_sage)
    run(page, "plot(sin, 0, 7)")
    book.locator(".jp-RenderedImage img").wait_for()
    page.context.close()
