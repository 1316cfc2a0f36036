"""A renewal of the notebook's environment, of real versions, while a class is at work."""

import functools
import itertools
import json
import re
import shlex
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
slow = functools.partial(pytest.param, marks=pytest.mark.slow)
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
