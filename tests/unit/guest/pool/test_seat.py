import json
import re
from pathlib import Path
from typing import Any

import pytest

from provision import resources
from provision.guest.pool import seat

RECORD: dict[str, Any] = {
    "pool_accounts": ["nb1", "nb2", "nb3"],
    "pool_group": "sageusers",
    "admin_user": "sageadm",
    "mail_root": "",
    "notebook_first_id": 2001,
    "notebook_made": 3,
    "notebook_user_id": 800,
    "notebook_proxy_id": 13,
    "notebook_port": 8000,
    "notebook_sessions_port": 8443,
    "notebook_network": "mirror",
    "notebook_egress": 3120,
    "notebook_limits": {"memory": 1 << 30, "swap": 0, "cpu": 100, "tasks": 256},
}
DOORS, ALIASES = "etc/ssh/sshd_config.d/50-appliance.conf", "etc/aliases"
LEASED = ["nb1@localhost", "nb2@localhost", "nb1@further:2200"]
START = """notebook(
    server_pool=["nb1@localhost", "nb2@localhost", "nb1@further:2200"],
    port=8000,
)
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An appliance's files, as it was built; making accounts is no unit's to test."""
    monkeypatch.setattr(seat, "ROOT", tmp_path)
    monkeypatch.setattr(seat, "TEMPLATES", resources.templates() / "guest")
    monkeypatch.setattr(seat, "make_account", lambda *words: None)
    record = json.dumps(RECORD) + "\n"
    guest = json.dumps({"admin": "sageadm", "accounts": LEASED}) + "\n"
    written = {**seat.render(RECORD), seat.START: START, seat.RECORD: record, seat.GUEST: guest}
    for path, text in written.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def files(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}


def test_the_same_size_changes_nothing(root: Path) -> None:
    for path, change in ((seat.START, seat.offering), (seat.GUEST, seat.leasing)):
        (root / path).write_text(change((root / path).read_text(), ["nb1", "nb2", "nb3"]))
    before = files(root)
    assert not seat.resize(3)
    assert files(root) == before


def test_grown_and_shrunk_again_all_is_as_it_was_but_the_ports_of_who_is_there(root: Path) -> None:
    before = files(root)
    assert seat.resize(5)
    grown = files(root)
    assert (
        "set pool {\n    type uid\n    elements = { 2001, 2002, 2003, 2004, 2005 }"
        in (grown["etc/notebook/firewall.nft"])
    )
    assert "\nAllowUsers nb1 nb2 nb3 nb4 nb5\n" in grown["etc/notebook/sshd_config"]
    assert "\nnb5: root\n" in grown[ALIASES]
    assert "\nAllowUsers nb5@127.0.0.1 nb5@::1\n" in grown[DOORS]
    for uid in range(2001, 2006):  # nobody takes the newest one's port, whoever was there first
        limits = grown[f"etc/systemd/system/user-{uid}.slice.d/pool.conf"]
        assert "\nSocketBindDeny=tcp:12001-12005\n" in limits
        assert f"\nSocketBindAllow=tcp:{uid + 10000}\n" in limits
    assert seat.resize(2) and seat.resize(3)
    again = files(root)
    differing = {path for path in again if again[path] != before.get(path)}
    assert {path for path in differing if "/system/user" not in path} == {
        seat.START, seat.RECORD, seat.GUEST,
    }  # fmt: skip
    assert "12001-12005" in again["etc/systemd/system/user-2001.slice.d/pool.conf"]


def test_servers_of_other_machines_stay(root: Path) -> None:
    seat.resize(1)
    told = (root / seat.START).read_text()
    assert 'server_pool=["nb1@localhost", "nb1@further:2200"],\n    port' in told
    leased = json.loads((root / seat.GUEST).read_text())
    assert leased == {"admin": "sageadm", "accounts": ["nb1@localhost", "nb1@further:2200"]}


def test_what_an_administrator_wrote_stays(root: Path) -> None:
    for path, line in ((DOORS, "AllowUsers operator\n"), (ALIASES, "ada: ada@school.example\n")):
        text = (root / path).read_text()
        (root / path).write_text(line + text + line)
    seat.resize(30)
    seat.resize(2)
    assert re.findall("(?m)^AllowUsers (.*)", (root / DOORS).read_text()) == [
        "operator", "sageadm", "nb1@127.0.0.1 nb1@::1", "nb2@127.0.0.1 nb2@::1", "operator",
    ]  # fmt: skip
    aliases = (root / ALIASES).read_text()
    assert aliases.count("ada: ada@school.example\n") == 2
    assert re.findall(r"(?m)^nb\d+", aliases) == ["nb1", "nb2"]


def test_where_the_accounts_own_lines_were_changed_all_is_written_anew(root: Path) -> None:
    text = (root / DOORS).read_text()
    (root / DOORS).write_text(text.replace("AllowUsers nb3@127.0.0.1", "AllowUsers nb3@*"))
    seat.resize(2)
    assert "nb3" not in (root / DOORS).read_text()


def test_a_great_pool_shares_the_table_of_connections(root: Path) -> None:
    seat.resize(400)
    rules = (root / "etc/notebook/firewall.nft").read_text()
    each = int(re.findall(r"add @connections \{ meta skuid ct count over (\d+)", rules)[0])
    assert 400 * each <= 131072


@pytest.mark.parametrize(
    ("key", "value"),
    [("pool", "0"), ("pool", "1000"), ("pool", "x"), ("pool", "²"), ("name", "$(reboot)")],
)
def test_what_makes_no_sense(key: str, value: str) -> None:
    assert not seat.good(key, value)
    assert seat.good("name", "sage-07") and seat.good("pool", "12")
