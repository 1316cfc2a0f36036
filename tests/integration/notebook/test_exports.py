"""What *Save and Export Notebook As* offers works, and is complete without a network."""

import base64
import json
import struct
import urllib.request
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from guest import Guest
from playwright.sync_api import Browser, expect
from student import Student

NAME = "Blatt 1 [ü] & <b>.ipynb"
OFFERED = {"html", "markdown", "notebook", "pdf", "python", "script", "slides"}
FORMULAS = r"""# Übung $x^2$

It costs \$5; $\frac{a}{b}$, and

$$\int_0^\infty e^{-x^2}\,dx = \frac{\sqrt\pi}{2}$$

\begin{align}a &= b\\ c &= d_\text{für}\end{align}

![own](own.png) ![elsewhere](https://elsewhere.test/x.png)

```python
no = "$formula$"
```
"""
SAGES = r"<html>\(\displaystyle \newcommand{\Bold}[1]{\mathbf{#1}}\frac{1}{2} \in \Bold{Q}\)</html>"


def png(color: bytes) -> bytes:
    """A small picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + color * 8) * 8)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def scene() -> str:
    """What Sage shows for a picture in three dimensions: a page in a frame."""
    corners = [dict.fromkeys("xyz", -1), dict.fromkeys("xyz", 1)]
    points = [{"x": x, "y": y, "z": x * y} for x in (-1, 0, 1) for y in (-1, 0, 1)]
    faces = [[n, n + 1, n + 4, n + 3] for n in (0, 1, 3, 4)]
    found = {"options": {"aspectRatio": [1, 1, 1], "axesLabels": ["x", "y", "z"]}, "b": corners}
    found |= {"texts": [], "points": [], "lines": []}  # type: ignore[dict-item]
    found |= {"surfaces": [{"vertices": points, "faces": faces, "color": "#6666ff"}]}
    said = "".join(f"var {name} = {json.dumps(each)};\n" for name, each in found.items())
    program = '<script src="/nbextensions/threejs-sage/r122/three.min.js"></script>'
    page = f"{program}<script>{said}</script>"
    page = page.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return f'<iframe srcdoc="{page}" width="100%" height="400"></iframe>'


def shown(number: int, source: str, **data: str) -> dict[str, Any]:
    """A cell and its answer."""
    data = {
        kind.replace("_", "/").replace("svg/xml", "svg+xml"): each for kind, each in data.items()
    }
    output = {"output_type": "execute_result", "data": data, "metadata": {}}
    output["execution_count"] = number
    return {
        **{"cell_type": "code", "id": f"c{number}", "metadata": {}, "source": source},
        **{"execution_count": number, "outputs": [output]},
    }


@pytest.fixture(scope="module")
def hilbert(guest: Guest) -> Iterator[Student]:
    """A student with a notebook of everything."""
    student = Student(guest.url, "hilbert").sign_in().start()
    picture = base64.b64encode(png(b"\xff\0\0")).decode()
    cells = [
        {"cell_type": "markdown", "id": "m", "metadata": {}, "source": FORMULAS},
        shown(1, "plot(sin)", image_png=picture, text_plain="Graphics object"),
        shown(2, "plot3d(x * y)", text_html=scene(), text_plain="Graphics3d Object"),
        shown(3, "show(1/2)", text_html=SAGES, text_plain="1/2"),
        shown(4, "df", text_html="<table><tr><td>$3</td></tr></table>", text_plain="3"),
        shown(5, "f", text_html='<iframe src="https://elsewhere.test/"></iframe>', text_plain="f"),
    ]
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": cells, "metadata": {"kernelspec": spec}, "nbformat": 4}
    pasted = {"blue 1.png": {"image/png": base64.b64encode(png(b"\0\0\xff")).decode()}}
    tag = '<img width="20" src="attachment:blue%201.png">'
    cells += [{**cells[0], "id": "pasted", "source": tag, "attachments": pasted}]
    content = {"type": "notebook", "content": {**notebook, "nbformat_minor": 5}}
    student.server("PUT", f"contents/{quote(NAME)}", content)
    own = {"type": "file", "format": "base64"}
    own["content"] = base64.b64encode(png(b"\0\xff\0")).decode()
    student.server("PUT", "contents/own.png", own)
    yield student
    student.stop()


class Loaded(HTMLParser):
    """What a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "a":
            self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]


def export(student: Student, form: str) -> bytes:
    """One export, as the menu asks for it."""
    path = f"/user/{student.name}/nbconvert/{form}/{quote(NAME)}?download=true"
    request = urllib.request.Request(student.url + path)
    request.add_header("Authorization", f"token {student.token}")
    with urllib.request.urlopen(request, timeout=120) as answer:
        return bytes(answer.read())


def test_all_that_is_offered_works(hilbert: Student) -> None:
    assert set(hilbert.server("GET", "nbconvert")) == OFFERED
    for form in OFFERED:
        assert export(hilbert, form)


def test_a_page_needs_nothing_besides_itself(hilbert: Student) -> None:
    for form in ("html", "slides"):
        page = export(hilbert, form).decode()
        seen = Loaded()
        seen.feed(page)
        assert [each for each in seen.addresses if not each.startswith(("data:", "#"))] == []
        assert page.count('class="formula') == 5
        assert page.count("<polygon") == 4
        assert "$formula$" in page
        for color in (b"\0\xff\0", b"\0\0\xff"):
            assert base64.b64encode(png(color)).decode() in page
        assert "<td>$3</td>" in page


def test_a_pdf_has_pictures_formulas_and_pages(hilbert: Student) -> None:
    document = export(hilbert, "pdf")
    assert document.startswith(b"%PDF-")
    assert document.rstrip().endswith(b"%%EOF")
    assert document.count(b"/Image") >= 3
    assert len(document) > 20_000


def test_what_is_exported_is_seen_without_a_network(
    hilbert: Student, tmp_path: Path, browser: Browser
) -> None:
    context = browser.new_context(offline=True)
    for form in ("html", "slides"):
        file = tmp_path / f"{form}.html"
        file.write_bytes(export(hilbert, form))
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message, said=said: said.append(message.text))
        page.on("pageerror", lambda error, said=said: said.append(str(error)))
        page.goto(file.as_uri())
        expect(page.locator(".formula svg").first).to_be_visible()
        if form == "slides":
            expect(page.locator(".reveal.ready")).to_be_visible()
        assert page.locator("mjx-container, [data-mjx-error]").count() == 0
        assert said == []
    context.close()


def test_the_menu_offers_what_works(hilbert: Student, browser: Browser) -> None:
    page = browser.new_page()
    page.set_default_timeout(120_000)
    expect.set_options(timeout=120_000)
    page.goto(f"{hilbert.url}/hub/login")
    page.fill("#username_input", hilbert.name)
    page.fill("#password_input", hilbert.password)
    page.click("#login_submit")
    page.wait_for_load_state()
    page.goto(f"{hilbert.url}/user/{hilbert.name}/lab/tree/{quote(NAME)}")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    menu = page.locator("#jp-mainmenu-file-notebookexport")
    for _ in range(60):  # it is empty until the page has asked the server
        page.keyboard.press("Escape")
        page.keyboard.press("Escape")
        page.get_by_role("menuitem", name="File", exact=True).click()
        page.get_by_text("Save and Export Notebook As").click()
        page.wait_for_timeout(500)
        if menu.get_by_text("PDF", exact=True).count():
            break
    entries = [each.strip() for each in menu.inner_text().split("\n") if each.strip()]
    assert sorted(entries) == ["Executable Script", "HTML", "Markdown", "PDF", "Reveal.js Slides"]
    with page.context.expect_event(
        "response", lambda answer: "/nbconvert/pdf/" in answer.url
    ) as answered:
        menu.get_by_text("PDF", exact=True).click()
    assert answered.value.status == 200
    assert answered.value.headers["content-type"].startswith("application/pdf")
    page.context.close()
