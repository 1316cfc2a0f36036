"""An extension of the session's notebook server: usage, stores with their clock, downloads, books.

Root's sampler writes the usage (``usage``), and ``account`` binds it into the session.
"""

import asyncio
import json
import resource
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyter_server.base.handlers import JupyterHandler  # type: ignore[import-not-found]
from tornado import web

from provision.guest.documentation import shelf
from provision.guest.hub import download, links
from provision.guest.stores import desk, timer
from provision.guest.stores.remotes import StoreError

USAGE = Path("/run/usage/usage.json")


class UsageHandler(JupyterHandler):  # type: ignore[misc]  # jupyter_server is the guest's
    """``GET api/appliance/usage``."""

    @web.authenticated
    def get(self) -> None:
        """What this session uses and what is left; empty while it is not known."""
        try:
            found = json.loads(USAGE.read_text())
        except (OSError, ValueError):
            found = {}
        largest, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        known = largest != resource.RLIM_INFINITY
        stores = desk.COMMAND.exists()
        known_books = shelf.KNOWN.exists()
        self.finish(
            {
                **found,
                "file": largest if known else None,
                "stores": stores,
                "documentation": known_books,
            }
        )


class StoresHandler(JupyterHandler):  # type: ignore[misc]  # jupyter_server is the guest's
    """``appliance/stores``: a page."""

    def initialize(self, desk: desk.Desk) -> None:
        """Take what all requests share."""
        self.desk = desk

    @web.authenticated
    def get(self) -> None:
        """Show what is connected, what is under way, and forms."""
        self.set_header("Cache-Control", "no-store")
        self.finish(self.desk.page(self.xsrf_form_html(), f"{self.base_url}lab"))

    @web.authenticated
    async def post(self) -> None:
        """Do what a form says."""
        action = self.get_body_argument("action", "")
        try:
            if action == "answer":
                self.desk.answer(self.get_body_argument("line"))
            elif action == "stop":
                self.desk.stop()
            else:
                await self.desk.begin(*desk.words(lambda name: self.get_body_argument(name, "")))
        except StoreError as error:
            self.desk.refuse(str(error))
        self.redirect(self.request.path)


class DownloadHandler(JupyterHandler):  # type: ignore[misc]  # jupyter_server is the guest's
    """``appliance/download?url=…``: a page that asks before it does anything, and what it does."""

    @web.authenticated
    def get(self) -> None:
        """Ask."""
        self._show(self.get_query_argument("url", ""), self.get_query_argument("name", ""))

    @web.authenticated
    async def post(self) -> None:
        """Bring the file, and show it in the notebook."""
        url, name = self.get_body_argument("url", ""), self.get_body_argument("name", "")
        try:
            file = await asyncio.to_thread(download.download, url, Path.home(), name)
        except download.DownloadError as error:
            self._show(url, name, str(error))
        else:
            self.redirect(f"{self.base_url}lab/tree/{quote(file.name)}")

    def _show(self, url: str, name: str, wrong: str = "") -> None:
        self.set_header("Cache-Control", "no-store")
        lab = f"{self.base_url}lab"
        self.finish(download.page(self.xsrf_form_html(), lab, url, name, wrong))


class DocumentationHandler(JupyterHandler):  # type: ignore[misc]  # jupyter_server is the guest's
    """``appliance/documentation/?q=…``: a page with the books, and what is found in them."""

    @web.authenticated
    async def get(self) -> None:
        """Show it."""
        base = f"{self.base_url}appliance/documentation/"
        if not self.request.path.endswith("/"):
            self.redirect(base)
            return
        self.set_header("Content-Security-Policy", shelf.policy("", base))
        query = self.get_query_argument("q", "")
        found = await asyncio.to_thread(
            shelf.page, query, shelf.books(), base, f"{self.base_url}lab"
        )
        self.finish(found)


class BookHandler(JupyterHandler, web.StaticFileHandler):  # type: ignore[misc]  # likewise
    """``appliance/documentation/BOOK/…``: root's files, which may run no script but their own."""

    def set_extra_headers(self, path: str) -> None:
        """Close the page to all but the book."""
        base = f"{self.base_url}appliance/documentation/"
        self.set_header("Content-Security-Policy", shelf.policy(self.request.host, base))
        self.set_header("Cache-Control", "private, max-age=600")

    @web.authenticated
    async def get(self, name: str, path: str) -> None:  # type: ignore[override]
        """Send a file of a book."""
        await self._send(name, path, include_body=True)

    @web.authenticated
    async def head(self, name: str, path: str) -> None:  # type: ignore[override]
        """What ``get`` would send, but for the file."""
        await self._send(name, path, include_body=False)

    async def _send(self, name: str, path: str, *, include_body: bool) -> None:
        found = [book for book in shelf.books() if book.name == name]
        if not found:
            raise web.HTTPError(404)
        self.root = str(found[0].place)
        await web.StaticFileHandler.get(self, path, include_body)


def _load_jupyter_server_extension(app: Any) -> None:
    links.mend()
    base = app.web_app.settings["base_url"].rstrip("/")
    app.web_app.add_handlers(".*", [(f"{base}/api/appliance/usage", UsageHandler)])
    app.web_app.add_handlers(".*", [(f"{base}/appliance/download", DownloadHandler)])
    if shelf.KNOWN.exists():
        place = f"{base}/appliance/documentation"
        below = {"path": str(shelf.KNOWN.parent), "default_filename": "index.html"}
        app.web_app.add_handlers(".*", [(f"{place}/?", DocumentationHandler)])
        app.web_app.add_handlers(".*", [(f"{place}/([a-z]+)/(.*)", BookHandler, below)])
    if desk.COMMAND.exists():
        told = {"desk": desk.Desk()}
        app.web_app.add_handlers(".*", [(f"{base}/appliance/stores", StoresHandler, told)])


async def _start_jupyter_server_extension(app: Any) -> None:
    app.stores_clock = asyncio.create_task(timer.keep(Path.home()))


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]
