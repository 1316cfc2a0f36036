"""Backups by a real restic, and what comes back of them."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from guests import Fleet
from student import RefusedError, Student

Call = Callable[..., Any]
FILES = "/home/students"
NEW = (
    "from pathlib import Path; from provision.guest.pool.files import student_directory;"
    f'student_directory(Path("{FILES}"), "ada")'
)


@pytest.fixture(scope="module")
def call(one: Fleet) -> Call:
    def call(*words: str) -> Any:
        done = one.appliance(*words, "--json")
        assert done.code == 0, done
        return json.loads(done.out.splitlines()[-1])["hosts"][0]["facts"]

    # An overlay cannot be mounted with other owners; the appliance's /home is ext4.
    one.guests[0].run(f"mount -t tmpfs -o mode=0711 tmpfs {FILES}")
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
    # What the timer starts; meanwhile every process's arguments are looked at.
    before = call("backup", "list")["snapshots"]
    seen = (
        'while [ "$(systemctl is-active appliance-backup)" = activating ];'
        " do cat /proc/[0-9]*/cmdline 2>/dev/null; done | tr '\\0' '\\n' | sort -u"
    )
    told = one.guests[0].run(f"systemctl start --no-block appliance-backup; sleep 0.2; {seen}")
    assert "restic" in told
    assert secret not in told
    assert one.guests[0].run("systemctl is-failed appliance-backup || :") == "inactive\n"
    assert call("backup", "list")["snapshots"] != before


@pytest.fixture(scope="module")
def teacher(one: Fleet) -> Student:
    """The administrator, at the classroom's page."""
    guest = one.guests[0]
    password = guest.run("cat /var/lib/notebook/first-password").strip()
    return Student(guest.host.url, "sageadm", password).sign_in()


def do(who: Student, action: str, student: str = "", **more: str) -> str:
    """Press a button of the classroom's page, and wait for what comes of it."""
    who.request("GET", "/hub/classroom")
    form = {"action": action, "student": student, **more}
    return json.loads(who.request("POST", "/hub/classroom/do", form, form=True, wants="json"))


def test_backup_and_restore_from_the_page(one: Fleet, call: Call, teacher: Student) -> None:
    guest = one.guests[0]
    before = {each["id"] for each in call("backup", "list")["snapshots"]}
    assert do(teacher, "backup")["said"].endswith("consistent")
    after = {each["id"] for each in call("backup", "list")["snapshots"]}  # of a day the last stays
    assert len(after - before) == 1
    told = do(teacher, "restore", "emmy", path="ring/ideal")["said"]
    name = told.rpartition(" ")[2]
    assert guest.run(f"cat {FILES}/emmy/{name}/ideal") == "noether\n"
    assert "is not below" in do(teacher, "restore", "emmy", path="../../etc/shadow")["error"]
    assert "not a student's name" in do(teacher, "restore", "../emmy")["error"]
    assert "sageadm restore emmy" in " ".join(
        "{who} {action} {student}".format(**json.loads(line))
        for line in guest.run("cat /var/lib/notebook/audit.jsonl").splitlines()
    )
    page = teacher.request("GET", "/hub/classroom")
    assert "Back up now" in page and told in page
    # A time as the page shows it is understood, and what it means is said.
    shown = re.search(r"last (\d{4}-\d\d-\d\d \d\d:\d\d [+-]\d{4})", page)
    assert shown is not None
    again = do(teacher, "restore", "emmy", path="ring/ideal", at=shown[1])["said"]
    assert again.partition(" into ")[0] == told.partition(" into ")[0]
    assert "no time and no snapshot" in do(teacher, "restore", "emmy", at="gestern")["error"]


def test_a_student_who_computes_is_deleted_and_brought_back(
    one: Fleet, call: Call, teacher: Student
) -> None:
    guest = one.guests[0]
    password = call("users", "add", "carl")["passwords"]["carl"]
    carl = Student(guest.host.url, "carl", password).sign_in().start()
    kernel = carl.kernel()
    kernel.shell("echo theorema > egregium; ln -s /etc/shadow link; mkfifo pipe; chmod 0 egregium")
    kernel.shell("(while :; do :; done) > /dev/null 2>&1 &")
    number = guest.run(f"stat -c %u {FILES}/carl").strip()
    with pytest.raises(RefusedError, match="write the name"):
        do(teacher, "delete", "carl")
    with pytest.raises(RefusedError, match="is an administrator"):
        do(teacher, "delete", "sageadm", confirm="sageadm")
    with pytest.raises(RefusedError, match="403"):
        do(carl, "delete", "emmy", confirm="emmy")
    assert f"carl.{number}." in do(teacher, "delete", "carl", confirm="carl")["said"]
    assert guest.run(f"ls -A {FILES} | grep carl || true") == ""
    assert (
        guest.run(f"stat -c '%U %a' {FILES}/.archive {FILES}/.archive/*") == "root 700\nroot 600\n"
    )
    assert "carl" not in call("users", "list")["users"]
    assert call("sessions", "list")["sessions"] == []
    with pytest.raises(RefusedError):
        carl.json("POST", "/hub/api/users/carl/server", {})  # the token ended, too
    with pytest.raises(RefusedError):
        Student(guest.host.url, "carl", password).sign_in()
    # Another student gets another number while the archive is there.
    call("users", "add", "ada")
    guest.run(f"/opt/notebook/bin/python -c '{NEW}'")
    assert guest.run(f"stat -c %u {FILES}/ada").strip() != number

    call("users", "bring-back", "carl")
    assert guest.run(f"cat {FILES}/carl/egregium") == "theorema\n"
    assert guest.run(f"stat -c '%u %a' {FILES}/carl/egregium") == f"{number} 0\n"
    assert guest.run(f"readlink {FILES}/carl/link") == "/etc/shadow\n"
    password = call("users", "reset", "carl")["passwords"]["carl"]
    carl = Student(guest.host.url, "carl", password).sign_in().start()
    assert "theorema" in carl.kernel().shell("chmod 600 egregium; cat egregium")
    call("users", "delete", "carl", "--yes")
    call("users", "delete", "ada", "--yes")


@pytest.mark.slow
def test_who_cannot_be_archived_is_not_deleted(one: Fleet, call: Call, teacher: Student) -> None:
    guest = one.guests[0]
    password = call("users", "add", "karl")["passwords"]["karl"]
    karl = Student(guest.host.url, "karl", password).sign_in().start()
    karl.kernel().shell("head -c 40000000 /dev/urandom > large")
    guest.run(f"mount -t tmpfs -o size=1m,mode=700 tmpfs {FILES}/.archive")
    try:
        told = do(teacher, "delete", "karl", confirm="karl")["error"]
        assert "No space left" in told
        assert guest.run(f"ls -A {FILES}/.archive") == ""
    finally:
        guest.run(f"umount {FILES}/.archive")
    karl = Student(guest.host.url, "karl", password).sign_in().start()
    assert "40000000" in karl.kernel().shell("stat -c %s large")
    call("users", "delete", "karl", "--yes")


def test_everything_after_a_loss(one: Fleet, call: Call) -> None:
    guest = one.guests[0]
    call("users", "add", "ada")
    call("backup", "run")
    call("users", "remove", "ada")
    guest.run(f"rm -r {FILES}/emmy")
    call("restore", "sage-01", "--all", "--yes")
    guest.wait()
    assert guest.run(f"cat {FILES}/emmy/ring/ideal") == "noether\n"
    assert "ada" in call("users", "list")["users"]
    assert guest.run("stat -c '%U %a' /var/lib/notebook/accounts.json") == "notebook 600\n"
    assert call("sessions", "list")["sessions"] == []  # the hub runs on what came back
