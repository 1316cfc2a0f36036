"""Backups by a real restic, and what comes back of them."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from guests import Fleet

Call = Callable[..., Any]
FILES = "/home/students"


@pytest.fixture(scope="module")
def call(one: Fleet) -> Call:
    def call(*words: str) -> Any:
        done = one.appliance(*words, "--json")
        assert done.code == 0, done
        return json.loads(done.out.splitlines()[-1])["hosts"][0]["facts"]

    one.guests[0].run(f"install -d -o 50000 -g 50000 -m 700 {FILES}/emmy {FILES}/emmy/ring")
    one.guests[0].run(f"echo noether > {FILES}/emmy/ring/ideal; chown 50000 {FILES}/emmy/ring/*")
    call("backup", "setup", "--to", "/var/backups/{host}")
    assert call("backup", "run")["consistent"] is True
    return call


def test_it_proves_itself_by_restoring(call: Call) -> None:
    proved = call("backup", "verify")
    assert proved["compared"] >= 1
    assert proved["restored"] > proved["compared"]
    assert call("fleet", "status")["backup_seconds"] < 3600


def test_one_file_of_a_student(one: Fleet, call: Call) -> None:
    one.guests[0].run(f"echo lost > {FILES}/emmy/ring/ideal")
    back = call("restore", "sage-01", "--student", "emmy", "--path", "ring/ideal")
    place = back["place"]
    assert one.guests[0].run(f"cat {place}/ideal") == "noether\n"
    assert one.guests[0].run(f"stat -c %u {place} {place}/ideal") == "50000\n50000\n"
    assert one.guests[0].run(f"cat {FILES}/emmy/ring/ideal") == "lost\n"


def test_a_student_who_is_gone(one: Fleet, call: Call) -> None:
    one.guests[0].run(f"rm -r {FILES}/emmy")
    call("restore", "sage-01", "--student", "emmy", "--at", "latest")
    assert one.guests[0].run(f"cat {FILES}/emmy/ring/ideal") == "noether\n"
    assert one.guests[0].run(f"stat -c %u {FILES}/emmy") == "50000\n"


def test_a_damaged_backup_is_found(one: Fleet, call: Call) -> None:
    one.guests[0].run("cp -a /var/backups/sage-01 /var/backups/kept")
    one.guests[0].run("find /var/backups/sage-01/data -type f | xargs -n1 truncate -s -7")
    done = one.appliance("backup", "verify", "--json")
    one.guests[0].run("rm -r /var/backups/sage-01; mv /var/backups/kept /var/backups/sage-01")
    assert done.code == 1, done


def test_files_that_never_rest_are_told(one: Fleet, call: Call) -> None:
    one.guests[0].run(
        "systemd-run --unit=writer sh -c"
        f" 'while :; do date +%N >> {FILES}/emmy/log; sleep 0.01; done'"
    )
    done = call("backup", "run")
    one.guests[0].run("systemctl stop writer")
    assert done["consistent"] is False
    assert done["changed"] == [f"{FILES}/emmy/log"]


def test_the_password_is_nobody_elses(one: Fleet, call: Call) -> None:
    settings = json.loads(one.guests[0].run("cat /etc/appliance/backup.json"))
    secret = settings["password"]
    assert one.guests[0].run("stat -c %a /etc/appliance/backup.json") == "600\n"
    assert secret not in one.guests[0].run("journalctl --no-pager")
    assert one.guests[0].run("systemctl is-enabled appliance-backup.timer") == "enabled\n"


def test_everything_after_a_loss(one: Fleet, call: Call) -> None:
    guest = one.guests[0]
    call("users", "add", "ada")
    call("backup", "run")
    call("users", "remove", "ada")
    guest.run(f"rm -r {FILES}/emmy")
    call("restore", "sage-01", "--all")
    guest.wait()
    assert guest.run(f"cat {FILES}/emmy/ring/ideal") == "noether\n"
    assert "ada" in call("users", "list")["users"]
    assert guest.run("stat -c '%U %a' /var/lib/notebook/accounts.json") == "sageadm 600\n"
    assert call("sessions", "list")["sessions"] == []  # the hub runs on what came back
