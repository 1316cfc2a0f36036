"""Students' stores in a session: through the filtering proxy only, and by the clock.

What a synchronisation does is in tests/integration/stores.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from browser import PHONE, fits, picture, sign_in, window
from guest import Guest
from playwright.sync_api import Browser, expect
from student import Kernel, Student

from provision.process import require
from tests.integration.webdav import HOSTED_PORT, PASSWORD, USER, webdav

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RECORD = "/etc/notebook/guest.json"
CONNECT = (
    f"echo {PASSWORD} | store connect dav webdav --user {USER}"
    f" --url http://store.school.test:{HOSTED_PORT}"
)


@pytest.fixture(autouse=True)
def named(hosted: Guest) -> None:
    """Names that lead to this host's loopback."""
    hosted.run(
        "grep -q store.school.test /etc/hosts ||"
        f" (echo {hosted.gateway()} store.school.test elsewhere.test >> /etc/hosts;"
        " systemctl restart notebook-egress)"
    )


@pytest.fixture
def dav(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "dav"
    root.mkdir()
    with webdav(root, HOSTED_PORT):
        yield root / "notebook"


def shell(hosted: Guest, student: str) -> Kernel:
    """A session of a student who has no files."""
    hosted.run(f"rm -rf /home/students/{student}")
    return Student(hosted.url, student).sign_in().start().kernel()


def test_other_hosts_are_not_reached(hosted: Guest, dav: Path) -> None:
    kernel = shell(hosted, "emmy")
    assert "are connected" in kernel.shell(CONNECT)
    kernel.shell("mkdir -p dav && echo one > dav/one")
    assert "1 sent" in kernel.shell("store sync")
    assert (dav / "one").read_text() == "one\n"
    assert kernel.shell("stat -c %a .config/store .config/store/rclone.conf") == "700\n600\n"
    assert PASSWORD not in hosted.run("journalctl --no-pager -o cat")
    kernel.shell("store disconnect dav")
    told = kernel.shell(CONNECT.replace("store.school.test", "elsewhere.test"))
    assert "is not connected" in told
    assert "403" in told
    assert kernel.shell("store list") == ""


def test_a_running_session_synchronises_by_itself(hosted: Guest, dav: Path) -> None:
    settings = json.loads(hosted.run(f"cat {RECORD}"))

    def every(seconds: int) -> None:
        told = json.dumps(settings | {"stores": {"every": seconds}})
        hosted.run(f"cat > {RECORD} << 'END'\n{told}\nEND\nsystemctl restart notebook")
        hosted.wait()

    every(1)
    try:
        kernel = shell(hosted, "emmy")
        kernel.shell(CONNECT)
        kernel.shell("mkdir -p dav; echo one > dav/one")
        deadline = time.monotonic() + 120
        while not (dav / "one").exists():
            assert time.monotonic() < deadline
            time.sleep(0.5)
    finally:
        every(settings["stores"]["every"])


@pytest.fixture
def s3_port() -> int:
    """Where the sessions' proxy lets a store be."""
    return HOSTED_PORT


@dataclass(frozen=True)
class Kind:
    """A kind of store, as its form wants it.

    Args:
        name: of the form.
        fields: what is filled in besides folder and address.
        wrong: a field, a value with which nothing is connected, and what is said then.
        secret: what is told to nobody.
        there: the folder's file ``one``, as the store has it.
    """

    name: str
    fields: dict[str, str]
    wrong: tuple[str, str, str]
    secret: str
    there: Callable[[], str]


@pytest.fixture(params=["webdav", "nextcloud", "s3"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    """A store of some kind, and how its form is filled in."""
    name = request.param
    if name != "s3":
        folder: Path = request.getfixturevalue("dav")
        fields = {"User": USER, "Password": PASSWORD}
        wrong = ("Password", "guessed", "Unauthorized")
        return Kind(name, fields, wrong, PASSWORD, (folder / "one").read_text)
    request.getfixturevalue("s3")
    config = tmp_path / "rclone.conf"
    config.write_text(
        "[s]\ntype = s3\nprovider = Other\naccess_key_id = AKIA\nsecret_access_key = hush-hush\n"
        f"endpoint = http://127.0.0.1:{HOSTED_PORT}\n"
    )
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}  # no proxy on the way

    def rclone(*words: str) -> str:
        argv = [require("rclone", "rclone"), "--config", str(config), *words]
        return subprocess.run(argv, check=True, env=env, capture_output=True, text=True).stdout

    rclone("mkdir", "s:class")
    fields = {"Bucket": "class", "Access key": "AKIA", "Secret key": "hush-hush"}
    wrong = ("Bucket", "glass", "there is no bucket glass")
    return Kind(name, fields, wrong, "hush-hush", lambda: rclone("cat", "s:class/notebook/one"))


def test_a_student_connects_in_the_page(hosted: Guest, kind: Kind, browser: Browser) -> None:
    kernel = shell(hosted, "emmy")
    lab = window(browser)
    sign_in(lab, hosted, "emmy")
    lab.goto(f"{hosted.url}/user/emmy/lab")
    with lab.expect_popup() as opened:
        lab.locator("#appliance-usage a", has_text="Stores").click()
    page = opened.value

    def connect(fields: dict[str, str]) -> None:
        form = page.locator(f'[data-kind="{kind.name}"]')
        form.locator("summary").click()
        form.get_by_label("Folder here").fill("cloud")
        form.get_by_label("Address").fill(f"http://store.school.test:{HOSTED_PORT}")
        for label, value in fields.items():
            form.get_by_label(label).fill(value)
        form.get_by_role("button", name="Connect").click()

    said = page.get_by_role("status")
    label, value, why = kind.wrong
    connect(kind.fields | {label: value})
    expect(said).to_contain_text("cloud is not connected")
    expect(said).to_contain_text(why)
    connect(kind.fields)
    expect(said).to_contain_text("are connected")
    kernel.shell("mkdir -p cloud && echo one > cloud/one")
    store = page.locator('[data-store="cloud"]')
    store.get_by_role("button", name="Synchronise now").click()
    expect(said).to_contain_text("1 sent")
    assert kind.there() == "one\n"
    expect(store).not_to_contain_text("not yet")
    page.set_viewport_size(PHONE)
    assert fits(page)
    picture(page, f"stores-{kind.name}-phone")
    store.get_by_role("button", name="Disconnect").click()
    expect(said).to_contain_text("is forgotten")
    expect(store).to_have_count(0)
    assert kernel.shell("store list; cat cloud/one") == "one\n"
    assert kind.secret not in hosted.run("journalctl --no-pager -o cat")


def test_leave_for_google_drive_is_asked_in_the_page(hosted: Guest, browser: Browser) -> None:
    """What Google itself would answer: tests/integration/stores/test_stores_drive.py."""
    shell(hosted, "emmy")
    page = window(browser)
    sign_in(page, hosted, "emmy")
    page.goto(f"{hosted.url}/user/emmy/appliance/stores")
    form = page.locator('[data-kind="drive"]')

    def begin() -> None:
        form.locator("summary").click()
        form.get_by_label("Folder here").fill("drive")
        form.get_by_role("button", name="Connect").click()
        expect(page.locator('a[href^="https://accounts.google.com"]')).to_be_visible()

    begin()
    page.get_by_label("The address at the end").fill("http://127.0.0.1/nothing")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("status")).to_contain_text("this is not an address")
    begin()  # rclone of the first time has gone
    page.get_by_role("button", name="Give up").click()
    expect(page.get_by_role("status")).to_contain_text("Given up")
    deadline = time.monotonic() + 60
    while hosted.run("pgrep -x rclone || true"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
