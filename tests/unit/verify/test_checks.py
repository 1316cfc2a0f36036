"""Each promise is judged on facts alone: broken facts give the problem that a user reads."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from provision.config import Config
from provision.verify.checks.exam import BEFORE
from provision.verify.checks.notebook import HEADERS, LETTER
from provision.verify.checks.system import PROMISED
from provision.verify.registry import judge

CONFIG = Config()
ADMIN, POOL = CONFIG.admin.user, CONFIG.pool_accounts


def _account(uid: int, group: str, home: str, **more: Any) -> dict[str, Any]:
    entry = {"owner": uid, "group": uid, "mode": 0o700, "directory": True, "size": 4096}
    return {
        "uid": uid, "group": group, "home": home, "shell": "/bin/bash", "password": "locked",
        "home_entry": entry, **more,
    }  # fmt: skip


def _mount(disk: str, reserve: float) -> dict[str, Any]:
    return {
        "source": f"/dev/{disk}", "uuid": f"uuid-{disk}", "filesystem": "ext4",
        "options": ["rw", "discard"], "reserve": reserve, "disk": disk,
    }  # fmt: skip


def _host_keys(mark: str) -> dict[str, Any]:
    private = {"owner": 0, "group": 0, "mode": 0o600, "directory": False, "size": 400}
    return {"ssh_host_ed25519_key.pub": {"fingerprint": f"SHA256:{mark}", "private": private}}


def _good() -> dict[str, dict[str, Any]]:
    """The facts of an appliance that keeps every promise."""
    services = [
        "ssh",
        "nftables",
        "systemd-journald",
        "systemd-networkd",
        "systemd-timesyncd",
        "cron",
    ]
    timers = ["logrotate", "systemd-tmpfiles-clean", "apt-daily", "apt-daily-upgrade"]
    inside = {
        "state": "running", "failed_units": [],
        "os_release": {"ID": "debian", "VERSION_CODENAME": "trixie"},
        "hostname": "sage", "virtualization": "qemu",
        "machine_id": "a" * 32, "host_keys": _host_keys("one"),
        "ssh_started": 20.0, "ssh_waited": 5.0, "home_mounted": True,
        "authorized_keys": ["ssh-ed25519 AAAA host"],
        "packages": dict.fromkeys([*PROMISED], "1"),
        "accounts": {
            "root": _account(0, "root", "/root"),
            "daemon": _account(1, "daemon", "/", shell="/usr/sbin/nologin"),  # noqa: S604 (a login shell)
            ADMIN: _account(1000, ADMIN, f"/home/{ADMIN}"),
            **{name: _account(2001 + n, "sageusers", f"/home/{name}")
               for n, name in enumerate(POOL)},
        },
        "groups": {"adm": [ADMIN], "systemd-journal": [ADMIN], "sageusers": [ADMIN]},
        "mounts": {"/": _mount("sda", 5.0), "/home": _mount("sdb", 1.0)},
        "fstab": "# disks\nUUID=uuid-sda / ext4 discard 0 1\n"
                 "UUID=uuid-sdb /home ext4 discard,nofail 0 2\n",
        "units": {f"{n}.service": {"active": "active"} for n in services}
                 | {f"{n}.timer": {"active": "active"} for n in timers},
        "listeners": [{"address": "*", "port": 22, "program": "sshd"},
                      {"address": "127.0.0.1", "port": 8081, "program": "node"}],
        "locale": {"LANG": "en_US.UTF-8"}, "locales": ["C", "en_US.utf8"],
        "charmap": "UTF-8",
        "timezone": "Etc/UTC", "keyboard": {"XKBLAYOUT": "us"},
        "sshd": {"permitrootlogin": "no", "passwordauthentication": "no",
                 "kbdinteractiveauthentication": "no", "permitemptypasswords": "no",
                 "x11forwarding": "no"},
        "journald": "#SystemMaxUse=\n[Journal]\nSystemMaxUse=200M\n", "journal_persistent": True,
        "apt": 'APT::Periodic::Update-Package-Lists "1";\n'
               'APT::Periodic::Unattended-Upgrade "1";\n'
               'Unattended-Upgrade::Origins-Pattern:: "origin=Debian,label=Debian-Security";\n'
               'Unattended-Upgrade::Mail "root";\n'
               'Unattended-Upgrade::MailReport "only-on-error";\n'
               'Unattended-Upgrade::Automatic-Reboot "true";\n'
               'Unattended-Upgrade::Automatic-Reboot-Time "04:30";\n',
        "unattended": {"status": 0, "told": ""},
        "sudo": {ADMIN: {"status": 0, "told": "(ALL : ALL) NOPASSWD: ALL"},
                 "nb1": {"status": 0, "told": "User nb1 is not allowed to run sudo on sage."}},
        "pool_sign_ins": {name: name for name in POOL},
        "mail": True,
        "paths": {path: {"owner": 0, "group": 0, "mode": mode, "directory": True, "size": 0}
                  for path, mode in (("/etc/shadow", 0o640), ("/etc/sudoers", 0o440),
                                     ("/root", 0o700), ("/tmp", 0o1777),
                                     ("/var/tmp", 0o1777), ("/home", 0o755))},
    }  # fmt: skip
    second = {
        "machine_id": "b" * 32, "host_keys": _host_keys("two"), "ssh_started": 24.0,
        "ssh_waited": 7.0,
        "home_mounted": False, "authorized_keys": ["ssh-ed25519 AAAA host"],
    }  # fmt: skip
    notebook = {
        "units": {"notebook": "active"},
        "page": {
            "scheme": "https",
            "status": 200,
            "text": '<input id="username_input">',
            "headers": dict.fromkeys(HEADERS, "x"),
            "cookies": ["_xsrf=1; Path=/hub/; Secure"],
        },
        "settings": {
            "port": "8000",
            "sessions_port": "8443",
            "subdomain_host": '""',
            "interface": '"0.0.0.0"',
            "secure": "True",
            "timeout": "3600",
            "directory": '"/home/students"',
            "accounts": "False",
            "ulimit": '""',
            "server_pool": str([f"{name}@localhost" for name in POOL]),
        },
        "used": 400 << 20,
        "limits": {
            name: {
                "MemoryMax": str(896 << 20),
                "MemorySwapMax": "0",
                "TasksMax": "272",
                "CPUQuotaPerSecUSec": "1s",
            }
            for name in POOL
        },
        "link": '{"error": "[Errno 40] Too many levels of symbolic links"}',
        "hub_user": {
            **{"name": "notebook", "login": "", "home": "", "groups": "", "sudo": ""},
            "manager": "",
        },
        "exposed": {
            "notebook.service": {"level": 2.1, "said": False},
            "sshd-pool.service": {"level": 6.5, "said": True},
        },
        "visitors": {"8000": 1024, "8443": 1024},
        "descriptors": {"notebook": 65536, "notebook-proxy": 65536},
        "motd": "notebook-accounts, systemctl, journalctl",
        "report": {
            "status": 0,
            "timer": "active",
            "letter": " ".join(LETTER),
        },
        "sessions": {
            "files": [],
            "directory": False,
            "processes": [],
            "environment": [],
            "connection_files": [],
            "ptrace": False,
            "kill": False,
            "victims_port": False,
            "services": [],
            "api": True,
            "own": True,
            "outside": [],
            "udp": False,
            "secrets": [],
            "usage": [],
            "powers": [],
            "kernel_objects": [],
            "bus": False,
            "took_port": False,
            "quota": "Disk quota exceeded",
            "sizes": {
                **{"files": 1024, "file_size": 1 << 30, "tmp": 112 << 20, "places": 448 << 20},
            },
            "shares": {"hub": 30, "terminals": 64, "loops": [1010, 0.2]},
            "most_files": {"quota": 131072, "places": 1310720, "bytes": 10 << 30},
            "forks": 250,
            "greedy": -9,
            "victim_works": True,
            "owner": 50000,
            "mode": 0o700,
            "victim_lives": True,
            "left_processes": 0,
            "left_files": [],
            "journal": True,
        },
    }
    return {
        "notebook": notebook,
        "notebook_limits": notebook,
        "sessions": {
            "own": True, "opened": [], "tries": 6, "at_once": 5, "at_once_seconds": 0.9,
            "classroom": [], "foreign": [],
            "apart": [],
            "documentation": [],
            "metrics": [],
            "admin": 403, "lost": [],
            "changed": [], "closed": {"open": True, "left": [], "stranger": 403},
            "leased": {"both": True, "students": ["emmy", "mallory"], "loose": []},
            "way_in": {"gone": 400, "opens": True}, "owner": 200,
            "crowd": {"slowed": True, "classmate": 200},
            "confirmed": {"sign-in": 200, "token": 403},
            "outlived": {"hub_back": True, "held": True, "kept": True, "given_back": True},
        },
        "exam": {
            "before": [*BEFORE], "begun": True, "during": [], "paper": True, "closed": True,
            "kernels": ["python3"], "ended": True, "handed": True, "unchanged": True,
            "noticed": True, "after": ["own files"], "opened": True, "left": [],
        },
        "inside": inside,
        "mounts": inside,
        "outside": {
            "answers": {"22": True, "8000": False, "8443": False},
            "methods": ["publickey"],
            "password": False, "root": False, "pool": {"nb1": False}, "notebook": False,
        },
        "other_ports": {"answers": {"25": False, "8081": False}},
        "own_key": {"opens": True},
        "image": {
            "machine_ids": ["uninitialized", ""], "private_keys": 0,
            "directories": {
                "/etc/ssh": {"sshd_config": 10}, "/etc/ssh/sshd_config.d": {"50-appliance.conf": 1},
                "/root": {".bashrc": 5}, "/root/.ssh": {}, "/var/lib/systemd": {"coredump": 0},
                "/var/log": {"README": 39, "wtmp": 0}, "/var/log/journal": {},
                "/var/cache/apt/archives": {"partial": 0}, "/tmp": {}, "/var/tmp": {},
                "/var/mail": {}, f"/home/{ADMIN}": {".bashrc": 1},
                f"/home/{ADMIN}/.ssh": {"authorized_keys": 90},
            },
        },
        "copies": {"first": inside, "second": second},
        "without_home": {"first": inside, "second": second},
        "full": {
            "separate": True, "left": 0, "root_left": 1 << 30, "journal": True,
            "refused": "dd: error writing: No space left on device", "failed_units": [],
            "active": {"ssh.service": "active"}, "sign_in": ADMIN, "seconds": 3.0,
        },
    }  # fmt: skip


def test_an_appliance_that_keeps_its_promises_passes() -> None:
    assert [
        (row.name, row.detail) for row in judge(CONFIG, _good()) if row.result == "failed"
    ] == []


def test_every_row_says_what_was_promised_and_how_it_was_seen() -> None:
    rows = judge(CONFIG, _good())
    assert all(row.promise and row.how for row in rows)
    assert len({row.name for row in rows}) == len(rows)


def test_what_fast_cannot_see_is_told_apart_from_what_holds() -> None:
    seen = {name: facts for name, facts in _good().items() if name in ("inside", "outside")}
    results = {row.name: row.result for row in judge(CONFIG, seen)}
    assert results["root-refused"] == "ok"
    assert results["full-home-harmless"] == "not checked"


def test_a_fact_that_is_missing_fails_the_promise_and_not_the_program() -> None:
    facts = _good()
    del facts["inside"]["sshd"]
    rows = {row.name: row for row in judge(CONFIG, facts)}
    assert rows["sshd-hardened"].result == "failed"
    assert "sshd" in rows["sshd-hardened"].detail


SIZES = {"files": 1, "file_size": 1, "tmp": 1, "places": 1}
SHARES = {"hub": 1, "terminals": 1, "loops": [1, 1.0]}
Break = Callable[[dict[str, Any]], object]
BROKEN: list[tuple[str, str, Break]] = [
    ("ssh-answers", "port 22", lambda f: f["outside"]["answers"].update({"22": False})),
    ("forwards-answer", "8000", lambda f: f["outside"].update(notebook=True)),
    ("own-key-opens", "refused", lambda f: f["own_key"].update(opens=False)),
    ("root-refused", "root", lambda f: f["outside"].update(root=True)),
    ("passwords-refused", "password", lambda f: f["outside"].update(methods=["password"])),
    ("passwords-refused", "empty", lambda f: f["outside"].update(password=True)),
    ("pool-refused-from-outside", "nb1", lambda f: f["outside"]["pool"].update(nb1=True)),
    ("other-ports-shut", "25", lambda f: f["other_ports"]["answers"].update({"25": True})),
    (
        "only-promised-listeners",
        "exim4 listens on port 25",
        lambda f: f["inside"]["listeners"].append(
            {"address": "*", "port": 25, "program": "exim4"}
        ),
    ),
    ("admin-account", "sageusers", lambda f: f["inside"]["groups"].update(sageusers=[])),
    ("admin-account", "no account", lambda f: f["inside"]["accounts"].pop(ADMIN)),
    ("pool-accounts", "nb3", lambda f: f["inside"]["accounts"].pop("nb3")),
    (
        "pool-accounts",
        "nb2's group is users",
        lambda f: f["inside"]["accounts"]["nb2"].update(group="users"),
    ),
    ("pool-accounts", "adm too", lambda f: f["inside"]["groups"]["adm"].append("nb1")),
    (
        "no-other-accounts",
        "ubuntu",
        lambda f: f["inside"]["accounts"].update(ubuntu=_account(1001, "u", "/home/u")),
    ),
    (
        "no-passwords",
        "root's password is set",
        lambda f: f["inside"]["accounts"]["root"].update({"password": "set"}),
    ),
    (
        "homes-private",
        "0755",
        lambda f: f["inside"]["accounts"]["nb1"]["home_entry"].update(mode=0o755),
    ),
    ("pool-is-not-root", "nb1", lambda f: f["inside"]["sudo"].update(nb1={"told": "ALL"})),
    (
        "admin-reaches-pool",
        "denied",
        lambda f: f["inside"]["pool_sign_ins"].update(nb4="Permission denied"),
    ),
    (
        "admin-keys",
        "2 keys",
        lambda f: f["inside"]["authorized_keys"].append("ssh-rsa B build"),
    ),
    ("separate-disks", "/home", lambda f: f["mounts"]["mounts"].pop("/home")),
    (
        "separate-disks",
        "same disk",
        lambda f: f["mounts"]["mounts"]["/home"].update(disk="sda"),
    ),
    (
        "mounted-by-uuid",
        "/dev/sdb",
        lambda f: f["mounts"].update(
            fstab=f["mounts"]["fstab"].replace("UUID=uuid-sdb", "/dev/sdb")
        ),
    ),
    (
        "mounted-by-uuid",
        "boot stops",
        lambda f: f["mounts"].update(fstab=f["mounts"]["fstab"].replace(",nofail", "")),
    ),
    ("reserve-kept", "/ keeps 0", lambda f: f["mounts"]["mounts"]["/"].update(reserve=0.0)),
    ("discard", "/home", lambda f: f["mounts"]["mounts"]["/home"].update(options=["rw"])),
    ("home-fills", "root disk", lambda f: f["full"].update(separate=False)),
    ("home-fills", "fitted", lambda f: f["full"].update(refused="")),
    ("home-fills", "left", lambda f: f["full"].update(root_left=4096)),
    ("full-home-harmless", "cannot sign in", lambda f: f["full"].update(sign_in="")),
    ("full-home-harmless", "journal", lambda f: f["full"].update(journal=False)),
    (
        "full-home-harmless",
        "ssh.service is failed",
        lambda f: f["full"]["active"].update({"ssh.service": "failed"}),
    ),
    (
        "missing-home-harmless",
        "120 s",
        lambda f: f["without_home"]["second"].update(ssh_waited=120.0),
    ),
    (
        "missing-home-opens",
        "missing disk",
        lambda f: f["without_home"]["second"].update(authorized_keys=[]),
    ),
    ("machine-id-unique", "both", lambda f: f["copies"]["second"].update(machine_id="a" * 32)),
    (
        "host-keys-unique",
        "same",
        lambda f: f["copies"]["second"].update(host_keys=_host_keys("one")),
    ),
    (
        "host-keys-private",
        "root's alone",
        lambda f: f["inside"]["host_keys"]["ssh_host_ed25519_key.pub"]["private"].update(
            mode=0o644
        ),
    ),
    (
        "image-has-no-identity",
        "ssh_host_rsa_key",
        lambda f: f["image"]["directories"]["/etc/ssh"].update(ssh_host_rsa_key=1),
    ),
    ("image-has-no-identity", "cccc", lambda f: f["image"].update(machine_ids=["c" * 32])),
    ("image-has-no-private-key", "2", lambda f: f["image"].update(private_keys=2)),
    (
        "image-is-clean",
        ".bash_history",
        lambda f: f["image"]["directories"]["/root"].update({".bash_history": 9}),
    ),
    (
        "image-is-clean",
        "00-build",
        lambda f: f["image"]["directories"]["/etc/ssh/sshd_config.d"].update(
            {"00-build.conf": 9}
        ),
    ),
    (
        "image-is-clean",
        "id_ed25519",
        lambda f: f["image"]["directories"][f"/home/{ADMIN}/.ssh"].update(id_ed25519=9),
    ),
    (
        "image-is-clean",
        "dpkg.log",
        lambda f: f["image"]["directories"]["/var/log"].update({"dpkg.log": 9}),
    ),
    ("packages", "dtach", lambda f: f["inside"]["packages"].pop("dtach")),
    ("distribution", "bookworm", lambda f: f["inside"]["os_release"].update(
        VERSION_CODENAME="bookworm")),
    ("no-failed-unit", "x.service", lambda f: f["inside"].update(failed_units=["x.service"])),
    ("no-failed-unit", "starting", lambda f: f["inside"].update(state="starting")),
    ("services", "cron", lambda f: f["inside"]["units"].pop("cron.service")),
    ("timers", "logrotate", lambda f: f["inside"]["units"].pop("logrotate.timer")),
    ("locale", "generated", lambda f: f["inside"].update(locales=["C"])),
    ("locale", "ANSI_X3.4-1968", lambda f: f["inside"].update(charmap="ANSI_X3.4-1968")),
    ("timezone", "not set", lambda f: f["inside"].update(timezone="")),
    ("timezone", "Europe/Berlin", lambda f: f["inside"].update(timezone="Europe/Berlin")),
    ("keyboard", "de", lambda f: f["inside"].update(keyboard={"XKBLAYOUT": "de"})),
    ("host-name", "debian", lambda f: f["inside"].update(hostname="debian")),
    ("journal-limits", "not set", lambda f: f["inside"].update(journald="#SystemMaxUse=\n")),
    ("journal-limits", "4G", lambda f: f["inside"].update(journald="SystemMaxUse=4G\n")),
    ("sshd-hardened", "x11", lambda f: f["inside"]["sshd"].update(x11forwarding="yes")),
    ("mail", "letter", lambda f: f["inside"].update(mail=False)),
    ("modes", "/root: 0755", lambda f: f["inside"]["paths"]["/root"].update(mode=0o755)),
    ("updates-enabled", "is None", lambda f: f["inside"].update(apt="")),
    ("update-timers", "apt-daily", lambda f: f["inside"]["units"].pop("apt-daily.timer")),
    (
        "update-policy",
        "05:00",
        lambda f: f["inside"].update(apt=f["inside"]["apt"].replace("04:30", "05:00")),
    ),
    ("notebook-runs", "failed", lambda f: f["notebook"]["units"].update(notebook="failed")),
    ("notebook-sign-in", "speaks http", lambda f: f["notebook"]["page"].update(scheme="http")),
    ("notebook-sign-in", "503", lambda f: f["notebook"]["page"].update(status=503)),
    ("notebook-headers", "policy", lambda f: f["notebook"]["page"].update(headers={})),
    ("notebook-headers", "_xsrf", lambda f: f["notebook"]["page"].update(cookies=["_xsrf=1"])),
    ("notebook-settings", "timeout", lambda f: f["notebook"]["settings"].update(timeout="1")),
    ("notebook-settings", "accounts", lambda f: f["notebook"]["settings"].update(server_pool="")),
    ("notebook-unprivileged", "root", lambda f: f["notebook"]["hub_user"].update(name="root")),
    (
        "services-confined",
        "notebook.service is open by 9.4",
        lambda f: f["notebook"]["exposed"]["notebook.service"].update(level=9.4),
    ),
    (
        "services-confined",
        "does not say",
        lambda f: f["notebook"]["exposed"]["notebook.service"].update(level=None),
    ),
    ("visitors-share", "port 8443", lambda f: f["notebook"]["visitors"].update({"8443": 1100})),
    ("visitors-share", "0 connections", lambda f: f["notebook"]["visitors"].update({"8000": 0})),
    ("visitors-share", "1024 files", lambda f: f["notebook"]["descriptors"].update(notebook=1024)),
    ("root-follows-no-link", "root:", lambda f: f["notebook"].update(link="files are on root:$y")),
    ("capacity-kept", "1700M", lambda f: f["notebook_limits"].update(used=1700 << 20)),
    (
        "session-limits",
        "nb1: MemoryMax is infinity",
        lambda f: f["notebook"]["limits"]["nb1"].update(MemoryMax="infinity"),
    ),
    *(
        (
            "session-limits",
            f"processor, {told} a second",
            lambda f, told=told: f["notebook"]["limits"]["nb1"].update(CPUQuotaPerSecUSec=told),
        )
        for told in ("infinity", "1.500000s", "500ms", "1min 1s")
    ),
    ("nightly-report", "timer", lambda f: f["notebook"]["report"].update(timer="inactive")),
    ("nightly-report", "disks", lambda f: f["notebook"]["report"].update(letter="")),
    ("message-of-the-day", "journalctl", lambda f: f["notebook"].update(motd="")),
    ("sessions-open", "no session", lambda f: f["notebook"].update(
        sessions={"error": "no session for nb1"})),
    ("sessions-open", "listener", lambda f: f["notebook"]["sessions"].update(own=False)),
    *(
        (name, told, lambda f, key=key, value=value: f["notebook"]["sessions"].update({key: value}))
        for name, told, key, value in (
            ("students-files-private", "can read /tmp/treasure", "files", ["/tmp/treasure"]),
            ("students-files-private", "mode 0755", "mode", 0o755),
            ("students-files-private", "list of all", "directory", True),
            ("sessions-leave-nothing", "1 processes", "left_processes", 1),
            ("sessions-leave-nothing", "/tmp", "left_files", ["/tmp"]),
            ("sessions-see-themselves", "user 0", "processes", [0]),
            ("sessions-see-themselves", "traces", "ptrace", True),
            ("sessions-see-themselves", "bus", "bus", True),
            ("sessions-see-themselves", "ended", "victim_lives", False),
            ("connection-files-private", "finds k", "connection_files", ["k"]),
            ("ports-private", "listener", "victims_port", True),
            ("only-the-hubs-api", "port 25", "services", [25]),
            ("secrets-closed", "/etc/shadow", "secrets", ["/etc/shadow"]),
            ("usage-private", "now.json", "usage", ["/run/notebook-usage/now.json"]),
            ("no-further-rights", "sudo", "powers", ["sudo"]),
            ("nothing-in-the-kernel", "shm", "kernel_objects", ["shm"]),
            ("sessions-logged", "does not", "journal", False),
            ("network-of-sessions", "192.0.2.1:80", "outside", ["192.0.2.1:80"]),
            ("network-of-sessions", "datagrams", "udp", True),
            ("ports-cannot-be-taken", "taken", "took_port", True),
            ("quota-kept", "none", "quota", "none"),
            *(
                ("sizes-limited", f"{name} is {size}", "sizes", {**SIZES, name: size})
                for name, size in (("files", -1), ("places", 1 << 30))
            ),
            *(
                ("greedy-stopped", told, "shares", {**SHARES, name: taken})
                for told, name, taken in (
                    ("connections to the hub", "hub", 200),
                    ("200 terminals", "terminals", 200),
                    ("in 1 s", "loops", [3000, 1.0]),
                )
            ),
            ("file-places-kept", "not counted", "most_files", {"quota": 0}),
            (
                *("file-places-kept", "655360 in all", "most_files"),
                {"quota": 131072, "places": 655360, "bytes": 20 << 30},
            ),
            ("bombs-contained", "256 processes", "forks", 256),
            ("bombs-contained", "status 0", "greedy", 0),
            ("bombs-contained", "stood still", "victim_works", False),
        )
    ),
    ("tokens-private", "no page", lambda f: f.update(sessions={"error": "no page"})),
    ("tokens-private", "its own", lambda f: f["sessions"].update(own=False)),
    ("tokens-private", "may GET /x", lambda f: f["sessions"].update(opened=["GET /x: 200"])),
    *(
        (name, "no page", lambda f: f.update(sessions={"error": "no page"}))
        for name in (
            *("classroom-closed", "foreign-pages-refused", "sessions-apart"),
            *("metrics-token-narrow", "nobody-is-first", "secrets-whole"),
        )
    ),
    ("sessions-apart", "contents: 200", lambda f: f["sessions"].update(apart=["contents: 200"])),
    ("foreign-pages-refused", "GET", lambda f: f["sessions"].update(foreign=["GET"])),
    ("classroom-closed", "logs: 200", lambda f: f["sessions"].update(classroom=["logs: 200"])),
    ("metrics-token-narrow", "opens /x", lambda f: f["sessions"].update(metrics=["opens /x"])),
    ("nobody-is-first", "answers 200", lambda f: f["sessions"].update(admin=200)),
    ("hub-killed", "no page", lambda f: f.update(sessions={"error": "no page"})),
    *(
        ("hub-killed", told, lambda f, key=key: f["sessions"]["outlived"].update({key: False}))
        for told, key in (
            ("come back", "hub_back"), ("free at once", "held"), ("another", "kept"),
            ("stays leased", "given_back"),
        )
    ),
    ("lists-only-add", "emmy", lambda f: f["sessions"].update(changed=["emmy"])),
    (
        "password-asked-again",
        "token: it answers 201",
        lambda f: f["sessions"]["confirmed"].update(token=201),
    ),
    (
        "password-asked-again",
        "sign-in: it answers 403",
        lambda f: f["sessions"]["confirmed"].update({"sign-in": 403}),
    ),
    ("leases-exclusive", "emmy", lambda f: f["sessions"]["leased"].update(students=["emmy"])),
    ("leases-exclusive", "on nb1", lambda f: f["sessions"]["leased"].update(loose=["nb1"])),
    (
        "documentation-opens",
        "sage: the search",
        lambda f: f["sessions"]["documentation"].append("sage: the search does not find it"),
    ),
    ("exam-alone", "own files is not seen", lambda f: f["exam"].update(before=[])),
    ("exam-alone", "before it goes on", lambda f: f["exam"].update(begun=False)),
    ("exam-alone", "handed out", lambda f: f["exam"].update(paper=False)),
    ("exam-alone", "kernels r", lambda f: f["exam"].update(kernels=["r"])),
    ("exam-alone", "lets its session out", lambda f: f["exam"].update(closed=False)),
    ("exam-alone", "has a terminal", lambda f: f["exam"].update(during=["a terminal"])),
    ("exam-handed-in", "goes on", lambda f: f["exam"].update(ended=False)),
    ("exam-handed-in", "not handed in", lambda f: f["exam"].update(handed=False)),
    ("exam-handed-in", "as it was", lambda f: f["exam"].update(unchanged=False)),
    ("exam-handed-in", "not noticed", lambda f: f["exam"].update(noticed=False)),
    ("exam-over", "own files are gone", lambda f: f["exam"].update(after=[])),
    ("exam-over", "keeps the account", lambda f: f["exam"].update(opened=False)),
    ("exam-over", "/run/x is left", lambda f: f["exam"].update(left=["/run/x"])),
    ("way-in-kept", "answers 202", lambda f: f["sessions"]["way_in"].update(gone=202)),
    ("way-in-kept", "afterwards", lambda f: f["sessions"]["way_in"].update(opens=False)),
    ("way-in-kept", "answers 500", lambda f: f["sessions"]["way_in"].update(gone=500)),
    ("address-slowed", "without end", lambda f: f["sessions"]["crowd"].update(slowed=False)),
    ("address-slowed", "answers 429", lambda f: f["sessions"]["crowd"].update(classmate=429)),
    ("owner-gets-in", "429", lambda f: f["sessions"].update(owner=429)),
    ("locked-is-out", "cookie", lambda f: f["sessions"]["closed"].update(left=["cookie"])),
    ("locked-is-out", "come in before", lambda f: f["sessions"]["closed"].update(open=False)),
    ("names-with-files-wait", "200", lambda f: f["sessions"]["closed"].update(stranger=200)),
    ("guessing-stopped", "no page", lambda f: f.update(sessions={"error": "no page"})),
    ("guessing-stopped", "go on", lambda f: f["sessions"].update(tries=None)),
    ("secrets-whole", "proxy-token", lambda f: f["sessions"].update(lost=["proxy-token"])),
    ("guessing-stopped", "40 of those", lambda f: f["sessions"].update(at_once=40)),
    ("guessing-stopped", "6 of those", lambda f: f["sessions"].update(at_once=6)),
    (
        "guessing-stopped",
        "8 of those",
        lambda f: f["sessions"].update(at_once=8, at_once_seconds=6.9),  # two waits are over
    ),
    ("guessing-stopped", "2 wrong", lambda f: f["sessions"].update(tries=2)),
    ("updates-run", "boom", lambda f: f["inside"].update(unattended={"status": 1, "told": "boom"})),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "told", "broken"), BROKEN, ids=[f"{name}-{told}" for name, told, _ in BROKEN]
)
def test_a_broken_promise_is_named(name: str, told: str, broken: Break) -> None:
    facts = copy.deepcopy(_good())
    broken(facts)
    row = next(row for row in judge(CONFIG, facts) if row.name == name)
    assert row.result == "failed"
    assert told in row.detail


def test_every_promise_has_a_test_that_breaks_it() -> None:
    judged = {row.name for row in judge(CONFIG, _good()) if row.result != "not checked"}
    assert judged <= {name for name, _, _ in BROKEN}
