"""What the page of stores calls, with the command and real servers."""

import asyncio
import shlex
import sys
import time
from pathlib import Path

from storehome import Home, host_environment

from provision.guest.stores.desk import Desk, words
from tests.integration.webdav import PASSWORD, USER


def desk(home: Home) -> Desk:
    command = home.path.parent / "store"
    env = {"HOME": str(home.path), "PATH": host_environment()["PATH"], "PYTHONPATH": ""}
    told = shlex.join([f"{key}={value}" for key, value in env.items()])
    command.write_text(
        f"#!/bin/sh\nexec env -i {told} {sys.executable} -m provision.guest.stores $@"
    )
    command.chmod(0o755)
    return Desk(command, home.path)


async def until_done(desk: Desk) -> str:
    deadline = time.monotonic() + 120
    while desk.working:
        assert time.monotonic() < deadline, desk.said
        await asyncio.sleep(0.05)
    return desk.said


def test_forms_connect_synchronise_and_forget(home: Home, dav: tuple[str, Path]) -> None:
    url, root = dav
    page = desk(home)
    connect = {"action": "connect", "kind": "webdav", "name": "dav", "url": url, "user": USER}

    async def do(**form: str) -> str:
        await page.begin(*words(lambda name: form.get(name, "")))
        return await until_done(page)

    async def work() -> None:
        assert "Unauthorized" in await do(**connect, password=f"not {PASSWORD}")
        assert page.failed
        assert "are connected" in await do(**connect, password=PASSWORD)
        assert not page.failed
        (home.path / "dav").mkdir()
        (home.path / "dav" / "one").write_text("one\n")
        assert "1 sent" in await do(action="sync")
        assert 'data-store="dav"' in page.page(b"", "").decode()
        assert "is forgotten" in await do(action="disconnect", name="dav")

    asyncio.run(work())
    assert (root / "notebook" / "one").read_text() == "one\n"


def test_leave_for_google_is_asked_for_and_may_be_given_up(home: Home) -> None:
    page = desk(home)

    async def begin() -> None:
        await page.begin(["connect", "drive", "drive"])
        deadline = time.monotonic() + 120
        while not page.address:
            assert page.working and time.monotonic() < deadline, page.said
            await asyncio.sleep(0.05)
        assert page.address.startswith("https://accounts.google.com/")

    async def work() -> None:
        await begin()
        page.answer("http://127.0.0.1/nothing")
        assert "this is not an address" in await until_done(page)
        await begin()  # rclone of the first time has gone
        page.stop()
        assert "Given up" in await until_done(page)
        await begin()  # and that of the second time, too
        page.stop()
        await until_done(page)

    asyncio.run(work())
