"""Every kind of bad input: the drawn report names the place, the value and the mend."""

import base64
import struct
from pathlib import Path

import pytest

from provision.config import read
from provision.config.reading import find
from provision.errors import ConfigError

SYNTAX = {
    "tab": (
        "pool:\n\tcount: 3\n",
        "appliance.yml:2:1: a tab in the indentation\n  2 | →count: 3\n    | ^ indent with spaces",
    ),
    "byte order mark": (
        "\ufeffname: a\n",
        "appliance.yml:1:1: begins with a byte order mark\n"
        "  1 | \N{REPLACEMENT CHARACTER}name: a\n    | ^ save the file as UTF-8 without BOM",
    ),
    "not UTF-8": (
        b"# ok\nname: caf\xe9\n",
        "appliance.yml:2:10: not UTF-8\n  2 | name: caf\N{REPLACEMENT CHARACTER}\n"
        "    |          ^ save the file as UTF-8",
    ),
    "not a mapping": (
        "- name\n",
        "appliance.yml:1:1: not a mapping\n  1 | - name\n"
        "    | ^^^^^^ write lines of the form key: value",
    ),
    "colon in a value": (
        "name: a: b\n",
        "appliance.yml:1:8: mapping values are not allowed here",
    ),
    "duplicate key": (
        "cpus: 1\nname: a\ncpus: 2\n",
        "appliance.yml:3:1: cpus: given twice, first on line 1\n  3 | cpus: 2\n"
        "    | ^^^^ keep one of them",
    ),
    "two documents": (
        "name: a\n---\nname: b\n",
        "appliance.yml:2:1: a second document",
    ),
    "alias": (
        "packages: &p [git]\nhooks: {roles: *p}\n",
        "appliance.yml:1:11: hooks.roles: an alias\n",
    ),
    "recursive alias": ("packages: &p [*p]\n", "packages[0]: an alias"),
    "tag": (
        "name: !secret a\n",
        "appliance.yml:1:7: name: the tag !secret means nothing here",
    ),
    "control character": (
        'name: "a\\0b"\n',
        "appliance.yml:1:7: name: holds the invisible character U+0000",
    ),
    "no-break space": (
        "name: a\u00a0b\n",
        "appliance.yml:1:7: name: holds the invisible character U+00A0",
    ),
    "raw control character": ("name: a\x07\n", "appliance.yml:1:8: a control character"),
    "key that is a list": ("[a]: b\n", "a key must be a word"),
    "deep nesting": ("[" * 1500, "appliance.yml: nested too deeply"),
    "unclosed": ("packages: [a, b\n", "appliance.yml:2:1: "),
    "too large": (b"#" * (1 << 20) + b"\n#", "appliance.yml: larger than 1 MiB"),
}

VALUES = {
    "unknown key": (
        "nmae: a\n",
        "appliance.yml:1:1: nmae: no such key\n  1 | nmae: a\n    | ^^^^ did you mean name?",
    ),
    "unknown book": (
        "documentation: [python, fortran]\n",
        "appliance.yml:1:25: documentation[1]: not one of the choices\n"
        "  1 | documentation: [python, fortran]\n"
        "    |                         ^^^^^^^ write python, packages, sage, r or octave",
    ),
    "book of what is not there": (
        "documentation: [python, r]\n",
        "appliance.yml:1:25: documentation[1]: what r is about is not in this appliance\n"
        "  1 | documentation: [python, r]\n    |                         ^ leave it out, or set"
        " kernels.r",
    ),
    "book of no Sage": (
        "sage: {source: none}\ndocumentation: [sage]\n",
        "documentation[0]: what sage is about is not in this appliance",
    ),
    "documentation that is a word": ("documentation: all\n", "appliance.yml:1:16: documentation:"),
    "unknown inner key": (
        "pool:\n  limits: {memroy: 1G}\n",
        "appliance.yml:2:12: pool.limits.memroy: no such key\n  2 |   limits: {memroy: 1G}\n"
        "    |            ^^^^^^ did you mean memory?",
    ),
    "key of another section": ("reboot: true\n", "it belongs under unattended_upgrades"),
    "key of the top level": ("pool: {timezone: UTC}\n", "it belongs to the top level"),
    "number for text": (
        "version: 1.10\n",
        "appliance.yml:1:10: version: a number or a truth value, not text\n"
        "  1 | version: 1.10\n    |          ^^^^ put it in quotes",
    ),
    "text for number": ("cpus: two\n", "appliance.yml:1:7: cpus: not a whole number"),
    "fraction for number": ("cpus: 1.5\n", "appliance.yml:1:7: cpus: not a whole number"),
    "truth for number": ("cpus: true\n", "appliance.yml:1:7: cpus: not a whole number"),
    "yes for true": (
        "network: {auto: yes}\n",
        "appliance.yml:1:17: network.auto: not a truth value\n  1 | network: {auto: yes}\n"
        "    |                 ^^^ write true or false",
    ),
    "text for list": ("packages: git\n", "appliance.yml:1:11: packages: not a list"),
    "list for mapping": (
        "pool: [a]\n",
        "write indented lines with count, prefix, group, limits",
    ),
    "no value": ("name:\n", "appliance.yml:1:1: name: has no value"),
    "choice": (
        "distribution: debain\n",
        "appliance.yml:1:15: distribution: not one of the choices\n  1 | distribution: debain\n"
        "    |               ^^^^^^ write debian or ubuntu (did you mean debian?)",
    ),
    "too small": ("cpus: 0\n", "write at least 1"),
    "too large": ("pool: {count: 1000}\n", "write at most 999"),
    "size": (
        "memory: 4Q\n",
        "appliance.yml:1:9: memory: not a size\n  1 | memory: 4Q\n"
        "    |         ^^ write a whole number and K, M, G or T, as in 512M or 4G",
    ),
    "negative size": ("memory: -4\n", "appliance.yml:1:9: memory: not a size"),
    "retention": (
        "retention: {archives: 12h}\n",
        "appliance.yml:1:23: retention.archives: less than a day, and it is looked at once a night",
    ),
    "duration": ("notebook: {timeout: soon}\n", "notebook.timeout: not a duration"),
    "missing": (
        "disks:\n  data: {size: 1G}\n",
        "appliance.yml:2:3: disks.data.mount: mount is missing",
    ),
    "relative mount": (
        "disks: {data: {size: 1G, mount: srv}}\n",
        "appliance.yml:1:33: disks.data.mount: not an absolute path",
    ),
    "mount with dots": (
        "disks: {data: {size: 1G, mount: /srv/../etc}}\n",
        "not a plain path",
    ),
    "disk name": ("disks: {My Disk: {size: 1G, mount: /srv}}\n", "disks.My Disk: not a name"),
    "reserve larger than its disk": (
        "disks: {home: {size: 8G, reserve: 9G}}\n",
        "appliance.yml:1:35: disks.home.reserve: the reserve leaves nothing of the disk",
    ),
    "reserve share": ("disks: {home: {reserve: 60%}}\n", "write at most 50%"),
    "reboot_time": (
        "unattended_upgrades: {reboot_time: '24:30'}\n",
        "unattended_upgrades.reboot_time: not a time of day",
    ),
    "host name": ("name: Sage Server\n", "appliance.yml:1:7: name: not a host name"),
    "user name": ("admin: {user: root}\n", "admin.user: this name belongs to the system"),
    "time zone": ("timezone: Europe/Hel sinki\n", "appliance.yml:1:11: timezone: not a time zone"),
    "locale": ("locale: fi_FI\n", "appliance.yml:1:9: locale: not a UTF-8 locale"),
    "keyboard": ("keyboard: US layout\n", "keyboard: not a keyboard layout"),
    "port": ("network: {forwards: {ssh: {host: 70000}}}\n", "write at most 65535"),
    "password in a URL": ("mirror: http://me:secret@mirror/\n", "keep passwords out"),
    "password of a proxy": (
        "proxy: http://me:se@cret@proxy/\n",
        "  1 | proxy: http://**********@proxy/\n"
        "    |        ^^^^^^^^^^^^^^^^^^^^^^^^ write http://HOST:PORT; user and password go into",
    ),
    "mail address": ("mail: {root: nobody}\n", "mail.root: not a mail address"),
    "key file": (
        "admin: {keys: [id.pub]}\n",
        "appliance.yml:1:16: admin.keys[0]: neither a public key nor a file: id.pub",
    ),
    "damaged key": ("admin: {keys: [ssh-ed25519 AAAA]}\n", "admin.keys[0]: the key is damaged"),
    "private key": (
        "admin:\n  keys:\n    - |\n      -----BEGIN OPENSSH PRIVATE KEY-----\n",
        "appliance.yml:3:7: admin.keys[0]: this is a private key",
    ),
    "missing file": ("hooks: {playbooks: [extra.yml]}\n", "there is no file extra.yml"),
    "missing image": ("image: {source: disk.qcow2}\n", "there is no file disk.qcow2"),
}

COMBINATIONS = {
    "time zone of this host only": (
        "timezone: Europe/Helsinky\n",
        "appliance.yml:1:11: timezone: Europe/Helsinky is no time zone of the guest\n"
        "  1 | timezone: Europe/Helsinky\n"
        "    |           ^^^^^^^^^^^^^^^ did you mean Europe/Helsinki or",
    ),
    "memory below need": (
        "memory: 2G\n",
        "appliance.yml:1:9: memory: 2G holds 1 of 5 sessions of 896M beside the system's 768M\n"
        "  1 | memory: 2G\n    |         ^^ write memory: 6G or pool.count: 1",
    ),
    "memory below the system's": ("memory: 512M\n", "512M holds 0 of 5 sessions"),
    "more sessions than memory": (
        "pool: {count: 40}\n",
        "appliance.yml:1:15: memory: 6G holds 6 of 40 sessions",
    ),
    "more sessions than accounts": (
        "notebook: {max_sessions: 6}\n",
        "6 sessions need 6 accounts, and there are 5",
    ),
    "Sage in a small session": (
        "pool: {limits: {memory: 150M, tmp: 16M}}\n",
        "150M is too little for a Sage session",
    ),
    "tmp larger than the session": ("pool: {limits: {tmp: 2G}}\n", "write at most 896M"),
    "more processor than there is": ("cpus: 1\npool: {limits: {cpu: 200}}\n", "write at most 100"),
    "duplicate host ports": (
        "network: {forwards: {notebook: {host: 2222}}}\n",
        "appliance.yml:1:39: network.forwards.notebook.host: port 2222 of this host leads to ssh",
    ),
    "no way in": (
        "network: {forwards: {ssh: null}}\n",
        "the appliance is administered over SSH",
    ),
    "notebook forward to nowhere": (
        "notebook: {port: 8080}\n",
        "appliance.yml:1:18: network.forwards.notebook.guest: leads to port 8000",
    ),
    "two disks with one mount point": (
        "disks: {data: {size: 1G, mount: /home}}\n",
        "appliance.yml:1:33: disks.data.mount: the disk home is mounted at /home already",
    ),
    "system directory": ("disks: {data: {size: 1G, mount: /usr/local}}\n", "belongs to the system"),
    "no root": ("disks: {root: {mount: /srv}}\n", "no disk is mounted at /\n"),
    "no home": ("disks: {home: {mount: /srv}}\n", "no disk is mounted at /home\n"),
    "home removed": ("disks: {home: null}\n", "appliance.yml:1:15: disks.home: has no value"),
    "root too small": (
        "disks: {root: {size: 4G}}\n",
        "4G is too small for the system and Sage (passagemath)",
    ),
    "root too small without Sage": (
        "sage: {source: none}\ndisks: {root: {size: 1G}}\n",
        "appliance.yml:2:22: disks.root.size: 1G is too small for the system\n",
    ),
    "odd size": ("disks: {home: {size: 9000000000}}\n", "is not a whole number of M"),
    "quota larger than the disk": (
        "disks: {home: {size: 512M}}\n",
        "/home has 506M beside its reserve, less than one student's 1G",
    ),
    "students on the root disk": (
        "notebook: {directory: /srv/students}\n",
        "choose a directory below /home",
    ),
    "old suite": ("suite: bookworm\n", "bookworm is too old"),
    "suite of another distribution": ("suite: resolute\n", "resolute is not a suite of debian"),
    "suite with an old OpenSSH": (
        "{distribution: ubuntu, suite: noble}\n",
        "noble is too old",
    ),
    "no sagemath": ("sage: {source: debian}\n", "trixie has no sagemath package"),
    "image without checksum": ("image: {source: 'https://a/b'}\n", "a download needs its checksum"),
    "tarball from nowhere": (
        "sage: {source: tarball, version: '9.5'}\n",
        "a tarball needs a path or a url",
    ),
    "wheels that we do not know": ("sage: {version: '10.9'}\n", "we know no wheels of 10.9"),
    "a lock of no version": (
        f"sage: {{lock: {__file__}}}\n",
        "it is not said of which version these are",
    ),
    "a lock of no wheels": (
        f"sage: {{source: none, lock: {__file__}}}\n",
        "means nothing with source: none",
    ),
    "url without tarball": ("sage: {url: 'https://a/b'}\n", "means nothing with source"),
    "tarball without checksum": (
        "sage: {source: tarball, version: '9.5', url: 'https://a/b'}\n",
        "sage.sha256: a download needs its checksum",
    ),
    "tarball without version": (
        "sage: {source: tarball, url: 'https://a/b'}\n",
        "sage.version: a tarball needs its version",
    ),
    "sessions with no way to them": (
        "network: {forwards: {sessions: null}}\n",
        "no port leads to the sessions",
    ),
    **{
        f"no name for sessions: {written}": (
            f"notebook: {{subdomain_host: '{written}'}}\n",
            "notebook.subdomain_host: not a name that has names below it",
        )
        for written in (
            *("sage", "https://sage.example.org", "sage.example.org:8000", "*.example.org"),
            *("10.0.0.5", "Sage.example.org", "sage.example.org.", "-a.example.org", "", "[::1]"),
            *("a.1", ".".join(["a" * 60] * 3)),
        )
    },
    "sessions on the notebook's port": (
        "notebook: {sessions_port: 8000}\n",
        "port 8000 is the notebook's",
    ),
    "sessions where no browser looks": (
        "network: {forwards: {notebook: {host: 9000}, sessions: {host: 8443}}}\n",
        "write host: 9443",
    ),
    "sessions forwarded to nowhere": (
        "network: {forwards: {sessions: {guest: 8444}}}\n",
        "the sessions are on 8443",
    ),
    "a public notebook without its sessions": (
        "network: {forwards: {notebook: {public: true}, sessions: {public: false}}}\n",
        "write public: true",
    ),
    "notebook on the SSH server's port": (
        "notebook: {port: 22}\nnetwork: {forwards: {notebook: null}}\n",
        "port 22 is the SSH server's",
    ),
    "group named as an account": ("pool: {group: nb2}\n", "nb2 is an account of the pool"),
    "admin in the pool": ("admin: {user: nb3}\n", "nb3 is an account of the pool"),
    "admin named as the group": ("admin: {user: sageusers}\n", "sageusers is the pool's group"),
}


@pytest.mark.parametrize(("text", "expected"), SYNTAX.values(), ids=SYNTAX)
def test_syntax(refused, text, expected):
    assert expected in refused(text)


@pytest.mark.parametrize(("text", "expected"), VALUES.values(), ids=VALUES)
def test_value(refused, text, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = refused(text)
    assert expected in report
    assert report.startswith("1 problem in the configuration")


@pytest.mark.parametrize(("text", "expected"), COMBINATIONS.values(), ids=COMBINATIONS)
def test_combination(refused, text, expected):
    assert expected in refused(text)


def test_every_problem_at_once_in_the_order_of_the_file(refused):
    report = refused("memory: 2G\ncpus: x\nfoo: 1\npool: {count: 3, cout: 4}\ncpus: 3\n")
    assert report.startswith("5 problems in the configuration")
    places = [line.split(": ")[0] for line in report.splitlines() if line.startswith("appliance")]
    assert places == [f"appliance.yml:{p}" for p in ("1:9", "2:7", "3:1", "4:18", "5:1")]


def test_a_malformed_value_hides_no_other_and_causes_no_second_complaint(refused):
    report = refused("memory: lots\npool: {count: 40}\ndisks: {data: {size: 1G, mount: /home}}\n")
    assert report.startswith("2 problems")
    assert "memory: not a size" in report
    assert "mounted at /home already" in report


def test_the_value_is_underlined_below_wide_characters(refused):
    report = refused("name: sage # 数学\nmail: {root: '数学'}\n")
    assert "  2 | mail: {root: '数学'}\n    |              ^^^^^^ write user@host" in report


def test_a_long_line_is_cut_around_the_value(refused):
    report = refused(f"packages: [{', '.join(f'package{n}' for n in range(200))}, Bad]\n")
    line, marks = report.splitlines()[-2:]
    assert len(line) < 140
    assert line[marks.index("^") :].startswith("Bad")


def test_nothing_that_a_terminal_obeys_is_printed(refused):
    assert "\x1b" not in refused('"\\e[2Jname": 1\nfoo: "\\e[31m"\n')


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"No such file") as caught:
        read(tmp_path / "no.yml", environ={})
    assert "appliance init" in str(caught.value)
    with pytest.raises(ConfigError, match=r"there is no file"):
        find(tmp_path / "no.yml", {})


def test_an_unreadable_file(tmp_path):
    with pytest.raises(ConfigError, match=r"Is a directory"):
        read(tmp_path, environ={})


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}\n", "null\n"])
def test_an_empty_file_gives_the_defaults(tmp_path: Path, text):
    path = tmp_path / "appliance.yml"
    path.write_text(text)
    assert read(path, environ={}).config == read(None, environ={}).config


def test_the_environment_goes_before_the_file_and_an_option_before_both(tmp_path):
    path = tmp_path / "appliance.yml"
    path.write_text("pool: {count: 2, prefix: kid}\ncpus: 1\nname: a\n")
    environ = {"APPLIANCE_POOL__COUNT": "3", "APPLIANCE_CPUS": "4", "HOME": "/"}
    loaded = read(path, environ=environ, assignments=["cpus=8"])
    config = loaded.config
    assert (config.cpus, config.pool.count, config.pool.prefix, config.name) == (8, 3, "kid", "a")
    assert loaded.origin("cpus") == "--set cpus"
    assert loaded.origin("pool.count") == "APPLIANCE_POOL__COUNT"
    assert loaded.origin("pool.prefix") == f"{path}:1:26"
    assert loaded.origin("memory") == "default"


def test_a_bad_variable_is_drawn_as_the_user_set_it(refused):
    report = refused("", environ={"APPLIANCE_MEMORY": "4Q", "APPLIANCE_MEMROY": "4G"})
    assert "APPLIANCE_MEMORY: memory: not a size\n  | APPLIANCE_MEMORY=4Q\n" in report
    assert "  |                  ^^ write a whole number" in report
    assert "APPLIANCE_MEMROY: no such key (did you mean memory?)" in report


def test_a_bad_option_is_drawn_as_the_user_wrote_it(refused):
    report = refused("", assignments=["pool.count=many", "packages=[a", "nonsense"])
    assert "--set pool.count: pool.count: not a whole number" in report
    assert "--set packages: packages: " in report
    assert "--set nonsense: nonsense: no such key" in report


def test_other_variables_are_left_alone():
    assert read(None, environ={"APPLIANCE_LOG_LEVEL": "x", "APPLIANCE_CONFIG": "y"}).config


def public_key(kind: bytes = b"ssh-ed25519") -> str:
    blob = struct.pack(">I", len(kind)) + kind + struct.pack(">I", 32) + bytes(32)
    return f"{kind.decode()} {base64.b64encode(blob).decode()} me@here"


def test_keys_come_as_text_or_from_files_beside_the_configuration(tmp_path):
    first, second = public_key(), public_key(b"ssh-rsa")
    (tmp_path / "team.pub").write_text(f"# the team\n{first}\n{second}\n")
    path = tmp_path / "appliance.yml"
    path.write_text(f"admin:\n  keys:\n    - {first}\n    - team.pub\n")
    assert read(path, environ={}).config.admin.keys == (first, second)


def test_two_sources_of_one_name(refused, tmp_path):
    (tmp_path / "key.gpg").touch()
    source = "{name: extra, uri: 'https://a/b', suites: [stable], key: key.gpg}"
    report = refused(f"apt_sources:\n  - {source}\n  - {source}\n")
    assert "appliance.yml:3:12: apt_sources[1].name: extra is there already" in report


def test_windows_line_ends(refused, tmp_path):
    assert "appliance.yml:2:7: cpus: too small\n  2 | cpus: 0\n" in refused(
        "name: a\r\ncpus: 0\r\n"
    )
    (tmp_path / "appliance.yml").write_bytes(b"pool:\r\n  count: 3\r\n")
    assert read(tmp_path / "appliance.yml", environ={}).config.pool.count == 3


def test_a_private_key_file_is_refused(refused, tmp_path):
    (tmp_path / "id").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nx\n")
    assert "is a private key" in refused("admin: {keys: [id]}\n")


def test_paths_begin_at_the_file(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site/extra.yml").touch()
    path = tmp_path / "site/appliance.yml"
    path.write_text("hooks: {playbooks: [extra.yml]}\n")
    assert read(path, environ={}).config.hooks.playbooks == (tmp_path / "site/extra.yml",)
