"""The hub's pages, as a hand in a browser uses them."""

from playwright.sync_api import Page


def sign_in(page: Page, url: str, name: str, password: str) -> None:
    """Fill in the form of the notebook at ``url``, and arrive where it leads."""
    page.goto(f"{url}/hub/login?next=%2Fhub%2Fhome")
    page.fill("#username_input", name)
    page.fill("#password_input", password)
    page.click("#login_submit")
    page.wait_for_load_state()


def change(page: Page, url: str, old: str, new: str, again: str) -> None:
    """Ask for another password of one's own."""
    page.goto(f"{url}/hub/auth/change-password")
    page.get_by_label("Old password").fill(old)
    page.get_by_label("New password, at least").fill(new)
    page.get_by_label("once more").fill(again)
    page.get_by_role("button", name="Change my password").click()


def add(page: Page, url: str, text: str, password: str) -> None:
    """Add a class by typing; the password is asked for where it was not given lately."""
    page.goto(f"{url}/hub/classroom/add")
    page.get_by_label("Names", exact=True).fill(text)
    page.get_by_role("button", name="Add them").click()
    done, again = page.get_by_role("status"), page.get_by_label("Your password")
    done.or_(again).first.wait_for()
    if again.count():
        again.fill(password)
        page.get_by_role("button", name="Add them").click()
    done.wait_for()
