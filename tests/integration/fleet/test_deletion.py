"""Deletion of a student: archived whole, moved aside, removed; or nothing of it."""

import json
import shlex
import time
from collections.abc import Callable
from typing import Any

import pytest
from guests import Fleet

Call = Callable[..., Any]
FILES = "/home/students"
HUB = "/var/lib/notebook"
RECORD = "/etc/notebook/guest.json"
KEEPER = "/run/notebook/keeper.socket"
# Run as root: NAME's directory as a first session makes it, then folders in folders and a file.
DEEP = """
import os, sys
from pathlib import Path
from provision.guest.pool.files import student_directory
name, folder, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
home = student_directory(Path("/home/students"), name)
owner = home.stat().st_uid
os.chdir(home)
for _ in range(count):
    os.mkdir(folder)
    os.chown(folder, owner, owner)
    os.chdir(folder)
Path("bottom").write_text("theorema")
os.chown("bottom", owner, owner)
"""
ASK = """
import json, socket, sys
asked = socket.socket(socket.AF_UNIX); asked.connect(sys.argv[1]); asked.settimeout(60)
asked.sendall(sys.argv[2].encode()); asked.shutdown(socket.SHUT_WR)
print(asked.makefile().read())
"""


def python(one: Fleet, script: str, *words: str, user: str = "") -> str:
    argv = ["/opt/notebook/bin/python", "-I", "-c", script, *words]
    asked = f"runuser -u {user} -- " if user else ""
    return one.guests[0].run(f"{asked}{shlex.join(argv)}")


def ask(one: Fleet, *words: str) -> Any:
    """Ask root's service as the hub does."""
    hub = one.guests[0].run(f"stat -c %U {HUB}").strip()
    return json.loads(python(one, ASK, KEEPER, json.dumps(words), user=hub))


@pytest.fixture(scope="module")
def call(one: Fleet) -> Call:
    def call(*words: str) -> Any:
        done = one.appliance(*words, "--json")
        assert done.code == 0, done
        return json.loads(done.out.splitlines()[-1])["hosts"][0]["facts"]

    one.guests[0].run(f"mount -t tmpfs -o mode=0711 tmpfs {FILES}")
    return call


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("deep", ("d", 1500, ".tar.gz")),
        ("long", ("x" * 200, 40, ".tree")),  # longer than any path may be
        ("both", ("y" * 50, 1200, ".tree")),
    ],
)
def test_folders_in_folders_go_and_come_back(
    one: Fleet, call: Call, name: str, shape: tuple[str, int, str]
) -> None:
    guest, (folder, count, end) = one.guests[0], shape
    call("users", "add", name)
    python(one, DEEP, name, folder, str(count))
    number = guest.run(f"stat -c %u {FILES}/{name}").strip()
    there = f"cd {FILES}/{name} && find . -name bottom -execdir cat {{}} + && find . | wc -l"
    before = guest.run(there)
    assert before.startswith("theorema")
    call("users", "delete", name, "--yes")
    assert guest.run(f"ls -A {FILES} | grep {name} || :") == ""
    assert guest.run(f"ls {FILES}/.archive").strip().endswith(end)
    call("users", "bring-back", name)
    assert guest.run(there) == before
    assert guest.run(f"find {FILES}/{name} ! -uid {number} | wc -l") == "0\n"
    assert guest.run(f"ls -A {FILES}/.archive") == ""
    call("users", "delete", name, "--yes")
    guest.run(f"rm -r {FILES}/.archive/*")


def test_half_an_archive_is_nobodys_home(one: Fleet, call: Call) -> None:
    guest = one.guests[0]
    call("users", "add", "carl")
    python(one, DEEP, "carl", "folder", "1")
    guest.run(f"head -c 3M /dev/urandom > {FILES}/carl/large; chown 50000 {FILES}/carl/large")
    call("users", "delete", "carl", "--yes")
    guest.run(f"cp -a {FILES}/.archive /root/whole; truncate -s 2M {FILES}/.archive/carl.*")
    assert "error" in ask(one, "back", "carl")
    assert guest.run(f"ls -A {FILES} | grep carl || :") == ""
    # Nor is what an earlier version of ours, or a power cut, has left.
    guest.run(f"install -d -o 50007 -m 700 {FILES}/.new-carl; touch {FILES}/.new-carl/half")
    python(one, DEEP, "carl", "fresh", "1")
    assert "half" not in guest.run(f"ls -A {FILES}/carl")
    guest.run(f"rm -r {FILES}/carl; rm -r {FILES}/.archive; mv /root/whole {FILES}/.archive")
    ask(one, "back", "carl")
    assert guest.run(f"cat {FILES}/carl/folder/bottom; stat -c %s {FILES}/carl/large") == (
        "theorema3145728\n"
    )


def test_a_deletion_that_was_cut_off_loses_nothing(one: Fleet, call: Call) -> None:
    """Moved aside, and the power is cut: the next run archives it, whatever was done before."""
    guest = one.guests[0]
    python(one, DEEP, "cut", "folder", "1")
    guest.run(f"mv {FILES}/cut {FILES}/.gone-cut")
    python(one, DEEP, "cut", "later", "1")
    made = ask(one, "archive", "cut")["archives"]
    assert len(made) == 2
    names = " ".join(guest.run(f"tar tzf {each}") for each in made)
    assert "folder/bottom" in names and "later/bottom" in names
    assert guest.run(f"ls -A {FILES} | grep cut || :") == ""


def test_who_comes_back_gets_a_number_of_the_own(one: Fleet, call: Call) -> None:
    guest = one.guests[0]
    python(one, DEEP, "moved", "folder", "1")
    number = guest.run(f"stat -c %u {FILES}/moved").strip()
    ask(one, "archive", "moved")
    guest.run(f"install -d -o {number} -g {number} -m 700 {FILES}/other")
    ask(one, "back", "moved")
    fresh = guest.run(f"stat -c %u {FILES}/moved").strip()
    assert fresh != number
    assert guest.run(f"find {FILES}/moved ! -uid {fresh}") == ""


def test_the_service_follows_no_link_and_waits_for_no_pipe(one: Fleet, call: Call) -> None:
    guest = one.guests[0]
    hub = guest.run(f"stat -c %U {HUB}").strip()
    accounts = json.loads(guest.run("cat /etc/notebook/guest.json"))["accounts"]
    guest.run(f"install -d -o {hub} -m 700 {HUB}/machines {HUB}/leases")
    python(one, DEEP, "victim", "folder", "1")
    guest.run(f"ln -sfn /etc/shadow {HUB}/machines/victim; rm -f {HUB}/leases/{accounts[0]}")
    assert "root:" not in json.dumps(ask(one, "archive", "victim"))
    guest.run(f"rm -f {HUB}/machines/victim; mkfifo {HUB}/machines/victim")
    assert "error" in ask(one, "archive", "victim")
    guest.run(f"rm {HUB}/machines/victim; mkfifo {HUB}/leases/{accounts[0]}")
    ask(one, "archive", "victim")
    guest.run(f"rm {HUB}/leases/{accounts[0]}")


def set_retention(fleet: Fleet, **seconds: int) -> None:
    """As `appliance configure` writes it; the record keeps its owner."""
    guest = fleet.guests[0]
    told = {**json.loads(guest.run(f"cat {RECORD}")), "retention": seconds}
    guest.run(f"printf %s {shlex.quote(json.dumps(told))} > {RECORD}")


def test_what_retention_keeps_no_longer_goes_and_is_told_before(one: Fleet, call: Call) -> None:
    guest = one.guests[0]
    archive, audit = f"{FILES}/.archive", f"{HUB}/audit.jsonl"
    for name in ("cauchy", "hermite"):
        call("users", "add", name)
        python(one, DEEP, name, "cours", "1")
        call("users", "delete", name, "--yes")
    # The first of them was deleted long ago, and somebody made it; a torn line is of then, too.
    made = guest.run(f"cd {archive} && ls -d cauchy.*").split()[0]
    long_ago = f"{'.'.join(made.split('.')[:2])}.20200101T000000.tar.gz"
    guest.run(f"cd {archive} && mv {made} {long_ago} && touch cauchy.10000.notes.tar.gz")
    line = json.dumps({"time": "2020-01-01T00:00:00Z", "who": "x", "action": "add", "student": "y"})
    torn = '{"time": "20'
    guest.run(f"(printf '%s\\n' {shlex.join([line, torn])}; cat {audit}) > /root/audit")
    guest.run(f"cat /root/audit > {audit}; rm /root/audit")
    noted = guest.run(f"cat {audit}").splitlines()

    assert json.loads(guest.run(f"cat {RECORD}"))["retention"] == {"archives": 0, "audit": 0}
    assert call("users", "retention", "--days", "36500")["goes"] == []
    guest.run("systemctl start notebook-retention")
    assert long_ago in guest.run(f"ls {archive}")
    set_retention(one, archives=365 * 86400, audit=30 * 86400)
    due = call("users", "retention", "--days", "0")
    assert due["kept"] == ["archives 365d", "audit 30d"]
    assert f"2020-12-31 {long_ago}" in due["goes"]
    assert "the 2 oldest lines of the audit" in due["goes"]
    soon = call("users", "retention", "--days", "366")["goes"]
    assert len([each for each in soon if " hermite." in each]) == 1
    assert f"the {len(noted)} oldest lines of the audit" in soon
    assert guest.run(f"cat {audit}").splitlines() == noted
    assert long_ago in guest.run(f"ls {archive}")

    guest.run("systemctl start notebook-retention")
    left = guest.run(f"ls {archive}")
    assert long_ago not in left and "cauchy.10000.notes.tar.gz" in left
    assert guest.run(f"cat {audit}").splitlines() == noted[2:]
    assert guest.run(f"stat -c '%U %a' {audit}").split() == ["notebook", "600"]
    said = guest.run("journalctl -q -o cat -t notebook-retention")
    assert f"removed the archive of cauchy: {long_ago}" in said
    assert "removed the 2 oldest lines of the audit" in said
    assert "active" in guest.run("systemctl is-active notebook-retention.timer")
    # Of 364 days ago: it goes within a week, and the letter says so.
    then = time.strftime("%Y%m%dT%H%M%S", time.gmtime(time.time() - 364 * 86400))
    made = guest.run(f"cd {archive} && ls -d hermite.*").split()[0]
    guest.run(f"cd {archive} && mv {made} {'.'.join(made.split('.')[:2])}.{then}.tar.gz")
    guest.run("systemctl start notebook-retention")
    assert "the archive of hermite: " in guest.run("journalctl -q -o cat -t notebook-retention")
    call("users", "bring-back", "hermite")
    assert guest.run(f"cat {FILES}/hermite/cours/bottom") == "theorema"
    set_retention(one, archives=0, audit=0)
    guest.run(f"rm -f {archive}/cauchy*")


def test_an_appliance_older_than_retention_says_so(one: Fleet) -> None:
    guest, program = one.guests[0], "/opt/notebook/lib/python3*/site-packages/provision/guest/hub"
    guest.run(f"mv {program}/retention.py /root && rm -f {program}/__pycache__/retention.*")
    done = one.appliance("users", "retention", "--json")
    guest.run(f"mv /root/retention.py {program}/")
    assert done.code == 1
    assert "older than `retention:`" in json.loads(done.out)["hosts"][0]["detail"]
