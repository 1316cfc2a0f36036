"""Whatever is written: a configuration or a report, never a traceback."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provision.config import Config, InvalidConfigError, capacity, read
from provision.config.capacity import (
    NURSERY_MEMORY,
    SYSTEM_MEMORY,
    forks,
    needed_memory,
    promised_sessions,
    system_memory,
)
from provision.config.quantities import (
    format_duration,
    format_percent,
    format_size,
    parse_duration,
    parse_percent,
    parse_size,
)
from provision.config.reading import validate
from provision.config.render import scalar
from provision.config.source import Document, read_assignment, read_text

KEYS = st.sampled_from(sorted({*Config.model_fields, "count", "limits", "root", "host", "size"}))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["4G", "0", "-1", "~", "/", "nb", "ssh-ed25519 AAAA", "1e9999", "~root"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
FRAGMENTS = st.sampled_from(
    [
        "\n",
        " ",
        "\t",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "'",
        '"',
        "|",
        ">",
        "&a",
        "*a",
        "!t",
        "%YAML 9.9",
        "---",
        "...",
        "?",
        "<<",
        "name",
        "pool",
        "disks",
        "1",
        "\\x00",
        "\x85",
        "\u2028",
    ]
)
GENTLE = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def loaded(text: bytes, path: Path) -> None:
    path.write_bytes(text)
    with contextlib.suppress(InvalidConfigError):
        read(path, environ={})


@GENTLE
@given(st.binary(max_size=200))
def test_bytes(tmp_path, text):
    loaded(text, tmp_path / "appliance.yml")


@GENTLE
@given(st.lists(FRAGMENTS | st.text(max_size=3), max_size=25).map("".join))
def test_text(tmp_path, text):
    loaded(text.encode(errors="surrogatepass"), tmp_path / "appliance.yml")


@GENTLE
@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_values(data):
    config, problems = validate(data, Path("/nowhere"))
    assert config is not None or problems
    for problem in problems:
        assert problem.draw()


@GENTLE
@given(st.text(max_size=30))
def test_assignments(text):
    source = Document()
    read_assignment(source, ("pool", "count"), "--set pool.count", text)
    assert source.problems or "pool" in source.data


@GENTLE
@given(
    st.text(st.characters(exclude_categories=["C", "Z"]), max_size=20)
    | st.integers()
    | st.booleans()
    | st.none()
)
def test_what_we_write_is_read_back(value):
    assert read_text(f"key: {scalar(value)}", "x").data == {"key": value}


@given(st.integers(0, 1 << 50))
def test_sizes(size):
    assert parse_size(format_size(size)) == size == parse_size(size)


@pytest.mark.parametrize(
    ("text", "size"),
    [("4G", 4 << 30), ("512M", 512 << 20), ("1 GiB", 1 << 30), ("2g", 2 << 30), ("100KB", 102400)],
)
def test_ways_to_write_a_size(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "1.5G", "-1", "4 Gigs", "٤G", "0x10", None, True, 1.5])
def test_what_is_not_a_size(text):
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


@given(st.integers(0, 10**9))
def test_durations(seconds):
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.floats(0, 100))
def test_percents(percent):
    assert parse_percent(format_percent(percent)) == pytest.approx(percent, abs=1e-6)


@given(st.integers(0, 500), st.integers(64 << 20, 64 << 30))
def test_the_memory_that_is_said_to_be_needed_is_enough(sessions, limit):
    assert promised_sessions(needed_memory(sessions, limit), limit) >= sessions


@given(st.integers(0, 1 << 42), st.integers(1, 1 << 36))
def test_the_promise_never_exceeds_the_memory(memory, limit):
    promised = promised_sessions(memory, limit)
    assert promised == 0 or SYSTEM_MEMORY + promised * limit <= memory


def test_capacity_of_the_default():
    assert capacity(Config()) == 5


def test_what_is_forked_is_shared_once():
    started = read(assignments=["kernels.forked=false"]).config
    assert system_memory(Config()) - system_memory(started) == sum(NURSERY_MEMORY.values())
    with pytest.raises(InvalidConfigError, match="holds 4 of 5 sessions"):
        read(assignments=["pool.limits.memory=1G", "kernels.forked=true"])


def test_nothing_is_forked_where_the_sessions_need_the_memory():
    tight = read(assignments=["pool.limits.memory=1G"]).config
    assert (forks(Config()), forks(tight)) == (True, False)
    assert capacity(tight) == 5
    assert system_memory(tight) == SYSTEM_MEMORY


def test_a_small_guest_carries_more_sage_when_it_is_forked():
    """2.5 times as many; `notebook/test_load.py` lets them all work at once."""
    asked = ["memory=4G", "kernels.python.packages=[]", "pool.limits.tmp=16M", "pool.count=PLACES"]
    ways = {"true": (15, "176M"), "false": (6, "512M")}
    for forked, (places, least) in ways.items():
        words = [word.replace("PLACES", str(places)) for word in asked]
        words += [f"kernels.forked={forked}", f"pool.limits.memory={least}"]
        assert capacity(read(assignments=words).config) == places
        with pytest.raises(InvalidConfigError, match=f"holds {places} of {places + 1} sessions"):
            read(assignments=[*words, f"pool.count={places + 1}"])
        with pytest.raises(InvalidConfigError, match="too little for a Sage session"):
            read(assignments=[*words, "pool.limits.memory=175M"])


def test_a_profile_that_forks_nothing_needs_memory_to_start_sage():
    words = ["pool.limits.memory=400M", "profiles.s={title: S, forked: false}"]
    with pytest.raises(InvalidConfigError, match=r"400M is too little .* kernel is not forked"):
        read(assignments=words)
    read(assignments=[*words, "profiles.s.limits.memory=512M"])
    read(assignments=[*words, "profiles.s.kernels=[python]"])
