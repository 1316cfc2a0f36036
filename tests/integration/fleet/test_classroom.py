"""Accounts and sessions over SSH, as a teacher uses them."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from guests import Fleet

sys.path.insert(0, str(Path(__file__).parents[1] / "notebook"))
from student import RefusedError, Student

Call = Callable[..., Any]
LAST = "/var/lib/appliance/backup/last.json"


@pytest.fixture
def call(one: Fleet) -> Call:
    def call(*words: str) -> Any:
        done = one.appliance(*words, "--json")
        assert done.code == 0, done
        return json.loads(done.out)["hosts"][0]["facts"]

    return call


@pytest.fixture(scope="module")
def url(one: Fleet) -> str:
    # An overlay cannot be mounted with other owners; the appliance's /home is ext4.
    one.guests[0].run("mount -t tmpfs -o mode=0711 tmpfs /home/students")
    return f"http://127.0.0.1:{one.guests[0].web}"


def test_a_student_comes_and_goes(one: Fleet, call: Call, url: str) -> None:
    password = call("users", "add", "emmy")["passwords"]["emmy"]
    emmy = Student(url, "emmy", password).sign_in().start()
    assert [each["student"] for each in call("sessions", "list")["sessions"]] == ["emmy"]
    assert call("fleet", "status")["sessions"] == 1

    assert call("sessions", "message", "Save your work")["told"] == ["emmy"]
    shown = emmy.kernel().shell("cat MESSAGE*")
    assert shown == "Save your work\n"

    assert call("sessions", "stop", "emmy")["ended"] == ["emmy"]
    assert call("sessions", "list")["sessions"] == []
    fresh = call("users", "reset", "emmy")["passwords"]["emmy"]
    with pytest.raises(RefusedError):
        Student(url, "emmy", password).sign_in()
    Student(url, "emmy", fresh).sign_in()

    call("users", "remove", "emmy")
    assert "emmy" not in call("users", "list")["users"]
    with pytest.raises(RefusedError):
        Student(url, "emmy", fresh).sign_in()
    assert "MESSAGE" in one.guests[0].run("ls /home/students/emmy")


def test_a_class_list_only_adds(one: Fleet, call: Call, url: str, tmp_path: Path) -> None:
    """From a list as Excel saves it; what is shown is what took effect."""
    table = tmp_path / "class.csv"

    def imported(text: str, *options: str) -> Any:
        table.write_bytes(text.encode("utf-16"))
        done = one.appliance("users", "import", str(table), *options, "--json")
        assert done.code == 0, done
        return json.loads(done.out)  # one document

    first = imported("Name;Passwort\r\nSonja;geheim;123\r\n".replace("m;1", "m,1") + "Ada;\r\n")
    assert first["hosts"][0]["facts"]["added"] == ["sonja", "ada"]
    assert list(first["passwords"]) == ["ada"]
    sonja = Student(url, "sonja", "geheim,123").sign_in().start()
    again = imported("sonja\nada\nsageadm\nlise\n")
    assert again["hosts"][0]["facts"]["added"] == ["lise"]
    assert set(again["hosts"][0]["facts"]["skipped"]) == {"sonja", "ada", "sageadm"}
    assert list(again["passwords"]) == ["lise"]
    assert sonja.kernel().run("1 + 1") == "2"

    # Refused before any appliance is asked, with the lines and no password.
    before = one.guests[0].run("cat /var/lib/notebook/accounts.json")
    table.write_bytes("sonja,geheim1\nmüller\nemil\nEmil\n".encode())
    done = one.appliance("users", "import", str(table))
    assert (done.code, done.out) == (2, "")
    for told in ("class.csv: line 1", "mueller", "line 4: the same name as in line 3"):
        assert told in done.err
    assert "geheim" not in done.err
    assert one.guests[0].run("cat /var/lib/notebook/accounts.json") == before

    reset = imported("sonja\nada\nsageadm\n", "--reset-passwords")
    assert reset["hosts"][0]["facts"]["reset"] == ["sonja", "ada"]
    with pytest.raises(RefusedError):
        sonja.json("GET", "/hub/api/user")
    Student(url, "sonja", reset["passwords"]["sonja"]).sign_in()

    call("users", "lock", "Sonja")
    assert call("users", "list")["locked"] == ["sonja"]
    call("users", "unlock", "sonja")
    call("users", "remove", "sonja", "ada", "lise")
    last = imported("sonja\nada\n")["hosts"][0]["facts"]
    assert (last["added"], last["waiting"]) == (["sonja", "ada"], ["sonja"])  # who had files
    call("users", "approve", "sonja")
    call("users", "remove", "sonja", "ada")
    refused = one.appliance("users", "lock", "nobody")
    assert refused.code == 1 and "there is no 'nobody'" in refused.out


def test_the_console_shows_the_host_keys_fingerprint(one: Fleet) -> None:
    pinned = json.loads(one.appliance("fleet", "list", "--json").out)[0]["fingerprint"]
    shown = one.guests[0].run("script -qec 'agetty --show-issue' /dev/null")  # for terminals only
    assert f"Host key: {pinned}" in shown


def alerts(facts: dict[str, Any]) -> list[str]:
    """Those that this test brings about; how full the disk is, is this host's."""
    return [each for each in facts["alerts"] if each.startswith(("Backup", "Certificate"))]


def test_how_it_is_is_told(one: Fleet, call: Call, url: str) -> None:
    guest = one.guests[0]
    fresh = call("fleet", "status")
    assert fresh["failed_units"] == []
    assert (fresh["metrics"]["appliance_queue_length"], alerts(fresh)) == (0, [])
    assert (fresh["sage"], fresh["reboot"], fresh["certificate_days"]) == ("1.0", False, None)
    assert {place: set(disk) for place, disk in fresh["disks"].items()} == {
        **{"/": {"size", "free"}, "/home": {"size", "free"}},
    }
    assert fresh["memory"] > 1 << 20
    assert (fresh["backup_seconds"], abs(fresh["contact"] - time.time()) < 3600) == (None, True)
    place = "/var/lib/notebook/tls"
    guest.run(
        f"mkdir -p {place}; openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=sage -days 40"
        f" -keyout {place}/key.pem -out {place}/cert.pem 2>/dev/null; chown -R notebook {place}"
    )
    guest.run("systemd-run --quiet --wait --unit=broken false || :; touch /run/reboot-required")
    last = json.dumps({"time": time.time() - 3 * 86400, "consistent": False})
    guest.run(f"mkdir -p -m 711 /var/lib/appliance/backup; echo '{last}' > {LAST}")
    told = call("fleet", "status")
    assert alerts(told) == [
        "BackupOld: the last backup that succeeded is 3.0 days old",
        "BackupNotWhole: something could not be read, or did not rest, in the last backup",
    ]
    assert told["failed_units"] == ["broken.service"]
    assert told["certificate_days"] in (38, 39, 40)
    assert told["reboot"] is True
    shown = one.appliance("fleet", "status").out
    assert "failed_units: broken.service  reboot: yes  certificate_days: " in shown
    guest.run(
        f"openssl req -x509 -key {place}/key.pem -subj /CN=sage -days 5 -out {place}/cert.pem;"
        f" rm {LAST}"
    )
    (ends,) = alerts(call("fleet", "status"))
    assert ends.startswith("CertificateEnds: the certificate ends in ")
    guest.run(f"systemctl reset-failed; rm -r /run/reboot-required {place}; systemctl stop ssh")
    try:
        lost = one.appliance("fleet", "status")
    finally:
        guest.run("systemctl start ssh")
    assert (lost.code, "last contact 20" in lost.out) == (1, True), lost


def test_an_upgrade_waits_for_sessions(
    one: Fleet, url: str, call: Call, package: Callable[..., Path]
) -> None:
    guest, file = one.guests[0], package("1.1")
    words = ("upgrade", "sage", "--to", "1.1", "--package", str(file), "--drain", "1", "--json")
    password = call("users", "add", "sofya")["passwords"]["sofya"]
    sofya = Student(url, "sofya", password).sign_in().start()
    kernel = sofya.kernel("sagemath")
    assert "7 * 13" in kernel.run("factor(91)")
    done = one.appliance(*words)
    assert done.code == 1
    assert "1 sessions are still open" in done.out
    assert guest.sage() == "1.0"
    assert "about to be renewed" in kernel.run("print(open('MESSAGE FROM THE TEACHER.txt').read())")
    done = one.appliance(*(word for word in words if word not in ("--drain", "1")))
    assert done.code == 0, done
    assert guest.sage() == "1.1"
    assert kernel.run("print(VERSION)") == "1.0\n"  # it keeps the Sage that it began with
    assert sofya.kernel("sagemath").run("print(VERSION)") == "1.1\n"
    sofya.stop()


def test_the_pool_grows_and_shrinks_under_sessions(one: Fleet, call: Call, url: str) -> None:
    guest, names = one.guests[0], ["grace", "hypatia", "ida", "julia"]
    students = []
    for number, name in enumerate(names):
        if number == 3:  # the three accounts are taken
            grown = call("sessions", "pool", "5")
            assert (len(grown["pool"]), grown["leaving"]) == (5, [])
        password = call("users", "add", name)["passwords"][name]
        students.append(Student(url, name, password).sign_in().start())
        if number == 0:
            kernel = students[0].kernel()
            kernel.run("x = 42")
    assert kernel.run("print(x)") == "42\n"
    assert len(call("sessions", "list")["sessions"]) == 4
    last = students[3].kernel()
    assert last.shell("id -un") == "nb4\n"

    assert call("sessions", "pool", "3")["leaving"] == ["nb4"]
    assert last.shell("echo still here") == "still here\n"
    students[3].stop()
    allowed = "sed -n 's/^AllowUsers //p' /etc/notebook/sshd_config"
    guest.run(f"until [ \"$({allowed})\" = 'nb1 nb2 nb3' ]; do sleep 0.5; done", timeout=90)
    guest.run("while systemctl -q is-active 'appliance-pool-*.service'; do sleep 0.2; done")
    assert kernel.run("print(x)") == "42\n"
    for student in students[:3]:
        student.stop()


def test_a_class_from_a_file(one: Fleet, url: str, tmp_path: Path) -> None:
    file = tmp_path / "class.csv"
    file.write_text("ada,lovelace-1815\n\nalan\n")
    done = one.appliance("users", "import", str(file), "--json")
    told = json.loads(done.out)
    assert told["hosts"][0]["facts"]["users"] == ["ada", "alan"], done
    assert list(told["passwords"]) == ["alan"]
    Student(url, "ada", "lovelace-1815").sign_in()
    Student(url, "alan", told["passwords"]["alan"]).sign_in()


def test_a_name_that_is_not_there(one: Fleet) -> None:
    done = one.appliance("users", "remove", "nobody-of-ours")
    assert done.code == 1
    assert "there is no 'nobody-of-ours'" in done.out


def test_a_changed_host_key_stops_the_host(one: Fleet) -> None:
    guest = one.guests[0]
    guest.run("rm /etc/ssh/ssh_host_*; ssh-keygen -qA; systemctl restart ssh")
    try:
        done = one.appliance("fleet", "status")
        assert done.code == 1
        assert "the host key" in done.out
        added = one.appliance("fleet", "add", "sage-01", "127.0.0.1", "--port", str(guest.ssh))
        assert added.code == 6
        assert "is pinned" in added.err
    finally:
        told = subprocess.run(
            ["ssh-keyscan", "-p", str(guest.ssh), "-t", "ed25519", "127.0.0.1"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        (one.inventory.parent / "scan").write_text(told)
        shown = subprocess.run(
            ["ssh-keygen", "-lf", one.inventory.parent / "scan"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[1]
        key = str(guest.base.key)
        words = ("--port", str(guest.ssh), "-i", key, "--url", f"http://127.0.0.1:{guest.web}")
        again = one.appliance(
            "fleet", "add", "sage-01", "127.0.0.1", *words, "--fingerprint", shown
        )
        assert again.code == 0, again
    assert one.appliance("fleet", "status").code == 0
