"""Passwords are only changed by who asked for it; who is locked or reset is out; names stay."""

import json
import time
from collections.abc import Callable, Iterator

import pytest
from guest import Guest
from student import RefusedError, Student, opens

from provision.machine.ssh import execute

FIRST, SECOND = "the first password", "the second password"
PATIENCE = 60.0


@pytest.fixture
def forgotten(guest: Guest) -> Iterator[None]:
    """No account, file or session of a test's is left: the next one finds the names new."""
    yield
    left = "erna curt sonja gitta nameless"
    guest.run(f"for n in {left}; do notebook-accounts remove $n 2>/dev/null; done; true")
    guest.run(f"cd /home/students && rm -rf {left} .archive")
    admin = administrator(guest)
    for name in left.split():
        try:
            admin.json("DELETE", f"/hub/api/users/{name}")
        except RefusedError as error:
            assert error.status == 404, error


pytestmark = pytest.mark.usefixtures("forgotten")


def administrator(guest: Guest) -> Student:
    password = guest.run("cat /var/lib/notebook/first-password").strip()
    return Student(guest.url, "sageadm", password).sign_in()


def refuses(guest: Guest, command: str) -> str:
    """What a command says that must fail."""
    done = execute(guest.root, command, timeout=120)
    assert done.status != 0, f"{command}: {done}"
    return done.stderr + done.stdout


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def imported(guest: Guest, text: str, *options: str) -> str:
    return guest.run(f"printf '{text}' | notebook-accounts import {' '.join(options)} -")


def test_an_import_only_adds(guest: Guest) -> None:
    imported(guest, f"erna,{FIRST}\\ncurt,{FIRST}\\n")
    guest.run("notebook-accounts lock curt")
    told = imported(guest, "erna\\nCurt\\nsageadm\\nsonja\\n")
    assert "added sonja" in told
    assert "skipped erna" in told
    assert "skipped curt" in told
    assert "skipped sageadm" in told
    guest.run("notebook-accounts add erna curt sageadm")
    imported(guest, f"erna,{SECOND}\\nsageadm,{SECOND}\\n")
    assert not opens(guest.url, "erna", "a stranger came first")
    assert not opens(guest.url, "sageadm", SECOND)
    assert not opens(guest.url, "curt", FIRST)
    assert opens(guest.url, "erna", FIRST)
    assert "curt (locked)" in guest.run("notebook-accounts list").splitlines()
    assert administrator(guest).json("GET", "/hub/api/user")["admin"]
    guest.run("notebook-accounts unlock curt")
    assert opens(guest.url, "curt", FIRST)


def test_a_reset_is_an_option_of_its_own(guest: Guest) -> None:
    imported(guest, f"erna,{FIRST}\\ncurt,{FIRST}\\n")
    guest.run("notebook-accounts lock curt")
    before = guest.run("cat /var/lib/notebook/accounts.json")
    text = f"erna,{SECOND}\\ncurt,{SECOND}\\nsageadm,{SECOND}\\nsonja,short\\n"
    assert refuses(guest, f"printf '{text}' | notebook-accounts import --reset-passwords -")
    assert guest.run("cat /var/lib/notebook/accounts.json") == before
    told = imported(guest, text.replace("short", FIRST), "--reset-passwords", "--json")
    assert json.loads(told)["reset"] == ["erna", "curt"]
    assert not opens(guest.url, "erna", FIRST)
    assert opens(guest.url, "erna", SECOND)
    assert not opens(guest.url, "curt", SECOND), "a list unlocked a name"
    assert not opens(guest.url, "sageadm", SECOND)


def test_unknown_names_are_refused_and_stay_unknown(guest: Guest) -> None:
    for verb in ("lock", "unlock", "approve", "remove"):
        assert "nameless" in refuses(guest, f"notebook-accounts {verb} nameless")
    assert "nameless" not in guest.run("notebook-accounts list")
    for verb in ("lock", "remove"):
        assert "administers" in refuses(guest, f"notebook-accounts {verb} SageAdm")


def test_a_name_that_had_files_waits_for_the_administrator(guest: Guest) -> None:
    imported(guest, f"gitta,{FIRST}\\n")
    gitta = Student(guest.url, "gitta", FIRST).sign_in().start()
    gitta.kernel().shell("echo private > diary.txt")
    guest.run("notebook-accounts remove gitta")
    until(lambda: "gitta" not in guest.run("notebook-sessions"))
    assert not opens(guest.url, "gitta", "a stranger came first")
    assert "gitta (waits for approval)" in guest.run("notebook-accounts list").splitlines()
    guest.run("notebook-accounts remove gitta")
    assert "waits" in guest.run("notebook-accounts add gitta")
    assert not opens(guest.url, "gitta", "a stranger came first")
    assert "no password" in refuses(guest, "notebook-accounts approve gitta")
    guest.run("notebook-accounts remove gitta")
    assert "waits" in imported(guest, f"gitta,{SECOND}\\n")
    assert not opens(guest.url, "gitta", SECOND)
    guest.run("notebook-accounts approve gitta")
    assert opens(guest.url, "gitta", SECOND)
    guest.run("notebook-accounts remove gitta")
    assert "waits" not in imported(guest, f"gitta,{FIRST}\\n", "--same-students")
    assert opens(guest.url, "gitta", FIRST)


def test_the_hubs_start_makes_no_account(guest: Guest) -> None:
    """The state after ``sign_in`` was taken out, or an older file of accounts came back."""
    imported(guest, f"gitta,{FIRST}\\nerna,{FIRST}\\n")
    for name in ("gitta", "erna"):
        Student(guest.url, name, FIRST).sign_in()
    change = "d = json.load(open(p)); d.pop('gitta'); d.pop('erna'); json.dump(d, open(p, 'w'))"
    guest.run(f"python3 -c \"import json; p = '/var/lib/notebook/accounts.json'; {change}\"")
    guest.run("systemctl restart notebook")
    guest.wait()
    assert not {"gitta", "erna"} & set(guest.run("notebook-accounts list").split())
    assert not opens(guest.url, "gitta", "a stranger came first"), "the hub knew the name"
    assert "gitta (waits for approval)" in guest.run("notebook-accounts list").splitlines()


@pytest.mark.parametrize("how", ["lock", "password", "import", "remove"])
def test_who_is_locked_or_reset_is_out(guest: Guest, how: str) -> None:
    imported(guest, f"curt,{FIRST}\\n")
    curt = Student(guest.url, "curt", FIRST).sign_in().start()
    by_cookie = Student(guest.url, "curt", "", curt.cookies)
    assert curt.kernel().run("1 + 1") == "2"
    assert by_cookie.json("GET", "/hub/api/user")["name"] == "curt"
    guest.run(
        {
            "lock": "notebook-accounts lock Curt",
            "password": f"echo {SECOND} | notebook-accounts password curt",
            "import": f"echo curt,{SECOND} | notebook-accounts import --reset-passwords -",
            "remove": "notebook-accounts remove curt",
        }[how]
    )
    until(lambda: "curt" not in guest.run("notebook-sessions"))
    for thief in (curt, by_cookie):
        with pytest.raises(RefusedError):
            thief.json("GET", "/hub/api/user")
        with pytest.raises(RefusedError):
            thief.json("POST", "/hub/api/users/curt/server", {})
    assert not opens(guest.url, "curt", FIRST)
    assert opens(guest.url, "curt", SECOND) == (how in ("password", "import"))


def test_who_is_locked_while_the_hub_is_down_is_out_when_it_is_back(guest: Guest) -> None:
    imported(guest, f"curt,{FIRST}\\n")
    curt = Student(guest.url, "curt", FIRST).sign_in().start()
    by_cookie = Student(guest.url, "curt", "", curt.cookies)
    guest.run("systemctl stop notebook")
    try:
        assert "does not answer" in guest.run("notebook-accounts lock curt")
        until(lambda: "curt" not in guest.run("notebook-sessions"))
    finally:
        guest.run("systemctl start notebook")
        guest.wait()
    for thief in (curt, by_cookie):
        with pytest.raises(RefusedError):
            thief.json("GET", "/hub/api/user")


def test_a_rename_is_refused_and_names_are_added_as_one(guest: Guest) -> None:
    imported(guest, f"gitta,{FIRST}\\n")
    Student(guest.url, "gitta", FIRST).sign_in()
    admin = administrator(guest)
    with pytest.raises(RefusedError, match="cannot be changed"):
        admin.json("PATCH", "/hub/api/users/gitta", {"name": "erna"})
    assert admin.json("GET", "/hub/api/users/gitta")["name"] == "gitta"
    assert "erna" not in guest.run("notebook-accounts list")
    with pytest.raises(RefusedError, match="Invalid username: m"):
        admin.json("POST", "/hub/api/users", {"usernames": ["erna", "müller", "curt"]})
    known = [user["name"] for user in admin.json("GET", "/hub/api/users")]
    assert not {"erna", "curt"} & set(known)
    admin.json("POST", "/hub/api/users", {"usernames": ["erna", "curt"]})
    assert opens(guest.url, "erna", FIRST)
