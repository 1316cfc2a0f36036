"""A renewal of the notebook's environment, of real versions, while a class is at work."""

import itertools
import json
import re
import shlex
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from guests import Fleet, Guest, Outcome
from student import Student

from provision import resources

BRIEF, LONG = 15, 120  # seconds until an unconfirmed switch goes back: when killed, when not
OURS = resources.playbooks() / "roles/notebook/files/requirements.lock"
OLDER = "2.19.0", "cb76591b76d7093584c2ad2ae72ac3d58614a4b597507a1bb04e1f9f683cf9ea"
PLACE, DATABASE = "/var/lib/appliance/notebook", "/var/lib/notebook/jupyterhub.sqlite"
pytestmark = pytest.mark.usefixtures("afresh")
_names = (f"pupil{number}" for number in itertools.count())


@pytest.fixture(scope="session")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our list, but for an older jupyter-server: what an appliance has before a hole is closed."""
    version, digest = OLDER
    text, count = re.subn(
        r"(?m)^jupyter-server==[^\n]*\n(?:    --hash[^\n]*\n)+",
        f"jupyter-server=={version} \\\\\n    --hash=sha256:{digest}\n",
        OURS.read_text(),
    )
    assert count == 1
    file = tmp_path_factory.mktemp("lists") / "older.lock"
    file.write_text(text)
    return file


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
    assert kernel.run("print(kept)") == "42\n"
    assert late.kernel().run("6 * 7") == "42"
    assert facts(renew(one, None))["changed"] is False  # it is our own list again
    for who in (early, late):
        who.stop()


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
        if sys.argv[1] in words and "/usr/local/lib/appliance/renew-notebook" in words[:3]:
            os.kill(int(each.name), signal.SIGKILL)
            sys.exit()
"""


@pytest.mark.slow
@pytest.mark.parametrize("step", ["receive", "switch"])
def test_the_guests_side_is_killed(one: Fleet, older: Path, step: str) -> None:
    guest = one.guests[0]
    before, lock, after = other(guest, older)
    guest.run(shlex.join(["systemd-run", "--quiet", "--collect", "python3", "-c", KILLER, step]))
    done = renew(one, lock, "--timeout", str(BRIEF))
    assert (done.code, "ended unexpectedly" in done.out) == (1, True), done
    if step != "confirm":  # killed after it had said so, the new one stays
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
