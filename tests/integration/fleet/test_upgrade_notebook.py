"""A renewal of the notebook's environment, of real versions, while a class is at work.

An operator has it done; or the appliance does it by itself, from what was published for it.
"""

import contextlib
import functools
import http.server
import itertools
import json
import re
import shlex
import shutil
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from guests import Fleet, Guest, Outcome
from lists import OLDER, OURS, older_list
from playwright.sync_api import Browser, expect
from student import Student
from test_browser import run, sign_in

from provision.build.notebook import offer, wanted_environment
from provision.distribution import environments
from provision.machine.ports import free_port
from provision.ova import minisign

BRIEF, LONG = 15, 120  # seconds until an unconfirmed switch goes back: when killed, when not
PLACE, DATABASE = "/var/lib/appliance/notebook", "/var/lib/notebook/jupyterhub.sqlite"
pytestmark = pytest.mark.usefixtures("afresh")
# In a page of JupyterLab: of the server that it has.
VERSION = """async () => {
  const about = JSON.parse(document.getElementById('jupyter-config-data').textContent);
  return (await (await fetch(about.baseUrl + 'api/')).json()).version;
}"""
_names = (f"pupil{number}" for number in itertools.count())


@dataclass(frozen=True)
class Addressed:
    """What a browser needs of a guest."""

    url: str


@pytest.fixture(scope="session")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an appliance has before a hole is closed."""
    return older_list(tmp_path_factory.mktemp("lists") / "older.lock")


def renew(fleet: Fleet, lock: Path | None, *words: str, **options: Any) -> Outcome:
    given = () if lock is None else ("--lock", str(lock))
    return fleet.appliance(
        *("upgrade", "notebook", "--json", *given, *words),
        *(() if "--timeout" in words else ("--timeout", str(BRIEF if "kill" in options else LONG))),
        **options,
    )


def facts(done: Outcome) -> dict[str, Any]:
    assert done.code == 0, done
    return dict(json.loads(done.out)["hosts"][0]["facts"])


def renew_again(fleet: Fleet, lock: Path | None) -> Outcome:
    """Once more; what a killed host has left at work in the guest ends first, and says so."""
    deadline = time.monotonic() + 180
    while "still at work" in (done := renew(fleet, lock)).out and time.monotonic() < deadline:
        time.sleep(1)
    return done


def served(guest: Guest) -> str:
    """The version of jupyter-server that a new session gets, once the notebook answers."""
    guest.wait()
    code = "import importlib.metadata as m; print(m.version('jupyter-server'))"
    return guest.run(shlex.join(["/opt/notebook/bin/python", "-I", "-c", code])).strip()


def serves(guest: Guest, version: str, patience: float = 90) -> None:
    """It does so; a switch that nobody confirmed has that long to go back."""
    deadline = time.monotonic() + patience
    while (now := served(guest)) != version:
        assert time.monotonic() < deadline, f"{now} serves, not {version}"
        time.sleep(0.5)


def pupil(guest: Guest) -> Student:
    """Somebody with a session."""
    name, files = next(_names), "/home/students"
    # An overlay cannot be mounted with other owners; the appliance's /home is ext4.
    guest.run(f"mountpoint -q {files} || mount -t tmpfs -o mode=0711 tmpfs {files}")
    guest.run(f"notebook-accounts add {name}")  # its first password counts
    return Student(guest.host.url, name).sign_in().start()


ASKS = 'name="password"'  # a page that does so asks who somebody is


def home(who: Student, cookie: str = "") -> str:
    """The hub's page for somebody who shows cookies and no token."""
    request = urllib.request.Request(f"{who.url}/hub/home")
    if cookie:
        request.add_header("Cookie", cookie)
    with who.opener.open(request, timeout=90) as answer:
        return str(answer.read().decode())


def version_of(who: Student) -> str:
    """Of the server that a session has."""
    return str(who.json("GET", f"/user/{who.name}/api/")["version"])


def test_a_class_notices_nothing_and_the_way_back(one: Fleet, older: Path) -> None:
    guest = one.guests[0]
    before = served(guest)
    early = pupil(guest)
    kernel = early.kernel()
    assert kernel.run("kept = 6 * 7") == ""
    said: list[str] = []
    cell = "import os, time\nwhile not os.path.exists('bell'): time.sleep(0.1)\nprint('over', kept)"
    running = threading.Thread(target=lambda: said.append(kernel.run(cell, 240)))
    running.start()
    done = facts(renew(one, older))
    assert done["packages"] == {"jupyter-server": [before, OLDER[0]]}
    assert 0 < done["sent"] < 5 << 20  # of the 150 MB that all wheels are
    serves(guest, OLDER[0])
    # Who signed in before is signed in; who comes with what no hub here has given is asked anew.
    assert ASKS not in home(early)
    stranger = Student(guest.host.url, next(_names))
    assert ASKS in home(
        stranger, 'jupyterhub-hub-login="2|1:0|10:1|9:hub-login|4:YQ==|0"; _xsrf=old'
    )
    late = pupil(guest)
    assert (version_of(early), version_of(late)) == (before, OLDER[0])
    assert late.kernel().run("6 * 7") == "42"
    early.server("PUT", "contents/bell", {"type": "file", "format": "text", "content": ""})
    running.join()
    assert said == ["over 42\n"]
    assert kernel.run("print(kept)") == "42\n"
    # What was never imported yet comes from the environment that it began with.
    lazily = "import jupyter_server, os; print(jupyter_server.__version__)"
    assert kernel.run(lazily) == f"{before}\n"
    assert early.kernel().run("1 + 1") == "2"
    assert facts(renew(one, older))["changed"] is False
    undone = facts(one.appliance("upgrade", "notebook", "--undo", "--json"))
    assert undone["after"] == "build"
    serves(guest, before)
    assert ASKS not in home(early) and ASKS not in home(late)
    assert kernel.run("print(kept)") == "42\n"
    assert late.kernel().run("6 * 7") == "42"
    assert facts(renew(one, None))["changed"] is False  # it is our own list again
    for who in (early, late):
        who.stop()


@pytest.mark.slow
def test_a_browser_watches_a_cell_through_the_switch(
    one: Fleet, older: Path, browser: Browser
) -> None:
    """It goes on counting before its student's eyes; nothing asks, and nothing is opened anew."""
    guest = one.guests[0]
    before, lock, after = other(guest, older)
    (who := pupil(guest)).stop()
    page = sign_in(browser, Addressed(guest.host.url), who.name)
    page.locator('.jp-LauncherCard[data-category="Notebook"]').first.click()
    page.wait_for_selector(".jp-Notebook .jp-Cell .cm-content")
    page.get_by_text("| Idle").wait_for()
    run(page, "import os, time; kept = 41")
    run(
        page,
        "for n in range(10**6):\n    print('at', n, flush=True)\n"
        "    if os.path.exists('bell'): break\n    time.sleep(0.5)",
    )
    page.keyboard.insert_text("print('over', kept + 1)  # not yet run")
    shown = page.locator(".jp-Notebook .jp-OutputArea-output").last
    page.evaluate("window.here = true")  # which no page that is loaded anew has

    def counted() -> int:
        return int(shown.inner_text().split()[-1])

    expect(shown).to_contain_text("at 3")
    assert facts(renew(one, lock))["changed"] is True
    serves(guest, after)
    now = counted()
    expect(shown).to_contain_text(f"at {now + 4}")
    guest.run(f"touch /home/students/{who.name}/bell")
    page.keyboard.press("Shift+Enter")
    expect(page.locator(".jp-Notebook")).to_contain_text("over 42")
    assert page.evaluate("window.here")
    assert page.locator(".jp-Dialog").count() == 0
    assert page.evaluate(VERSION) == before
    page.context.close()
    guest.run("notebook-sessions end")


@pytest.mark.slow
def test_a_second_renewal_leaves_the_first_as_it_is(one: Fleet, older: Path) -> None:
    """What is shown at one place must not appear in the directory of what was shown before."""
    guest = one.guests[0]
    for _ in range(2):
        before, lock, after = other(guest, older)
        facts(renew(one, lock))
        serves(guest, after)
    found = guest.run(
        f"cd {PLACE}/environments && ls -d */lib/python3*/site-packages/jupyter_server-*"
    )
    names = dict(line.split("/")[::4] for line in found.split())
    assert len(names) == 2 and len(set(names.values())) == 2, names
    facts(one.appliance("upgrade", "notebook", "--undo", "--json"))
    serves(guest, before)


def other(guest: Guest, older: Path) -> tuple[str, Path | None, str]:
    """The version that is served, a list with the other one, and that."""
    ours = re.search(r"(?m)^jupyter-server==(\S+)", OURS.read_text())
    assert ours
    now = served(guest)
    return (now, None, ours[1]) if now == OLDER[0] else (now, older, OLDER[0])


@pytest.mark.slow
@pytest.mark.parametrize("step", ["transfer", "unpack", "prove", "switch", "health"])
def test_the_host_is_killed(one: Fleet, older: Path, step: str) -> None:
    guest = one.guests[0]
    before, lock, after = other(guest, older)
    kernel = (who := pupil(guest)).kernel()
    kernel.run("kept = 6 * 7")
    killed = renew(one, lock, kill=(f"running {step}", signal.SIGKILL))
    assert killed.code == -signal.SIGKILL, killed
    time.sleep(1)  # into the step
    serves(guest, before)
    facts(renew_again(one, lock))
    serves(guest, after)
    assert kernel.run("print(kept)") == "42\n"
    assert version_of(who) == before
    who.stop()


@pytest.mark.slow
@pytest.mark.parametrize("step", ["unpack", "prove", "switch", "health", "tidy"])
def test_the_guest_loses_power(one: Fleet, older: Path, step: str) -> None:
    guest = one.guests[0]
    before, lock, after = other(guest, older)
    killed = renew(one, lock, "--timeout", "300", kill=(f"running {step}", signal.SIGKILL))
    assert killed.code == -signal.SIGKILL, killed
    guest.cut()
    guest.start(one.inventory)
    serves(guest, after if step == "tidy" else before)  # by then it is confirmed
    facts(renew_again(one, lock))
    serves(guest, after)
    nothing_half(guest)


def nothing_half(guest: Guest) -> None:
    """No part of an environment, no proof and no copy is left lying about."""
    left = guest.run(f"ls -A {PLACE}/environments {PLACE}").split()
    assert not [name for name in left if name.startswith(".")], left


# Kills our program in the guest as soon as it is at a step.
KILLER = """
import os, signal, sys
from pathlib import Path
while True:
    for each in Path("/proc").glob("[0-9]*"):
        try:
            words = (each / "cmdline").read_text().split(chr(0))
        except OSError:
            continue
        ours = "/usr/local/lib/appliance/renew-notebook" in words[:3]
        if ours and sys.argv[1] in words and words[0] != "sudo":  # without it the step goes on
            os.kill(int(each.name), signal.SIGKILL)
            sys.exit()
"""


@pytest.mark.slow
@pytest.mark.parametrize("step", ["receive", "unpack", "prove", "switch", "check", "confirm"])
def test_the_guests_side_is_killed(one: Fleet, older: Path, step: str) -> None:
    guest = one.guests[0]
    before, lock, after = other(guest, older)
    guest.run(shlex.join(["systemd-run", "--quiet", "--collect", "python3", "-c", KILLER, step]))
    done = renew(one, lock, "--timeout", str(BRIEF))
    assert (done.code, "ended unexpectedly" in done.out) == (1, True), done
    if step != "confirm":  # killed after it had written so, the new one stays
        serves(guest, before)
    facts(renew_again(one, lock))
    serves(guest, after)
    nothing_half(guest)


def without(lock: Path | None, package: str, place: Path) -> Path:
    """A list that lacks what it needs."""
    text, count = re.subn(
        rf"(?m)^{package}==[^\n]*\n(?:    --hash[^\n]*\n)+", "", (lock or OURS).read_text()
    )
    assert count
    place.write_text(text)
    return place


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "told"),
    [("alembic", "the hub does not start"), ("comm", "a session does not start")],
)
def test_what_starts_badly_is_not_switched_to(
    one: Fleet, older: Path, tmp_path: Path, package: str, told: str
) -> None:
    """Without `comm` the server answers, and its kernel does not."""
    guest = one.guests[0]
    before, lock, _ = other(guest, older)
    done = renew(one, without(lock, package, tmp_path / "bad.lock"))
    row = json.loads(done.out)["hosts"][0]
    assert (done.code, row["step"]) == (1, "prove"), done
    assert told in row["detail"] and "the notebook of before serves" in row["detail"]
    assert served(guest) == before


def sql(guest: Guest, change: str) -> str:
    """Carry out a statement in the hub's database; its first row."""
    code = "import sqlite3,sys; c = sqlite3.connect(sys.argv[1], timeout=30)"
    code += "; print(*(c.execute(sys.argv[2]).fetchone() or ())); c.commit()"
    return guest.run(shlex.join(["python3", "-c", code, DATABASE, change])).strip()


FORM = "select version_num from alembic_version"
LATER = "update alembic_version set version_num = 'ffff'"


@pytest.mark.slow
def test_a_hub_that_dies_of_it_goes_back_with_its_database(one: Fleet, older: Path) -> None:
    """A later hub's form of the database is none that the one before understands."""
    guest = one.guests[0]
    before, lock, _ = other(guest, older)
    form = sql(guest, FORM)
    code = f"import sqlite3; c = sqlite3.connect('{DATABASE}'); c.execute(\"{LATER}\"); c.commit()"
    spoil = (
        f"until [ -e {PLACE}/jupyterhub.sqlite ]; do sleep 0.05; done;"
        " until systemctl -q is-active notebook; do sleep 0.05; done; systemctl stop notebook;"
        f" {shlex.join(['python3', '-c', code])}"
    )
    guest.run(f"rm -f {PLACE}/jupyterhub.sqlite")
    guest.run(shlex.join(["systemd-run", "--quiet", "--collect", "sh", "-c", spoil]))
    done = renew(one, lock)
    assert (done.code, json.loads(done.out)["hosts"][0]["step"]) == (1, "health"), done
    serves(guest, before)
    assert sql(guest, FORM) == form


@pytest.mark.slow
def test_the_way_back_after_a_migration_keeps_sessions_of_before(one: Fleet, older: Path) -> None:
    guest = one.guests[0]
    before, lock, after = other(guest, older)
    form = sql(guest, FORM)
    early = pupil(guest)
    kernel = early.kernel()
    kernel.run("kept = 6 * 7")
    facts(renew(one, lock))
    serves(guest, after)
    late = pupil(guest)
    sql(guest, LATER)
    undone = one.appliance("upgrade", "notebook", "--undo", "--json")
    assert undone.code == 0, undone
    serves(guest, before)
    assert sql(guest, FORM) == form
    assert kernel.run("print(kept)") == "42\n"
    # Who came since is not known to it: signs in anew, and has a session again.
    again = Student(guest.host.url, late.name).sign_in().start()
    assert again.kernel().run("1 + 1") == "2"
    for who in (early, again):
        who.stop()


@pytest.mark.slow
def test_an_appliance_of_before_this_verb(one: Fleet, older: Path) -> None:
    """Its environment was made by pip, and nobody wrote down of what."""
    guest = one.guests[0]
    before, lock, after = other(guest, older)
    place = guest.run(f"readlink -f {PLACE}/current 2> /dev/null || echo /opt/notebook").strip()
    guest.run(f"mkdir /tmp/lists && mv {place}/installed*.lock /tmp/lists/")
    try:
        told = facts(renew(one, lock))
        assert told["packages"] == {"jupyter-server": [before, after]}
        serves(guest, after)
    finally:
        guest.run(f"mv /tmp/lists/* {place}/; rmdir /tmp/lists")


@pytest.mark.slow
def test_no_room_for_two(one: Fleet, older: Path) -> None:
    guest = one.guests[0]
    before, lock, _ = other(guest, older)
    guest.run(f"mkdir -p {PLACE}; mount -t tmpfs -o size=8m tmpfs {PLACE}")
    done = renew(one, lock)
    guest.run(f"umount -l {PLACE}")
    assert (done.code, "beside the old one wants" in done.out) == (1, True), done
    assert served(guest) == before


def test_a_wheel_that_is_not_to_be_had_touches_no_host(one: Fleet, tmp_path: Path) -> None:
    lock = tmp_path / "gone.lock"
    lock.write_text(OURS.read_text() + "no-such-wheel-here==1.0 --hash=sha256:" + "0" * 64 + "\n")
    done = renew(one, lock)
    assert done.code == 1, done
    assert "no-such-wheel-here" in done.out and "can be had" in done.out
    lock.write_text("jupyterhub>=6 --hash=sha256:" + "0" * 64 + "\n")
    done = renew(one, lock)
    assert (done.code, "line 1" in done.err) == (2, True), done


class Publisher:
    """Who publishes the notebook, in a folder behind HTTP on this host's loopback."""

    def __init__(self, place: Path) -> None:
        self.folder, self.secret, self.port = place / "published", place / "key", free_port()
        minisign.generate(self.secret)

    def publish(self, guest: Guest, lock: Path | None, secret: Path | None = None) -> str:
        """Have it in the channel; the environment's name."""
        wanted = wanted_environment(lock)
        python = guest.run("ls -d /opt/notebook/lib/python3*").strip().rpartition("python")[2]
        told, packages = offer(wanted, [python], "amd64")
        secret = secret or self.secret
        environments.publish(self.folder, wanted.name, told, packages, secret=secret)
        return wanted.name

    def followed(self, fleet: Fleet, *words: str) -> Outcome:
        """Have the appliance follow it; ``words`` besides."""
        public = self.secret.with_suffix(".pub")
        public.write_text(minisign.public_of(self.secret).text())
        url = f"http://{fleet.guests[0].gateway()}:{self.port}"
        key = ("--public-key", str(public))
        return fleet.appliance("upgrade", "notebook", "--follow", url, *key, "--json", *words)

    @contextlib.contextmanager
    def other(self) -> Iterator[Path]:
        """What is done to the folder meanwhile is undone."""
        kept = self.folder.with_name("kept")
        shutil.copytree(self.folder, kept)
        try:
            yield self.folder / environments.PLACE
        finally:
            shutil.rmtree(self.folder)
            kept.rename(self.folder)


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publisher]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing."""

    made = Publisher(tmp_path_factory.mktemp("publisher"))
    handler = functools.partial(Quiet, directory=str(made.folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", made.port), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made
        server.shutdown()


UPDATE = "appliance-notebook-update"
TOLD = "journalctl -q --no-pager -t notebook-update -o cat"


def window(guest: Guest) -> str:
    """Come to the window of unattended upgrades; what the appliance said in it."""
    since = len(guest.run(f"{TOLD} || true").splitlines())
    guest.run("systemctl start apt-daily-upgrade.service", timeout=600)
    return said_since(guest, since)


def said_since(guest: Guest, since: int) -> str:
    """What it said after so many lines, once it has said it."""
    deadline = time.monotonic() + 600
    while True:
        said = guest.run(f"{TOLD} || true").splitlines()[since:]
        state = guest.run(f"systemctl is-active {UPDATE} || true").strip()
        if said and state in ("inactive", "failed"):
            return "\n".join(said)
        assert time.monotonic() < deadline, guest.run(f"systemctl status {UPDATE} || true")
        time.sleep(1)


@pytest.mark.slow
def test_by_itself_it_takes_what_is_published_and_nobody_notices(
    one: Fleet, publisher: Publisher, older: Path
) -> None:
    guest = one.guests[0]
    before, lock, after = other(guest, older)
    assert f"{UPDATE}.service" not in guest.run("systemctl list-unit-files")  # off, until one asks
    assert "stable.minisig: HTTP Error 404" in (nothing := publisher.followed(one)).out, nothing
    publisher.publish(guest, older if lock is None else None)  # what it has
    assert facts(publisher.followed(one))["changed"] is True
    assert window(guest) == "up to date"
    kernel = (who := pupil(guest)).kernel()
    kernel.run("kept = 6 * 7")
    name = publisher.publish(guest, lock)
    said = window(guest)
    assert said.startswith("updated from ") and f"to {name}: " in said, said
    assert said.endswith(f"jupyter-server {before} -> {after}"), said
    serves(guest, after)
    assert (kernel.run("print(kept)"), version_of(who)) == ("42\n", before)
    late = pupil(guest)
    assert (late.kernel().run("6 * 7"), version_of(late)) == ("42", after)
    assert window(guest) == "up to date"
    nothing_half(guest)
    # The nightly letter has it.
    letter = guest.run("sed 's/| mail .*/| cat/' /usr/local/lib/appliance/notebook-report | sh")
    assert f"jupyter-server {before} -> {after}" in letter, letter
    # Led back by hand, it is not taken once more.
    facts(one.appliance("upgrade", "notebook", "--undo", "--json"))
    serves(guest, before)
    assert window(guest) == f"{name} is not tried again: it was led back by hand"
    assert served(guest) == before
    for each in (who, late):
        each.stop()


@pytest.mark.slow
def test_by_itself_it_takes_nothing_that_is_not_the_publishers(
    one: Fleet, publisher: Publisher, older: Path
) -> None:
    guest = one.guests[0]
    before, lock, _ = other(guest, older)
    channel = publisher.folder / "notebook/channels/stable.minisig"
    publisher.publish(guest, lock)
    early = channel.read_bytes()
    publisher.publish(guest, older if lock is None else None)  # what it has
    facts(publisher.followed(one))
    assert window(guest) == "up to date"
    with publisher.other():
        channel.write_bytes(early)  # properly signed once, and older
        assert "not updated: the channel stable went back from change" in window(guest)
        facts(one.appliance("upgrade", "notebook", "--follow", "none", "--json"))
        assert "went back" in publisher.followed(one).out  # nor by who begins anew
    facts(publisher.followed(one))
    with publisher.other() as folder:
        thief = publisher.secret.with_name("thief")
        minisign.generate(thief)
        shutil.rmtree(folder)
        publisher.publish(guest, lock, thief)
        assert "signed by another key" in window(guest)
        # With the number of the right key it is still another's.
        lines = channel.read_text().split("\n")
        lines[1] = early.decode().split("\n")[1][:13] + lines[1][13:]
        channel.write_text("\n".join(lines))
        assert "not updated: " in window(guest)
    publisher.publish(guest, lock)
    with publisher.other():
        text = channel.read_text()
        serial = re.search(r"serial=(\d+)", text)
        assert serial
        channel.write_text(text.replace(serial[0], f"serial={int(serial[1]) + 9}"))
        assert "the signature is wrong" in window(guest)
    with publisher.other() as folder:
        for found in folder.glob("versions/*/environment.json"):
            found.write_text(found.read_text().replace('"size"', '"sized"'))
        assert "environment.json is not what was signed" in window(guest)
    with publisher.other() as folder:
        for path in folder.glob("packages/*"):  # of all, also of the one that is wanted
            path.write_bytes(path.read_bytes()[:-7])
        assert re.search(r"not updated: packages/.*, not as signed", window(guest))
    with publisher.other():
        shutil.rmtree(publisher.folder / "notebook/packages")
        assert "HTTP Error 404" in window(guest)
    guest.run(f"mount -t tmpfs -o size=64k tmpfs {PLACE}/parts")
    assert re.search(r"not updated: .*No space left", window(guest))
    guest.run(f"umount -l {PLACE}/parts")
    assert served(guest) == before
    nothing_half(guest)


@pytest.mark.slow
def test_by_itself_it_catches_up_and_leaves_others_alone(
    one: Fleet, publisher: Publisher, older: Path
) -> None:
    guest = one.guests[0]
    before, lock, after = other(guest, older)
    publisher.publish(guest, lock)
    facts(publisher.followed(one))
    run = "/usr/local/lib/appliance/lease --run=else"
    guest.run(f"{run} take 'a restore' somebody nowhere")
    assert "not now, at the next window: somebody is at work here: a restore" in window(guest)
    guest.run(f"{run} release")
    # Killed in the middle of the switch: the timer, or here the next boot, leads back.
    waits = f"while not os.system('! grep -q switch {PLACE}/state.json'): pass"
    killer = KILLER.replace("while True:", f"{waits}\nwhile True:").replace("renew-", "update-")
    guest.run(
        shlex.join(["systemd-run", "--quiet", "--collect", "python3", "-c", killer, "update"])
    )
    guest.run("systemctl start apt-daily-upgrade.service", timeout=600)
    deadline = time.monotonic() + 300
    while "failed" not in guest.run(f"systemctl is-active {UPDATE} || true"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    guest.cut()
    guest.start(one.inventory)
    serves(guest, before)
    # It slept through the window: systemd has the timer elapse at once.
    since = len(guest.run(f"{TOLD} || true").splitlines())
    stamp = "/var/lib/systemd/timers/stamp-apt-daily-upgrade.timer"
    guest.run(
        "systemctl stop apt-daily-upgrade.timer; "
        f"mkdir -p {Path(stamp).parent} /run/systemd/system/apt-daily-upgrade.timer.d;"
        " printf '[Timer]\nRandomizedDelaySec=0\n'"
        " > /run/systemd/system/apt-daily-upgrade.timer.d/now.conf; systemctl daemon-reload;"
        f" touch -d '3 days ago' {stamp}; systemctl start apt-daily-upgrade.timer"
    )
    assert "updated from " in said_since(guest, since)
    serves(guest, after)
    nothing_half(guest)
    facts(one.appliance("upgrade", "notebook", "--follow", "none", "--json"))
    assert f"{UPDATE}.service" not in guest.run("systemctl list-unit-files")
