import pytest

from provision.guest.pool.connection import Account, account_of, greeting, local_ports
from provision.guest.pool.leases import Lease


@pytest.mark.parametrize(
    ("entry", "account"),
    [
        ("nb1@localhost", Account("nb1", "localhost", 2200)),
        ("nb1@other.school", Account("nb1", "other.school", 2200)),
        ("nb1@other.school:2222", Account("nb1", "other.school", 2222)),
    ],
)
def test_entries_of_the_pool(entry: str, account: Account) -> None:
    assert account_of(entry) == account
    assert account.local == (account.host == "localhost")


def test_the_ports_that_lead_to_accounts_never_overlap() -> None:
    pool = [f"nb{n}@other" for n in range(1, 900)]
    ports = [port for entry in pool for port in local_ports(pool, entry)]
    assert len(ports) == len(set(ports))
    assert 28000 <= min(ports) <= max(ports) < 32768  # below those that connections take


def test_what_a_session_tells_is_found_among_other_words() -> None:
    said = ("Warning: Permanently added", "42", "[]", '{"port": 12001, "tunnels": [20008]}')
    lease = Lease("nb1@localhost", "alice", 7, said)
    assert greeting(lease) == {"port": 12001, "tunnels": [20008]}
    assert greeting(Lease("nb1@localhost", "alice", 7, ())) is None
