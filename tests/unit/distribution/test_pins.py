"""What a seat remembers of a publisher outlives a power cut, or is learnt anew."""

from pathlib import Path

import pytest

from provision.distribution import pins
from provision.distribution.channel import Channel
from provision.errors import VerificationError
from provision.ova import minisign

TORN = (
    b"",
    b"\0" * 64,
    b'{"stable": [1, "1.',
    b"[]",
    b'{"stable": 5}',
    b"[" * 100_000,
    b"\xff",
    b'{"a": [1, "b", "c"]}',
)


@pytest.fixture
def key(tmp_path: Path) -> minisign.PublicKey:
    return minisign.generate(tmp_path / "secret.key")


@pytest.mark.parametrize("torn", TORN, ids=range(len(TORN)))
def test_a_torn_file_ends_no_pull(tmp_path: Path, key: minisign.PublicKey, torn: bytes) -> None:
    (tmp_path / pins.SERIALS).write_bytes(torn)
    (tmp_path / pins.KEY).write_bytes(torn)
    pins.check(tmp_path, Channel("stable", 7, "1.0-a"), key)
    assert pins.known_keys([tmp_path / pins.KEY]) == []
    pins.pin(tmp_path, key)
    pins.remember(tmp_path, Channel("stable", 7, "1.0-a"))
    assert pins.known_keys([tmp_path / pins.KEY]) == [key]
    with pytest.raises(VerificationError, match="went back"):
        pins.check(tmp_path, Channel("stable", 6, "1.0-a"), key)


def test_each_channel_goes_its_own_way(tmp_path: Path, key: minisign.PublicKey) -> None:
    pins.remember(tmp_path, Channel("stable", 7, "1.0-a"))
    pins.remember(tmp_path, Channel("next", 2, "1.1-b"))
    pins.check(tmp_path, Channel("stable", 7, "1.0-a"), key)
    pins.check(tmp_path, Channel("next", 3, "1.0-a"), key)
    for offered in (Channel("stable", 7, "1.1-b"), Channel("next", 1, "1.1-b")):
        with pytest.raises(VerificationError, match="went back"):
            pins.check(tmp_path, offered, key)


def test_no_clock_goes_back_behind_what_was_seen(tmp_path: Path) -> None:
    assert pins.latest(tmp_path) == 0
    pins.remember(tmp_path, Channel("next", 2, "1.1-b", 500, 900))
    pins.remember(tmp_path, Channel("stable", 7, "1.0-a", 400, 900))
    assert pins.latest(tmp_path) == 500
    (tmp_path / pins.SERIALS).write_text('{"stable": [7, "1.0-a"]}')  # of an older program
    assert pins.latest(tmp_path) == 0
