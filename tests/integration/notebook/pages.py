"""The hub's pages, as a hand in a browser uses them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import axe_playwright_python
from playwright.sync_api import Frame, Page


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


def accessible(page: Page | Frame, schemes: Sequence[str] = ("light", "dark")) -> None:
    """The page keeps WCAG 2.2 AA, in light and dark, and says where one is; axe-core looks.

    Args:
        page: as it is now, or what another page shows inside.
        schemes: of its colours.
    """
    script = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text()
    chosen: dict[str, Any] = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
    further = ("landmark-one-main", "page-has-heading-one", "region")
    chosen["rules"] = {rule: {"enabled": True} for rule in further}
    wrong = []
    page.evaluate(script)
    for scheme in schemes:
        page.evaluate("scheme => document.documentElement.dataset.bsTheme = scheme", scheme)
        # A colour that is on its way to another is neither.
        page.add_style_tag(content="* { transition: none !important }")
        found = page.evaluate("chosen => axe.run(document, chosen)", chosen)
        wrong += [
            (scheme, each["id"], node["html"][:200], node["failureSummary"])
            for each in found["violations"]
            for node in each["nodes"]
        ]
    assert not wrong, f"{page.url}: {wrong}"
    assert page.title() not in ("", "JupyterHub")
