"""What is in a backup is written down once."""

import re
from pathlib import Path

import pytest

from provision.fleet import remote
from provision.fleet.inside import restoring
from provision.fleet.inside.contents import CONFIGURATION, LEFT_OUT
from provision.fleet.inside.own import ADMIN_KEYS, HUB, OWN, is_own
from provision.fleet.inside.restic import literally

PAGE = Path(__file__).parents[4] / "docs" / "backup.md"


def test_the_page_names_all_that_is_left_out() -> None:
    named = re.findall(r"`(/[^`]*)`", PAGE.read_text())
    for pattern in LEFT_OUT:
        assert any(pattern.removesuffix("/*") == name for name in named), pattern


def test_what_no_image_carries_is_in_the_backup_or_left_out_for_a_reason() -> None:
    backed_up = (HUB, ADMIN_KEYS, *CONFIGURATION)
    for pattern in OWN:
        below = any(pattern.startswith(each) for each in (*backed_up, "/var/lib/appliance"))
        of_backup = "appliance-backup" in pattern or pattern.endswith("appliance/backup")
        assert below or pattern in LEFT_OUT or of_backup, pattern


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/etc/ssh/authorized_keys.d", True),
        ("/etc/ssh/ssh_host_ed25519_key", True),
        ("/etc/appliance", True),
        ("/etc/systemd/system/timers.target.wants/appliance-backup.timer", True),
        ("/etc/ssh/sshd_config", False),
        ("/etc/notebook", False),
        ("/etc/notebook/hubs.pub", True),
    ],
)
def test_what_is_a_machines_own(path: str, own: bool) -> None:
    assert is_own(path) is own


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("/a/Blatt [2].ipynb", r"/a/Blatt \[2\].ipynb"),
        (r"/a/back\slash", r"/a/back\\slash"),
        ("/a/**/?", r"/a/\*\*/\?"),
        ("/a/$HOME !{x}\n", "/a/$HOME !{x}\n"),
    ],
)
def test_a_name_is_no_pattern(name: str, pattern: str) -> None:
    assert literally(name) == pattern


def test_accounts_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = type("Entry", (), {"pw_name": "sageadm"})
    monkeypatch.setattr(restoring, "administrators", lambda: [admin])
    before = {"sageadm": "old", "emmy": "old", "carl": "old"}
    today = {"sageadm": "new", "emmy": "!locked", "ada": "new"}
    merged, kept = restoring.merge_accounts(today, before)
    assert merged == {"sageadm": "new", "emmy": "!locked", "carl": "old", "ada": "new"}
    assert kept == ["ada"]
    # On a fresh appliance all is the backup's.
    assert restoring.merge_accounts({"sageadm": "first"}, before) == (before, [])


def test_a_program_goes_with_what_it_imports() -> None:
    whole = remote.pack("backup")
    for name in ("backup", "contents", "own", "program", "restic", "restoring", "settle"):
        assert f"inside/{name}.py".encode() in whole
    assert b"inside/classroom.py" not in whole
    assert whole == remote.pack("backup")
