"""Which snapshot a name or a time means."""

import datetime
import time
from collections.abc import Iterator

import pytest

from provision.fleet.inside.program import RefusedError
from provision.fleet.inside.snapshots import Snapshot, choose, end_of


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The appliance is in Berlin."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def snapshot(identity: str, when: str) -> Snapshot:
    return Snapshot(identity.ljust(64, "0"), datetime.datetime.fromisoformat(when))


KNOWN = [
    snapshot("ebd41f", "2026-11-29T00:30:40.123456789Z"),
    snapshot("2026aa", "2026-11-27T12:00:00.5+01:00"),
    snapshot("2026ab", "2026-11-28T23:59:59.9+01:00"),
]


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("latest", "ebd41f00"),
        ("2026-11-29 01:30:40", "ebd41f00"),
        ("2026-11-29T01:30:40", "ebd41f00"),
        ("2026-11-29T00:30:40Z", "ebd41f00"),
        ("2026-11-29 00:30 UTC", "ebd41f00"),
        ("2026-11-29 01:30:40 +0100", "ebd41f00"),
        ("2026-11-29T02:30:40+02:00", "ebd41f00"),
        ("2026-11-29 01:30", "ebd41f00"),  # as a page shows it: to the end of the minute
        ("2026-11-29 01:29", "2026ab00"),
        ("2026-11-29T01:30:39", "2026ab00"),
        ("2026-11-29T01:30:40.1", "2026ab00"),
        ("2026-11-29 00:30:40", "2026ab00"),  # half past midnight here
        ("2026-11-28", "2026ab00"),
        ("2026-11-27", "2026aa00"),
        ("2026-11-28T12:00", "2026aa00"),
        ("2030-01-01", "ebd41f00"),
        ("ebd4", "ebd41f00"),
        ("ebd41f00", "ebd41f00"),
        ("ebd41f".ljust(64, "0"), "ebd41f00"),
        ("2026ab", "2026ab00"),
    ],
)
def test_what_is_meant(wanted: str, name: str) -> None:
    assert choose(wanted, KNOWN).name == name


@pytest.mark.parametrize(
    "wanted",
    [
        *("28.11.2026", "27/11/2026", "11/28/2026", "Nov 28", "gestern", "yesterday", "now"),
        *(
            "",
            " ",
            "2026",
            "2026-11",
            "2026-11-",
            "2026-11-29T",
            "2026-11-29 01",
            "2026-11-29 1:30",
        ),
        *("2026-13-01", "2026-02-30", "2026-11-29 25:00", "2026-11-29 01:30 CET", "0000-00-00"),
        *("2026-11-29 01:30\n", "2026-11-29\n", "ebd41f00\n", "-latest", "Latest", "EBD41F00"),
        *("ebd", "dead", "ebd41f001", "2026a", "./latest", "latest:/etc", "9999-12-31"),
        *("2026-11-26", "2026-11-27 11:59", "1000-01-01", "２０２６-11-29"),
    ],
)
def test_what_cannot_be_read_or_means_several_is_refused(wanted: str) -> None:
    with pytest.raises(RefusedError):
        choose(wanted, KNOWN)


def test_a_refusal_names_the_value_and_the_mend() -> None:
    with pytest.raises(RefusedError, match=r"'28\.11\.2026' is no time.*as in 2026-11-20"):
        choose("28.11.2026", KNOWN)
    with pytest.raises(RefusedError, match=r"2026aa00 of 2026-11-27 12:00:00 .* and .*2026ab00"):
        choose("2026a", KNOWN)
    with pytest.raises(RefusedError, match="the first is snapshot 2026aa00 of"):
        choose("2025-01-01", KNOWN)
    with pytest.raises(RefusedError, match="no backup yet"):
        choose("latest", [])


def test_an_hour_that_is_there_twice_wants_its_zone() -> None:
    with pytest.raises(RefusedError, match=r"\+0200 or \+0100"):
        end_of("2026-10-25 02:30")
    first, second = end_of("2026-10-25 02:30 +0200"), end_of("2026-10-25 02:30 +0100")
    assert second - first == datetime.timedelta(hours=1)
    with pytest.raises(RefusedError, match="the clock is changed"):
        end_of("2026-03-29 02:30")
    day = end_of("2026-10-25") - end_of("2026-10-24")
    assert day == datetime.timedelta(hours=25)


def test_it_is_said_in_the_appliances_zone() -> None:
    assert KNOWN[0].said == "snapshot ebd41f00 of 2026-11-29 01:30:40 +0100"
