import os
from pathlib import Path

import pytest

from provision.guest.pool.leases import Leases


@pytest.fixture
def leases(tmp_path: Path) -> Leases:
    return Leases(tmp_path / "leases", ["nb1@localhost", "nb2@localhost"])


def test_no_two_students_hold_one_account(leases: Leases) -> None:
    first = leases.take("alice")
    second = leases.take("bob")
    assert first and second
    assert {first[0], second[0]} == {"nb1@localhost", "nb2@localhost"}
    assert leases.take("carol") is None


def test_a_lease_tells_who_has_it(leases: Leases) -> None:
    taken = leases.take("alice")
    assert taken
    account, file = taken
    file.write(b'4711\n{"port": 12001}\n')
    file.flush()
    lease = leases.find(account)
    assert lease and (lease.student, lease.pid, lease.said) == ("alice", 4711, ('{"port": 12001}',))
    assert [lease.account for lease in leases] == [account]


def test_a_lease_ends_with_the_last_process_that_has_its_file(leases: Leases) -> None:
    taken = leases.take("alice")
    assert taken
    account, file = taken
    inherited = os.dup(file.fileno())
    file.close()
    assert leases.find(account)
    os.close(inherited)
    assert leases.find(account) is None


def test_what_an_earlier_session_said_is_forgotten(leases: Leases) -> None:
    taken = leases.take("alice")
    assert taken
    taken[1].write(b'1\n{"port": 1}\n')
    taken[1].close()
    again = leases.take("bob")
    assert again
    lease = leases.find(again[0])
    assert lease and (lease.student, lease.pid, lease.said) == ("bob", None, ())


def test_another_hub_sees_the_same_leases(leases: Leases, tmp_path: Path) -> None:
    taken = leases.take("alice")
    assert taken
    other = Leases(tmp_path / "leases", leases.accounts)
    assert other.find(taken[0])
    second = other.take("bob")
    assert second and second[0] != taken[0]


def test_an_account_never_leased_is_free(leases: Leases) -> None:
    assert leases.find("nb1@localhost") is None
    assert list(leases) == []
