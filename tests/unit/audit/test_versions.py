"""OSV's algorithm, in the order of versions of each system."""

import pytest

from provision.audit.advisory import Advisory, Event
from provision.audit.versions import verdict


def advisory(ecosystem: str, *events: tuple[str, str], versions: tuple[str, ...] = ()) -> Advisory:
    ranges = (tuple(Event(kind, version) for kind, version in events),)  # type: ignore[arg-type]
    return Advisory(
        "X-1", frozenset({"X-1"}), ecosystem, "x", "high", "", ranges, frozenset(versions)
    )


@pytest.mark.parametrize(
    ("version", "affected", "fixed"),
    [
        ("1.9", True, "2.0"),
        ("2.0rc1", True, "2.0"),
        ("2.0", False, None),
        ("2.0+local.1", False, None),
        ("2.0.dev1", True, "2.0"),
        ("1!0.1", False, None),  # an epoch is above all without
        ("0.9.post3", True, "2.0"),
    ],
)
def test_pythons_order(version: str, affected: bool, fixed: str | None) -> None:
    said = verdict(version, advisory("PyPI", ("introduced", "0"), ("fixed", "2.0")))
    assert (said.affected, said.fixed, said.unclear) == (affected, fixed, "")


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ("1:9.2p1-2+deb12u2", True),
        ("1:9.2p1-2+deb12u3", False),
        ("1:9.2p1-2+deb12u3+b1", False),
        ("9.9p1-1", True),  # no epoch: below every 1:
        ("1:9.2p1-2~bpo11+1", True),
        ("2:1", False),
    ],
)
def test_debians_order(version: str, affected: bool) -> None:
    fixed = "1:9.2p1-2+deb12u3"
    said = verdict(version, advisory("Debian:12", ("introduced", "0"), ("fixed", fixed)))
    assert (said.affected, said.fixed) == (affected, fixed if affected else None)


def test_ranges_are_taken_in_the_order_of_versions_not_of_the_record() -> None:
    record = advisory(
        "PyPI", ("fixed", "2.1"), ("introduced", "2.0"), ("fixed", "1.10"), ("introduced", "1.9")
    )
    told = {each: verdict(each, record).fixed for each in ("1.8", "1.9", "1.10", "2.0.5", "2.1")}
    assert told == {"1.8": None, "1.9": "1.10", "1.10": None, "2.0.5": "2.1", "2.1": None}


def test_the_last_affected_is_affected_also_in_a_local_build_and_nothing_mends_it() -> None:
    record = advisory("PyPI", ("introduced", "0"), ("last_affected", "1.4"))
    found = {each: verdict(each, record).affected for each in ("1.4", "1.4+school.2", "1.5")}
    assert found == {"1.4": True, "1.4+school.2": True, "1.5": False}
    assert verdict("1.4", record).fixed is None


def test_versions_one_by_one_and_a_limit() -> None:
    record = advisory("PyPI", ("introduced", "3"), ("limit", "4"), versions=("1.0.0",))
    found = {each: verdict(each, record).affected for each in ("1.0.0", "1.0.1", "3.5", "4")}
    assert found == {"1.0.0": True, "1.0.1": False, "3.5": True, "4": False}


@pytest.mark.parametrize(("ecosystem", "version"), [("PyPI", "2004d-x!"), ("Debian:13", "1_2 3")])
def test_what_cannot_be_compared_counts_as_open_and_says_why(ecosystem: str, version: str) -> None:
    said = verdict(version, advisory(ecosystem, ("introduced", "0"), ("fixed", "9")))
    assert said.affected
    assert version in said.unclear
    said = verdict("1", advisory(ecosystem, ("introduced", "0"), ("fixed", version)))
    assert (said.affected, said.fixed) == (True, None)
    assert version in said.unclear
