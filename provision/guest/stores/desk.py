"""The command ``store`` behind a page of the session's own server: for who prefers a form."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tornado.template import Template

from provision.guest.stores.remotes import NAME, StoreError, StudentStores

COMMAND = Path("/usr/local/bin/store")  # there only where the appliance has stores
_ADDRESS = re.compile(r"https?://\S+")


@dataclass
class Desk:
    """One call of the command at a time.

    Args:
        command: the command.
        home: the student's home directory.
    """

    command: Path = COMMAND
    home: Path = field(default_factory=Path.home)
    said: str = ""
    failed: bool = False
    _asks: bool = False
    _given_up: bool = False
    _process: asyncio.subprocess.Process | None = None
    _following: asyncio.Task[None] | None = None

    @property
    def working(self) -> bool:
        """Whether a call is under way."""
        return self._following is not None and not self._following.done()

    @property
    def address(self) -> str:
        """What the student is to open before the call goes on; empty: nothing."""
        found = _ADDRESS.search(self.said) if self.working and self._asks else None
        return found[0] if found else ""

    async def begin(self, words: Sequence[str], lines: Sequence[str] = ()) -> None:
        """Begin a call.

        Args:
            words: of the command.
            lines: what it asks for, secrets among them: they go to its standard input.

        Raises:
            StoreError: another is under way.
        """
        if self.working:
            raise StoreError("the last one is still at work")
        self.said, self.failed, self._given_up = "", False, False
        self._asks = "drive" in words
        self._process = await asyncio.create_subprocess_exec(
            self.command,
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self._following = asyncio.create_task(self._follow(self._process))
        for line in lines:
            self._write(line)

    def answer(self, line: str) -> None:
        """Give the call the address that it waits for."""
        self.said, self._asks = "", False
        self._write(line)

    def _write(self, line: str) -> None:
        if self.working and self._process and self._process.stdin:
            self._process.stdin.write(line.replace("\n", " ").encode() + b"\n")

    def stop(self) -> None:
        """Give the call up, and rclone with it."""
        if self.working and self._process:
            self._given_up, self._asks = True, False
            os.killpg(self._process.pid, signal.SIGTERM)

    def refuse(self, why: str) -> None:
        """Show why nothing was begun."""
        if not self.working:
            self.said, self.failed = why, True

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        while line := await process.stdout.readline() if process.stdout else b"":
            self.said += line.decode(errors="replace")
        self.failed = await process.wait() != 0
        if self._given_up:
            self.said = "Given up; what was done stays."

    def page(self, form: bytes, lab: str) -> bytes:
        """The page as HTML.

        Args:
            form: a hidden field that every form has to have.
            lab: the address of the notebook.
        """
        stores = StudentStores(self.home)
        rows = []
        for name in stores.names():
            store, last = stores.get(name), stores.state(name)["last"]
            when = time.strftime("%F %H:%M", time.localtime(last["time"])) if last else "not yet"
            rows.append((store, when, "; ".join(last["problems"]) if last else ""))
        return _PAGE.generate(desk=self, rows=rows, form=form, lab=lab)


def words(form: Callable[[str], str]) -> tuple[list[str], list[str]]:
    """A filled-in form as words of the command, and what the command asks for.

    Args:
        form: the value of a field; empty: it was not filled in.

    Raises:
        StoreError: it cannot be done.
    """
    name, action = form("name"), form("action")
    if name and not NAME.fullmatch(name):
        raise StoreError(f"{name!r} is not a name: small letters, digits and -")
    if action in ("sync", "disconnect") and name:
        return [action, name], []
    if action == "sync":
        return ["sync"], []
    if action != "connect" or not name:
        raise StoreError(f"there is no {action!r} here, or it needs a name")

    def fields(*names: str) -> list[str]:
        return [f"--{name}={form(name)}" for name in names if form(name)]

    match kind := form("kind"):
        case "webdav" | "nextcloud":
            options = [*fields("folder", "url", "user"), *["--nextcloud"] * (kind == "nextcloud")]
            return ["connect", name, "webdav", *options], [form("password")]
        case "s3":
            options = fields("folder", "url", "bucket", "region")
            return ["connect", name, "s3", *options], [form("key"), form("password")]
        case "drive":
            secret = [form("password")] if form("client-id") else []
            return ["connect", name, "drive", *fields("folder", "client-id")], secret
    raise StoreError(f"{kind!r} is no kind of store")


_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Stores</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
{% if desk.working and not desk.address %}<meta http-equiv="refresh" content="2">{% end %}
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 1rem auto; padding: 0 1rem; }
  form, .store { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: end; margin: .6rem 0; }
  .store { border-top: 1px solid #ccc; padding-top: .6rem; align-items: center; }
  .store form { margin: 0; }
  label { display: flex; flex-direction: column; flex: 1 1 12rem; font-size: .9rem; }
  input { font: inherit; padding: .3rem; } button { font: inherit; padding: .3rem .8rem; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f3f3f3; padding: .6rem; }
  .wrong { color: #b00020; } a, .remote { overflow-wrap: anywhere; }
</style></head><body>
<p><a href="{{ lab }}">Back to the notebook</a></p>
<h1>Stores</h1>
<p>A folder of yours here and one of a store elsewhere, kept alike. What a synchronisation replaces or
removes is kept on both sides.</p>
{% if desk.address %}
<p>Open this address and allow the access. The browser ends at a page that cannot be shown; copy that
page's address into the field.</p>
<p><a href="{{ desk.address }}" target="_blank" rel="noreferrer">{{ desk.address }}</a></p>
<form method="post">{% raw form %}<label>The address at the end <input name="line" required></label>
  <button name="action" value="answer">Go on</button></form>
{% elif desk.working %}<p role="status">At work …</p>
{% elif desk.said %}<pre role="status"{% if desk.failed %} class="wrong"{% end %}>{{ desk.said }}</pre>{% end %}
{% if desk.working %}
<form method="post">{% raw form %}<button name="action" value="stop">Give up</button></form>
{% else %}
{% for store, when, wrong in rows %}
<div class="store" data-store="{{ store.name }}"><b>~/{{ store.name }}</b>
  <span class="remote">{{ store.kind }} {{ store.remote }}</span> <span>last alike: {{ when }}</span>
  {% if wrong %}<span class="wrong">{{ wrong }}</span>{% end %}
  <form method="post">{% raw form %}<input type="hidden" name="name" value="{{ store.name }}">
    <button name="action" value="sync">Synchronise now</button>
    <button name="action" value="disconnect">Disconnect</button></form></div>
{% end %}
<h2>Connect</h2>
{% set kinds = (("nextcloud", "Nextcloud"), ("webdav", "WebDAV"), ("s3", "S3"), ("drive", "Google Drive")) %}
{% for kind, title in kinds %}
<details data-kind="{{ kind }}"><summary>{{ title }}</summary>
<form method="post" autocomplete="off">{% raw form %}<input type="hidden" name="kind" value="{{ kind }}">
  <label>Folder here <input name="name" required pattern="[a-z][a-z0-9\\-]*" placeholder="cloud"></label>
  <label>Folder there <input name="folder" placeholder="notebook"></label>
  {% if kind != "drive" %}<label>Address <input name="url" type="url" required placeholder="https://"></label>{% end %}
  {% if kind in ("nextcloud", "webdav") %}<label>User <input name="user" required></label>
  <label>Password <input name="password" type="password" required></label>
  {% elif kind == "s3" %}<label>Bucket <input name="bucket" required></label>
  <label>Region <input name="region" placeholder="if it has any"></label>
  <label>Access key <input name="key" required></label>
  <label>Secret key <input name="password" type="password" required></label>
  {% else %}<label>The school's client <input name="client-id" placeholder="if it has any"></label>
  <label>Its secret <input name="password" type="password"></label>{% end %}
  <button name="action" value="connect">Connect</button></form></details>
{% end %}
{% end %}
</body></html>
""")  # noqa: E501
