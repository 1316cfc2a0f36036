"""Repositories of each kind, on real servers of this host and of the guest; and dates."""

import json
from typing import Any

import pytest
from guests import Fleet

FILES = "/home/students"
pytestmark = pytest.mark.slow


def call(fleet: Fleet, *words: str, stdin: str | None = None) -> Any:
    done = fleet.appliance(*words, "--json", stdin=stdin)
    assert done.code == 0, done
    return json.loads(done.out.splitlines()[-1])["hosts"][0]["facts"]


def proved(fleet: Fleet, repository: str) -> None:
    """Set up, back up, verify, and a lost file comes back."""
    guest = fleet.guests[0]
    guest.run(f"rm -rf {FILES}/emmy; install -d -o 50000 -g 50000 -m 700 {FILES}/emmy")
    guest.run(f"echo noether > {FILES}/emmy/ideal; chown 50000:50000 {FILES}/emmy/ideal")
    call(fleet, "backup", "setup", "--to", repository)
    assert call(fleet, "backup", "run")["consistent"] is True
    assert call(fleet, "backup", "verify")["compared"] >= 1
    guest.run(f"rm {FILES}/emmy/ideal")
    place = call(fleet, "restore", "sage-01", "--student", "emmy", "--path", "ideal")["place"]
    assert guest.run(f"cat {place}/ideal") == "noether\n"
    assert len(call(fleet, "backup", "list")["snapshots"]) == 1


def test_s3(one: Fleet, s3: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "school")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    proved(one, f"s3:http://{one.guests[0].gateway()}:{s3}/backups/{{host}}")
    assert "very-secret" not in one.guests[0].run("journalctl --no-pager")


def test_sftp(one: Fleet) -> None:
    guest = one.guests[0]
    guest.run("useradd -m -s /bin/sh nas; mkdir -p /root/.ssh")
    guest.run(
        "[ -e /root/.ssh/id_ed25519 ] || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519"
    )
    guest.run("cp /root/.ssh/id_ed25519.pub /etc/ssh/authorized_keys.d/nas")
    guest.run("ssh-keyscan -t ed25519 localhost > /root/.ssh/known_hosts 2>/dev/null")
    proved(one, "sftp:nas@localhost:/home/nas/{host}")
    assert "config" in guest.run("ls /home/nas/sage-01")


def test_rclone(one: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with Google Drive: whatever rclone reaches; here a WebDAV server of its own."""
    guest = one.guests[0]
    monkeypatch.setenv("RCLONE_CONFIG_DAV_TYPE", "webdav")
    monkeypatch.setenv("RCLONE_CONFIG_DAV_URL", "http://127.0.0.1:8090")
    guest.run("apt-get -q update && apt-get install -qy --no-install-recommends rclone", 300)
    guest.run("mkdir -p /srv/dav && systemd-run rclone serve webdav /srv/dav --addr 127.0.0.1:8090")
    proved(one, "rclone:dav:backups/{host}")
    assert "config" in guest.run("ls /srv/dav/backups/sage-01")


def test_a_date(one: Fleet) -> None:
    """What was there that day, whatever came later."""
    guest = one.guests[0]
    guest.run(f"install -d -o 50001 -g 50001 {FILES}/ada")
    call(one, "backup", "setup", "--to", "/var/backups/dates")
    settings = json.loads(guest.run("cat /etc/appliance/backup.json"))
    for day, text in (("2024-05-01", "first"), ("2024-05-03", "second")):
        guest.run(f"echo {text} > {FILES}/ada/note; chown -R 50001:50001 {FILES}/ada")
        guest.run(
            f"RESTIC_PASSWORD={settings['password']} restic -q -r /var/backups/dates backup"
            f" --tag appliance --host appliance --time '{day} 12:00:00' {FILES}"
        )
    for at, text in (("2024-05-01", "first"), ("2024-05-02", "first"), ("2024-05-04", "second")):
        words = ("restore", "sage-01", "--student", "ada", "--path", "note", "--at", at)
        assert guest.run(f"cat {call(one, *words)['place']}/note") == f"{text}\n"
    words = ("restore", "sage-01", "--student", "ada", "--at", "2024-05-01T11:00")
    refused = one.appliance(*words)
    assert refused.code == 1
    assert "no backup is as old" in refused.out
    whole = call(one, "restore", "sage-01", "--student", "ada", "--at", "2024-05-01T13:00")["place"]
    assert guest.run(f"cat {whole}/ada/note") == "first\n"
    assert len(call(one, "backup", "list")["snapshots"]) == 2
    password = settings["password"]
    keep = ("--keep-daily", "1", "--keep-weekly", "1", "--keep-monthly", "1")
    call(
        *(one, "backup", "setup", "--to", "/var/backups/dates", *keep, "--password-stdin"),
        stdin=password,
    )
    call(one, "backup", "run")  # the last of a day, of a week and of a month: today's
    assert len(call(one, "backup", "list")["snapshots"]) == 1
