"""The exports of *File > Save and Export Notebook As*, in nbconvert's terms.

nbconvert's own pages load MathJax, require.js, jQuery and reveal.js from networks that a class does
not have, and its PDF needs a TeX or a browser of 700 MB. These make a file that is complete.
"""

import base64
import copy
import html
import mimetypes
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, NavigableString, Tag  # type: ignore[import-not-found]
from nbconvert.exporters import HTMLExporter, SlidesExporter  # type: ignore[import-not-found]

from provision.guest.exports import formulas, scene

HERE = Path(__file__).parent
# Where a browser's MathJax looks for no formulas, and we neither.
PLAIN = ("pre", "code", "script", "style", "textarea", "svg", "title", "math")
PASTED = re.compile(r"""(<img\b[^>]*?\bsrc\s*=\s*["']?)attachment:([^"'\s>]+)""", re.IGNORECASE)
LOADED = re.compile(r"""src=["']?(https?:|/)""")
PICTURES = ("image/svg+xml", "image/png", "image/jpeg")
PRIORITY = ("text/html", "text/markdown", *PICTURES, "text/latex", "text/plain")
SLIDES = """
Reveal.initialize({controls: true, progress: true, history: true, transition: "slide"});
"""


def complete(page: str, *, folder: str = "") -> BeautifulSoup:
    """A page that needs nothing besides itself.

    Args:
        page: nbconvert's.
        folder: of the notebook, whose pictures are taken into the page.
    """
    soup = BeautifulSoup(page, "html.parser")
    for element in soup.find_all(["script", "link"]):
        if _elsewhere(element.get("src") or element.get("href") or "") or _loads(element):
            element.decompose()
    for frame in soup.find_all("iframe"):
        _still(frame)
    for picture in soup.find_all("img"):
        _embed(picture, folder)
    _set_formulas(soup)
    return soup


def _elsewhere(address: str) -> bool:
    return address.startswith(("http:", "https:", "//"))


def _loads(element: Tag) -> bool:
    """Whether a program of nbconvert's own asks a network for another."""
    text = element.get_text()
    return element.name == "script" and bool(re.search(r"(mermaid|MathJax)[\s\S]*https?://", text))


def _still(frame: Tag) -> None:
    """A picture in the place of a frame, whose program would come from a server."""
    if found := scene.read(frame.get("srcdoc") or ""):
        frame.replace_with(BeautifulSoup(scene.draw(found), "html.parser"))
    elif _elsewhere(frame.get("src") or "") or LOADED.search(frame.get("srcdoc") or ""):
        said = BeautifulSoup("<p><em>Only in the notebook: a frame.</em></p>", "html.parser")
        frame.replace_with(said)


def _embed(picture: Tag, folder: str) -> None:
    address = picture.get("src") or ""
    if _elsewhere(address):
        said = picture.get("alt") or address
        picture.replace_with(f"[{said}]")
    elif folder and not urlsplit(address).scheme:
        path = Path(folder, unquote(address))
        kind = mimetypes.guess_type(path.name)[0]
        if kind and path.is_file():
            content = base64.b64encode(path.read_bytes()).decode()
            picture["src"] = f"data:{kind};base64,{content}"


def _set_formulas(soup: BeautifulSoup) -> None:
    setter = None
    for words in soup.find_all(string=formulas.FORMULA):
        if words.find_parent(PLAIN) is not None or type(words) is not NavigableString:
            continue
        setter = setter or formulas.Setter()
        parts: list[Any] = []
        for text, display in formulas.split(str(words)):
            if display is None:
                parts.append(NavigableString(text))
                continue
            name = "formula display" if display else "formula"
            fresh = soup.new_tag("span", attrs={"class": name, "title": text})
            fresh.append(BeautifulSoup(setter.set(text, display), "html.parser"))
            parts.append(fresh)
        words.replace_with(*parts)
    if setter is not None and soup.head is not None:
        style = soup.new_tag("style")
        style.string = ".formula.display{display:block;text-align:center;margin:.6em 0}"
        soup.head.append(style)


def _embed_attachments(cell: Any) -> Any:
    """A cell whose own pictures are in its tags; nbconvert puts them into Markdown's alone."""
    pasted = cell.get("attachments") or {}

    def put(tag: re.Match[str]) -> str:
        for kind, content in pasted.get(unquote(tag[2]), {}).items():
            return f"{tag[1]}data:{kind};base64,{content}"
        return tag[0]

    if pasted:
        cell.source = PASTED.sub(put, cell.source)
    return cell


class _Drawn:
    """An export in which no program in the browser draws an output."""

    preferred: Sequence[str] = ()  # forms of an output before all others

    @property
    def default_config(self) -> Any:
        """nbconvert's, and which form of an output is shown."""
        config = super().default_config.copy()  # type: ignore[misc]
        config.NbConvertBase.display_data_priority = [*self.preferred, *PRIORITY]
        return config

    def from_notebook_node(self, nb: Any, resources: Any = None, **more: Any) -> tuple[Any, Any]:
        """The export of a copy that has its pasted pictures where they are shown."""
        nb = copy.deepcopy(nb)
        nb.cells = [_embed_attachments(cell) for cell in nb.cells]
        return super().from_notebook_node(nb, resources, **more)  # type: ignore[misc, no-any-return]


class PageExporter(_Drawn, HTMLExporter):  # type: ignore[misc]  # nbconvert has no types
    """A web page."""

    export_from_notebook = "HTML"

    def from_notebook_node(
        self, nb: Any, resources: Any = None, **more: Any
    ) -> tuple[str, dict[str, Any]]:
        """The page, complete in itself."""
        page, resources = super().from_notebook_node(nb, resources, **more)
        return str(complete(page, folder=_folder(resources))), resources


class SlidesPageExporter(_Drawn, SlidesExporter):  # type: ignore[misc]  # nbconvert has no types
    """Slides that a browser shows, with reveal.js in them."""

    export_from_notebook = "Reveal.js slides"

    def from_notebook_node(
        self, nb: Any, resources: Any = None, **more: Any
    ) -> tuple[str, dict[str, Any]]:
        """The slides, complete in themselves."""
        page, resources = super().from_notebook_node(nb, resources, **more)
        soup = complete(page, folder=_folder(resources))
        for script in soup.find_all("script"):
            if "Reveal.initialize" in script.get_text():
                script.decompose()
        spec = find_spec("sphinx_revealjs")
        if spec is None or spec.origin is None:
            raise RuntimeError("reveal.js is not installed")
        root = Path(spec.origin).parent / "_static/revealjs/dist"
        for name in ("reveal.css", "theme/white.css"):
            style = soup.new_tag("style")
            style.string = _without_imports((root / name).read_text())
            soup.head.append(style)
        for text in ((root / "reveal.js").read_text(), SLIDES):
            script = soup.new_tag("script")
            script.string = text
            soup.body.append(script)
        return str(soup), resources


class PdfExporter(_Drawn, HTMLExporter):  # type: ignore[misc]  # nbconvert has no types
    """A PDF, to hand in."""

    export_from_notebook = "PDF"
    output_mimetype = "application/pdf"
    preferred = PICTURES

    def get_template_names(self) -> list[str]:
        """nbconvert's for pages, which it would not take for a PDF."""
        return ["basic", "classic", "base"]

    def from_notebook_node(
        self, nb: Any, resources: Any = None, **more: Any
    ) -> tuple[bytes, dict[str, Any]]:
        """The document."""
        from weasyprint import HTML  # type: ignore[import-not-found]  # noqa: PLC0415
        from weasyprint.urls import URLFetcher  # type: ignore[import-not-found]  # noqa: PLC0415

        body, resources = super().from_notebook_node(nb, resources, **more)
        resources["output_extension"] = ".pdf"
        name = html.escape(str(nb.metadata.get("title") or resources["metadata"]["name"]))
        style = (HERE / "print.css").read_text()
        css = "\n".join(resources.get("inlining", {}).get("css", []))
        page = (
            f"<!DOCTYPE html><html><head><meta charset='utf-8'><title>{name}</title>"
            f"<style>{css}\n{style}</style></head><body>{body}</body></html>"
        )
        soup = complete(page, folder=_folder(resources))
        only = URLFetcher(allowed_protocols=["data"])  # what is in the page
        return HTML(string=str(soup), url_fetcher=only).write_pdf(), resources


def _folder(resources: Any) -> str:
    return str(resources.get("metadata", {}).get("path") or "")


def _without_imports(css: str) -> str:
    return re.sub(r"@import url\([^)]*\);?", "", css)
