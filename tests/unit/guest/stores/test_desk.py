"""The page of stores: forms in words of the command, and one call at a time."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.guest.stores.desk import Desk, words
from provision.guest.stores.remotes import StoreError, StudentStores


def form(**fields: str) -> Callable[[str], str]:
    return lambda name: fields.get(name.replace("-", "_"), "")


def test_a_form_is_a_call_whose_secrets_are_no_words() -> None:
    given = form(
        **{"action": "connect", "kind": "nextcloud", "name": "cloud", "url": "https://c.test/dav"},
        **{"user": "emmy", "password": "secret"},
    )
    assert words(given) == (
        ["connect", "cloud", "webdav", "--url=https://c.test/dav", "--user=emmy", "--nextcloud"],
        ["secret"],
    )
    given = form(
        **{"action": "connect", "kind": "s3", "name": "s", "url": "https://s.test", "bucket": "b"},
        **{"key": "k", "password": "secret", "folder": "f"},
    )
    assert words(given) == (
        ["connect", "s", "s3", "--folder=f", "--url=https://s.test", "--bucket=b"],
        ["k", "secret"],
    )
    given = form(
        **{"action": "connect", "kind": "drive", "name": "drive"},
        **{"client_id": "c", "password": "secret"},
    )
    assert words(given) == (["connect", "drive", "drive", "--client-id=c"], ["secret"])
    assert words(form(action="sync", name="cloud")) == (["sync", "cloud"], [])
    assert words(form(action="sync")) == (["sync"], [])


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"action": "sync", "name": "--help"}, "not a name"),
        ({"action": "disconnect"}, "needs a name"),
        ({"action": "rm", "name": "cloud"}, "no 'rm' here"),
        ({"action": "connect", "name": "cloud", "kind": "floppy"}, "no kind of store"),
    ],
)
def test_other_forms_are_refused(fields: dict[str, str], why: str) -> None:
    with pytest.raises(StoreError, match=why):
        words(form(**fields))


def test_the_page_shows_what_is_connected_and_escapes_it(tmp_path: Path) -> None:
    stores = StudentStores(tmp_path)
    stores.add("cloud", "<b>", {"type": "webdav"})
    stores.keep("cloud", {"files": {}, "last": {"time": 0, "problems": ["<i> is full"]}})
    desk = Desk(tmp_path / "store", tmp_path)
    page = desk.page(b'<input name="_xsrf">', "/user/emmy/lab").decode()
    assert "cloud:&lt;b&gt;" in page
    assert "&lt;i&gt; is full" in page
    assert page.count('name="_xsrf"') == page.count("<form") == 5
    desk.refuse("<u>")
    assert '<pre role="status" class="wrong">&lt;u&gt;</pre>' in desk.page(b"", "").decode()


def test_a_call_asks_and_is_answered(tmp_path: Path) -> None:
    """In processes: tests/integration/notebook/hosted/test_stores.py."""
    command = tmp_path / "store"
    assert not command.exists()
    desk = Desk(command, tmp_path)
    assert (desk.working, desk.address) == (False, "")
    desk.answer("nobody asked")
    desk.stop()
    with pytest.raises(FileNotFoundError):
        asyncio.run(desk.begin(["sync"]))
    assert not desk.working
