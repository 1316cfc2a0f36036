"""A real browser at the hosted notebook, and the pictures that it leaves."""

from pathlib import Path

from guest import Guest
from playwright.sync_api import Browser, Page, expect

PATIENCE = 30_000  # milliseconds: build hosts are busy
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
PICTURES = Path(__file__).parents[4] / "dist" / "screenshots"


def window(browser: Browser, *, phone: bool = False) -> Page:
    """A new window without cookies."""
    context = browser.new_context(
        ignore_https_errors=True, accept_downloads=True, viewport=PHONE if phone else DESKTOP
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    return page


def sign_in(page: Page, guest: Guest, name: str, password: str = "correct horse") -> None:  # noqa: S107
    """Sign in by the form."""
    page.goto(f"{guest.url}/hub/login")
    page.fill("#username_input", name)
    page.fill("#password_input", password)
    page.click("#login_submit")
    page.wait_for_load_state()


def sign_in_as_admin(page: Page, guest: Guest) -> None:
    """Sign in with the password of first boot, and give it again for what asks for it again."""
    password = guest.run("cat /var/lib/notebook/first-password").strip()
    sign_in(page, guest, "sageadm", password)
    page.goto(f"{guest.url}/hub/confirm?next=/hub/home")
    page.fill("#password_again", password)
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url("**/hub/home")


def picture(page: Page, name: str) -> Path:
    """Keep a picture of the page; nothing of it may be wider than the window."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    path = PICTURES / f"{name}.png"
    page.screenshot(path=path)
    return path


def fits(page: Page) -> bool:
    """Whether nobody has to scroll sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))
