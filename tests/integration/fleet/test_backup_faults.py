"""Backups that are there when they are needed, whatever happened to them and to their files."""

import json
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from guests import Fleet, Outcome
from student import RefusedError, Student

Call = Callable[..., Any]
FILES = "/home/students"
HUB = "/var/lib/notebook"
PROGRAM = "/usr/local/lib/appliance/backup"
REPOSITORY = "/var/backups/sage-01"
NAMES = ("Blatt [2].ipynb", r"back\slash.txt", "*", "-rf", "100% $HOME?", "zwei\nZeilen", " Rand ")
# A clock that is two years back, as far as restic is concerned.
LATE = r"""#!/bin/sh
if [ "$1" = backup ]; then shift; exec /usr/bin/restic backup --time '2024-11-29 03:00:00' "$@"; fi
exec /usr/bin/restic "$@"
"""


@pytest.fixture(scope="module")
def call(one: Fleet) -> Call:
    def call(*words: str, stdin: str | None = None) -> Any:
        done = one.appliance(*words, "--json", stdin=stdin)
        assert done.code == 0, done
        return json.loads(done.out)["hosts"][0]["facts"]

    guest = one.guests[0]
    # An overlay cannot be mounted with other owners; the appliance's /home is ext4.
    guest.run(f"mount -t tmpfs -o mode=0711 tmpfs {FILES}")
    guest.run(f"install -d -o 50000 -g 50000 -m 700 {FILES}/emmy")
    guest.run(f"echo noether > {FILES}/emmy/ideal; chown 50000:50000 {FILES}/emmy/ideal")
    call("backup", "setup", "--to", "/var/backups/{host}")
    assert call("backup", "run")["consistent"] is True
    return call


def restic(one: Fleet, words: str) -> str:
    """What restic says, asked with the password that is set up."""
    secret = json.loads(one.guests[0].run("cat /etc/appliance/backup.json"))["password"]
    return one.guests[0].run(f"RESTIC_PASSWORD='{secret}' restic -q -r {REPOSITORY} {words}")


def refused(one: Fleet, *words: str, stdin: str | None = None) -> str:
    done: Outcome = one.appliance(*words, "--json", stdin=stdin)
    assert done.code == 1, done
    return str(json.loads(done.out)["hosts"][0]["detail"])


def test_setup_again_keeps_the_password(one: Fleet, call: Call) -> None:
    guest = one.guests[0]
    told = call("backup", "password")
    kept = json.loads(guest.run("cat /etc/appliance/backup.json"))["password"]
    assert told["password"] == kept
    again = call("backup", "setup", "--to", "/var/backups/{host}", "--when", "hourly")
    assert "password" not in again  # nothing new to write down
    assert json.loads(guest.run("cat /etc/appliance/backup.json"))["password"] == kept
    assert "hourly" in guest.run("systemctl cat appliance-backup.timer")
    assert call("backup", "list")["snapshots"]
    # It is on this host, too: of an appliance that is lost it is read from here.
    assert json.loads(Path(told["kept"]).read_text()) == {REPOSITORY: kept}


@pytest.mark.parametrize(
    ("words", "stdin", "why"),
    [
        (("--to", "/var/backups/{host}", "--password-stdin"), "another\n", "does not open"),
        (("--to", "/var/backups/{host}", "--password-stdin"), "\n", "the password is empty"),
        (("--to", "/var/backups/{host}", "--when", "at night"), None, "is no time of systemd's"),
        (("--to", "/proc/nowhere"), None, "restic: "),
    ],
)
def test_settings_that_do_not_work_change_nothing(
    one: Fleet, call: Call, words: tuple[str, ...], stdin: str | None, why: str
) -> None:
    guest = one.guests[0]
    place = "/etc/appliance/backup.json /etc/systemd/system/appliance-backup.*"
    before = guest.run(f"cat {place}")
    assert why in refused(one, "backup", "setup", *words, stdin=stdin)
    assert guest.run(f"cat {place}") == before
    assert call("backup", "list")["snapshots"]


@pytest.fixture(scope="module")
def named(one: Fleet, call: Call) -> Iterator[None]:
    """One backup, of a folder for each name: a file that has it, and what it would match."""
    guest = one.guests[0]
    make = (
        "import json, os, sys; os.umask(0o77); place = '/home/students/emmy/names'\n"
        "for number, name in enumerate(json.load(sys.stdin)):\n"
        "    os.makedirs(f'{place}{number}')\n"
        "    for each in (name, 'Blatt 2.ipynb', 'backslash.txt', 'other'):\n"
        "        open(f'{place}{number}/{each}', 'w').write(each)\n"
    )
    guest.run(f"python3 -c {shlex.quote(make)} <<'E'\n{json.dumps(NAMES)}\nE")
    guest.run(f"chown -R 50000:50000 {FILES}/emmy/names*")
    call("backup", "run")
    yield
    guest.run(f"rm -r {FILES}/emmy/names*")


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("name", NAMES)
def test_names_are_names(one: Fleet, call: Call, name: str) -> None:
    guest, folder = one.guests[0], f"names{NAMES.index(name)}"
    place = call("restore", "sage-01", "--student", "emmy", f"--path={folder}/{name}")["place"]
    assert guest.run(f"cat {place}/*") == name
    assert guest.run(f"ls -A {place} | wc -l").strip() == str(1 + name.count("\n"))
    guest.run(f"rm -r {place}")


def test_a_time_means_one_snapshot_which_is_said(one: Fleet, call: Call) -> None:
    guest = one.guests[0]
    guest.run(f"timedatectl set-timezone Europe/Berlin; echo old > {FILES}/emmy/day")
    for day, clock in (("27", "12:00:00"), ("28", "01:30:40")):
        guest.run(f"echo {day} > {FILES}/emmy/day; chown 50000:50000 {FILES}/emmy/day")
        at = f"--time '2025-11-{day} {clock}' --host appliance --tag appliance"
        restic(one, f"backup {at} {FILES}")
    known = {each["time"][:10]: each["id"] for each in call("backup", "list")["snapshots"]}
    meant = {
        "2025-11-28 01:30:40": "28",
        "2025-11-28T00:30:40Z": "28",
        "2025-11-28 01:30": "28",  # as the page shows it
        "2025-11-28 00:30": "27",
        "2025-11-27": "27",
        known["2025-11-27"][:6]: "27",
    }
    for at, day in meant.items():
        words = ("restore", "sage-01", "--student", "emmy", "--path", "day", "--at", at)
        done = one.appliance(*words)
        assert done.code == 0, done
        assert f"2025-11-{day} " in done.err, done  # before anything was restored
        place = done.out.rpartition("place: ")[2].strip()
        assert guest.run(f"cat {place}/day") == f"{day}\n", at
        guest.run(f"rm -r {place}")
    before = guest.run(f"ls -A {FILES}/emmy")
    for at in ("28.11.2025", "Nov 28", "27/11/2025", "gestern", "zzzz", known["2025-11-28"][:3]):
        told = refused(one, "restore", "sage-01", "--student", "emmy", "--at", at)
        assert repr(at) in told and "no time and no snapshot" in told
    assert guest.run(f"ls -A {FILES}/emmy") == before
    call("backup", "forget", "sage-01", "2025-11-27")
    call("backup", "forget", "sage-01", "2025-11-28")
    guest.run("timedatectl set-timezone Etc/UTC")


def test_locks_of_what_died_are_removed_and_others_are_not(one: Fleet, call: Call) -> None:
    guest = one.guests[0]
    guest.run(f"head -c 30M /dev/urandom > {FILES}/emmy/big; chown 50000 {FILES}/emmy/big")
    call("backup", "run")
    guest.run(f"rm {FILES}/emmy/big")
    secret = json.loads(guest.run("cat /etc/appliance/backup.json"))["password"]
    # Killed as by a power cut, while it has the repository for itself.
    guest.run(
        f"RESTIC_PASSWORD='{secret}' restic -q -r {REPOSITORY} forget --keep-last 1 --prune"
        f' > /dev/null 2>&1 & until [ -n "$(ls {REPOSITORY}/locks)" ]; do sleep 0.01; done;'
        " kill -9 $!"
    )
    assert guest.run(f"ls {REPOSITORY}/locks") != ""
    # Its number is another program's now, as after a start anew; restic alone leaves such a lock.
    call("backup", "run")
    assert guest.run(f"ls {REPOSITORY}/locks") == ""
    guest.run(
        f"unshare --uts sh -c 'hostname elsewhere; RESTIC_PASSWORD={secret} restic -q -r"
        f" {REPOSITORY} forget --keep-last 1 --prune > /dev/null 2>&1 & "
        f'until [ -n "$(ls {REPOSITORY}/locks)" ]; do sleep 0.01; done; kill -9 $!\''
    )
    assert "lock" in refused(one, "backup", "run")  # it may be alive
    restic(one, "unlock --remove-all")


def test_what_was_just_made_is_kept_whatever_its_date(one: Fleet, call: Call) -> None:
    guest = one.guests[0]
    for day in range(1, 9):
        restic(
            one,
            f"backup --host appliance --tag appliance --time '2026-10-0{day} 03:00:00' /etc/hosts",
        )
    guest.run(f"cat > /usr/local/bin/restic <<'E'\n{LATE}E\nchmod 755 /usr/local/bin/restic")
    made = json.loads(guest.run(f"PATH=/usr/local/bin:$PATH {PROGRAM} run"))["snapshot"]
    guest.run("rm /usr/local/bin/restic")
    assert made in [each["id"] for each in call("backup", "list")["snapshots"]]


def test_a_clock_behind_the_newest_backup_is_refused(one: Fleet, call: Call) -> None:
    restic(one, "backup --host appliance --tag appliance --time '2031-10-01 03:00:00' /etc/hosts")
    known = call("backup", "list")["snapshots"]
    told = refused(one, "backup", "run")
    assert "the clock says" in told and "2031-10-01" in told and "appliance backup forget" in told
    assert call("backup", "list")["snapshots"] == known
    call("backup", "forget", "sage-01", known[-1]["id"])
    assert call("backup", "run")["consistent"] is True


@pytest.mark.parametrize("fault", ["damaged", "locked", "a pipe", "gone"])
def test_the_hubs_database_does_not_stop_the_students_files(
    one: Fleet, call: Call, fault: str
) -> None:
    guest, database = one.guests[0], f"{HUB}/jupyterhub.sqlite"
    guest.run("systemctl stop notebook")
    guest.run(f"echo {fault} > {FILES}/emmy/fault")
    lock = (
        f"import sqlite3, time; c = sqlite3.connect('{database}', isolation_level=None);"
        " c.execute('begin exclusive'); time.sleep(600)"
    )
    with guest.keeping(database, then="systemctl stop locker; systemctl start notebook"):
        guest.run(
            {
                "damaged": f"printf garbage | dd of={database} conv=notrunc status=none",
                "locked": f'systemd-run --quiet --unit=locker python3 -c "{lock}"; sleep 1',
                "a pipe": f"rm {database}; mkfifo {database}; chown sageadm: {database}",
                "gone": f"rm {database}",
            }[fault]
        )
        told = call("backup", "run")
    assert told["database"].startswith("jupyterhub.sqlite: ")
    assert told["consistent"] is False
    assert fault in restic(one, f"dump {told['snapshot']} {FILES}/emmy/fault")
    # The last good one is in it.
    copy = "/var/lib/appliance/backup/hub/jupyterhub.sqlite"
    assert restic(one, f"dump {told['snapshot']} {copy} | head -c 6") == "SQLite"
    assert call("backup", "verify")["compared"] >= 1


def test_a_hub_that_crashes_in_a_loop_is_seen(one: Fleet, call: Call) -> None:
    guest, database = one.guests[0], f"{HUB}/jupyterhub.sqlite"
    guest.run("systemctl reset-failed; systemctl stop notebook")
    with guest.keeping(database, then="systemctl restart notebook"):
        guest.run(f"printf garbage | dd of={database} conv=notrunc status=none")
        guest.run("systemctl start notebook")
        deadline = time.monotonic() + 120
        while call("fleet", "status")["failed_units"] != ["notebook.service"]:
            assert time.monotonic() < deadline, guest.run("journalctl -u notebook -n 20 --no-pager")
            time.sleep(1)
    guest.wait(240)


def test_root_follows_no_link_of_the_hubs_user(one: Fleet, call: Call) -> None:
    guest = one.guests[0]
    hub = 'runuser -u "$(stat -c %U /var/lib/notebook)" --'
    for name in ("shadow", ".accounts.json.new", ".audit.jsonl.new", "audit.jsonl", "cookie"):
        guest.run(f"{hub} ln -sfn /etc/shadow {HUB}/{name}")
    guest.run(f"{hub} ln -sfn /etc {HUB}/folder")
    before = guest.run("stat -c '%U %a %i' /etc/shadow; cat /etc/shadow")
    made = call("backup", "run")["snapshot"]
    assert guest.run("getent shadow sageadm").strip() not in restic(
        one, f"dump --archive tar {made} /var/lib/appliance/backup/hub"
    )
    call("restore", "sage-01", "--all", "--yes")
    guest.wait(240)
    assert guest.run("stat -c '%U %a %i' /etc/shadow; cat /etc/shadow") == before
    assert guest.run("stat -c %U /etc /etc/hosts") == "root\nroot\n"
    names = ".accounts.json.new .audit.jsonl.new audit.jsonl cookie shadow folder"
    guest.run(f"cd {HUB} && rm -f {names}")


def test_a_folder_that_becomes_a_link_meanwhile(one: Fleet, call: Call) -> None:
    """Restic opens by whole paths: what is a folder may be a link a moment later."""
    guest = one.guests[0]
    work = f"{FILES}/emmy/swap"
    guest.run(
        f"mkdir {work} {work}/a; echo mine > {work}/a/shadow; ln -s /etc {work}/b;"
        f" chown -Rh 50000:50000 {work}"
    )
    swap = (
        "import ctypes; libc = ctypes.CDLL(None);\n"
        f"while True: libc.renameat2(-100, b'{work}/a', -100, b'{work}/b', 2)"
    )
    guest.run(f'systemd-run --quiet --unit=swapper --uid=50000 -p Nice=-5 python3 -c "{swap}"')
    secret = guest.run("getent shadow sageadm").strip()
    try:
        for _ in range(2):
            made = call("backup", "run")["snapshot"]
            assert secret not in restic(one, f"dump --archive tar {made} {work}")
    finally:
        guest.run(f"systemctl stop swapper; rm -r {work}")


def test_what_a_killed_restore_left_is_swept_and_never_backed_up(one: Fleet, call: Call) -> None:
    guest = one.guests[0]
    left = f"{FILES}/.restore-left"
    guest.run(f"mkdir -p {left}/home; echo x > {left}/home/x")
    made = call("backup", "run")["snapshot"]
    assert ".restore-" not in restic(one, f"ls {made}")
    assert guest.run(f"ls -A {FILES} | grep restore- || :") == ""


def test_verify_unpacks_nothing(one: Fleet, call: Call) -> None:
    guest = one.guests[0]
    guest.run(f"head -c 40M /dev/urandom > {FILES}/emmy/large; chown 50000 {FILES}/emmy/large")
    call("backup", "run")
    watch = (
        "while :; do du -sk /var/lib/appliance/backup /home/students | cut -f1 | paste -s;"
        " sleep 0.02; done > /run/sizes"
    )
    guest.run(f"systemd-run --quiet --unit=watch sh -c {shlex.quote(watch)}")
    assert call("backup", "verify")["compared"] >= 2
    guest.run("systemctl stop watch")
    rows = [line.split() for line in guest.run("cat /run/sizes").splitlines()]
    for column in (0, 1):
        sizes = [int(row[column]) for row in rows if len(row) == 2]
        assert max(sizes) - min(sizes) < 8 << 10  # KiB
    guest.run(f"rm {FILES}/emmy/large")


def test_everything_over_a_running_session(one: Fleet, call: Call) -> None:
    guest = one.guests[0]
    writer = call("users", "add", "writer")["passwords"]["writer"]
    session = Student(guest.host.url, "writer", writer).sign_in().start()
    kernel = session.kernel()
    kernel.shell("echo version of the backup > essay")
    call("backup", "run")
    later = call("users", "add", "newpupil")["passwords"]["newpupil"]
    fresh = call("users", "reset", "writer")["passwords"]["writer"]
    session = Student(guest.host.url, "writer", fresh).sign_in().start()
    kernel = session.kernel()
    kernel.shell("(while :; do echo today > essay; sleep 0.05; done) > /dev/null 2>&1 &")
    # Without a terminal it is not done by the way.
    assert one.appliance("restore", "sage-01", "--all", stdin="").code == 2
    told = call("restore", "sage-01", "--all", "--yes")
    guest.wait(240)
    assert (told["ended"], told["kept"]) == (1, ["newpupil"])
    assert guest.run(f"cat {FILES}/writer/essay") == "version of the backup\n"
    assert guest.run("pgrep -c -U nb1,nb2,nb3 || :") == "0\n"
    assert call("sessions", "list")["sessions"] == []
    # Who came since signs in, and a password that was changed since stays changed.
    for name, password in (("newpupil", later), ("writer", fresh)):
        Student(guest.host.url, name, password).sign_in()
    with pytest.raises(RefusedError, match="403"):  # nor does a token come back
        session.json("GET", "/hub/api/user")
