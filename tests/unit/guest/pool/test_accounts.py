import stat
from pathlib import Path

import pytest

from provision.guest.pool import accounts as module
from provision.guest.pool.accounts import Accounts, WaitingError
from provision.guest.pool.evictions import Evictions


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Accounts:
    monkeypatch.setattr(module, "COST", 2)
    return Accounts(tmp_path / "state" / "accounts.json")


def test_a_password_opens_its_own_account_only(accounts: Accounts) -> None:
    accounts.add("alice", "correct horse")
    accounts.add("bob", "battery staple")
    assert accounts.check("alice", "correct horse", may_make=False)
    assert not accounts.check("alice", "battery staple", may_make=False)
    assert not accounts.check("alice", "", may_make=True)


def test_the_first_password_counts_where_the_teacher_gave_none(accounts: Accounts) -> None:
    accounts.add("carol")
    assert not accounts.check("carol", "short", may_make=False)
    assert accounts.check("carol", "long enough", may_make=False)
    assert not accounts.check("carol", "another one", may_make=False)


def test_unknown_names_are_let_in_only_where_visitors_make_accounts(accounts: Accounts) -> None:
    assert not accounts.check("dave", "long enough", may_make=False)
    assert accounts.names() == []
    assert accounts.check("dave", "long enough", may_make=True)
    assert accounts.names() == ["dave"]


def test_a_locked_name_stays_out(accounts: Accounts) -> None:
    accounts.add("erin", "correct horse")
    accounts.lock("erin")
    assert not accounts.check("erin", "correct horse", may_make=True)
    assert not accounts.check("erin", "!", may_make=True)


def test_a_list_only_adds(accounts: Accounts) -> None:
    accounts.add("sageadm", "the machine's own")
    accounts.add("emmy", "correct horse")
    accounts.add("carl", "correct horse")
    accounts.lock("carl")
    assert accounts.load(iter(["emmy", "carl,another one", "sageadm", "sonja"])) == ["sonja"]
    assert not accounts.add("emmy")
    assert not accounts.add("sageadm", "whoever is first")
    assert not accounts.check("emmy", "whoever is first", may_make=True)
    assert not accounts.check("carl", "another one", may_make=True)
    assert accounts.check("emmy", "correct horse", may_make=False)
    assert accounts.check("sageadm", "the machine's own", may_make=False)
    assert accounts.locked() == ["carl"]


def test_a_list_resets_where_it_is_asked_to(accounts: Accounts) -> None:
    for name in ("sageadm", "emmy", "carl", "ada"):
        accounts.add(name, "correct horse")
    accounts.add("erin", "correct horse", waiting=True)
    accounts.lock("carl")
    new = dict.fromkeys(("sageadm", "emmy", "carl", "erin", "sonja"), "battery staple")
    taken = accounts.take(new | {"ada": None}, untouchable=["sageadm"], reset=True)
    assert (taken.added, taken.reset) == (["sonja"], ["emmy", "carl", "erin"])
    assert set(taken.skipped) == {"sageadm", "ada"}
    assert accounts.check("emmy", "battery staple", may_make=False)
    assert accounts.check("sageadm", "correct horse", may_make=False)
    assert accounts.check("ada", "correct horse", may_make=False)
    assert (accounts.locked(), accounts.waiting()) == (["carl"], ["erin"])


def test_a_name_with_files_from_before_waits(accounts: Accounts) -> None:
    accounts.take({"gitta": None, "emmy": "correct horse"}, waiting=["gitta", "emmy"])
    assert not accounts.check("gitta", "whoever is first", may_make=True)
    with pytest.raises(WaitingError):
        accounts.check("emmy", "correct horse", may_make=True)
    with pytest.raises(ValueError, match="no password"):
        accounts.approve("gitta")
    accounts.set_password("gitta", "battery staple")
    assert accounts.check("gitta", "battery staple", may_make=False)
    for name, may_make in (("sonja", True), ("carl", False)):
        if not may_make:
            accounts.add(name)
        with pytest.raises(WaitingError):
            accounts.check(name, "whoever is first", may_make=may_make, earlier=True)
    assert accounts.waiting() == ["carl", "emmy", "sonja"]


def test_nothing_is_done_to_a_name_that_is_not_there(accounts: Accounts) -> None:
    for change in (accounts.lock, accounts.unlock, accounts.approve):
        with pytest.raises(ValueError, match="erin"):
            change("erin")
    with pytest.raises(ValueError, match="erin"):
        accounts.set_password("erin", "correct horse")
    assert accounts.names() == []


def test_a_lock_outlasts_a_new_password(accounts: Accounts) -> None:
    accounts.add("erin", "correct horse")
    accounts.lock("erin")
    accounts.set_password("erin", "battery staple")
    assert not accounts.check("erin", "battery staple", may_make=False)
    accounts.unlock("erin")
    assert accounts.check("erin", "battery staple", may_make=False)


def test_who_is_closed_out_is_ordered_out(accounts: Accounts, tmp_path: Path) -> None:
    for name in ("emmy", "carl", "sonja", "ada"):
        accounts.add(name, "correct horse")
    assert Evictions(tmp_path / "state").orders() == {}
    accounts.lock("emmy")
    accounts.set_password("carl", "battery staple")
    accounts.remove("sonja")
    accounts.take({"ada": "battery staple"}, reset=True)
    ordered = Evictions(tmp_path / "state").orders()
    assert sorted(ordered.values()) == ["ada", "carl", "emmy", "sonja"]
    for path in ordered:
        path.unlink()
    assert Evictions(tmp_path / "state").carried_out(["emmy"], 0)


def test_a_class_is_imported_as_a_whole_or_not_at_all(accounts: Accounts) -> None:
    with pytest.raises(ValueError, match="line 2"):
        accounts.load(iter(["frank,correct horse\n", "../etc,correct horse\n"]))
    assert accounts.names() == []
    assert accounts.load(iter(["frank, correct horse\n", "\n", "grace\n"])) == ["frank", "grace"]
    assert accounts.check("frank", "correct horse", may_make=False)


def test_passwords_are_kept_hashed_and_private(accounts: Accounts, tmp_path: Path) -> None:
    accounts.add("alice", "correct horse")
    accounts.add("bob", "correct horse")
    file = tmp_path / "state" / "accounts.json"
    text = file.read_text()
    assert "correct horse" not in text
    hashes = [line.split(":", 1)[1] for line in text.splitlines() if ":" in line]
    assert hashes[0] != hashes[1]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_short_password_is_refused(accounts: Accounts) -> None:
    with pytest.raises(ValueError, match="8 characters"):
        accounts.add("alice", "short")


def test_a_visitors_account_waits_where_the_admin_wants_to_see_it(accounts: Accounts) -> None:
    for _ in range(2):
        with pytest.raises(WaitingError):
            accounts.check("erin", "long enough", may_make=True, approval=True)
    assert not accounts.check("erin", "wrong words", may_make=True, approval=True)
    assert accounts.waiting() == ["erin"]
    accounts.approve("erin")
    assert accounts.check("erin", "long enough", may_make=True, approval=True)
    with pytest.raises(ValueError, match="does not wait"):
        accounts.approve("erin")


def test_a_teachers_account_waits_for_nobody(accounts: Accounts) -> None:
    accounts.add("carol")
    assert accounts.check("carol", "long enough", may_make=True, approval=True)
