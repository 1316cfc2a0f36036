"""The files of named instances, as `grader-instance add` writes them."""

from pathlib import Path
from typing import Any

import pytest

from provision.errors import ConfigError, UsageError
from provision.guest.grader import instances
from provision.guest.grader.settings import load

DEFAULT = """\
host = "127.0.0.1"
port = 8090
instances = 2
network = ["pypi.org"]
proxy = "127.0.0.1:3128"
[limits]
clock = 60.0
memory = 1000
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "default.toml").write_text(DEFAULT)
    return tmp_path


def test_a_new_instance_is_the_default_one_but_for_its_changes(directory: Path) -> None:
    instances.make("java", {"queue": 0, "network": [".debian.org"], "limits": {"clock": 5.0}},
                   directory)  # fmt: skip
    made = load(directory / "java.toml")
    assert (made.instances, made.queue, made.port) == (2, 0, 8091)
    assert (made.limits.clock, made.limits.memory) == (5.0, 1000)
    assert (made.network, made.proxy) == ((".debian.org",), "127.0.0.1:3129")
    assert made.state == Path("/var/lib/grader/java")


def test_an_instance_has_no_network_unless_it_is_given_one(directory: Path) -> None:
    instances.make("exam", {"network": []}, directory)
    made = load(directory / "exam.toml")
    assert (made.network, made.proxy) == ((), None)


def test_an_instance_may_have_the_other_engine(directory: Path) -> None:
    instances.make("original", {"engine": "uml"}, directory)
    made = load(directory / "original.toml")
    assert (made.engine, made.engines) == ("uml", ("bubblewrap", "uml"))


@pytest.mark.parametrize(
    ("name", "changes", "error", "says"),
    [
        ("default", {}, UsageError, "there is an instance default"),
        ("Java", {}, UsageError, "no name"),
        ("../evil", {}, UsageError, "no name"),
        ("x", {"port": 8090}, UsageError, "port 8090 belongs"),
        ("x", {"network": ["http://pypi.org/"]}, ConfigError, "no host to allow"),
        ("x", {"network": ["a.org\nhttp_access allow all"]}, ConfigError, "no host to allow"),
        ("x", {"network": ["a.org:99999"]}, ConfigError, "no host to allow"),
        ("x", {"engine": "docker"}, ConfigError, "unknown engine docker"),
        ("x", {"queue": "many"}, ConfigError, "queue"),
    ],
)
def test_what_is_wrong_leaves_nothing(
    directory: Path, name: str, changes: dict[str, Any], error: type[Exception], says: str
) -> None:
    before = sorted(directory.iterdir())
    with pytest.raises(error, match=says):
        instances.make(name, changes, directory)
    assert sorted(directory.iterdir()) == before


def test_all_that_toml_can_say_is_carried_over(directory: Path) -> None:
    """A table of tokens, text beyond the first plane, quotes, control characters, no limits."""
    original = directory / "default.toml"
    odd = 'a"b\\\\c\\u007f\\n\U0001f40d\u00e9'
    original.write_text(
        f'notify_allow = ["{odd.replace(chr(34), chr(92) + chr(34))}"]\nport = 8090\n'
        '[tokens]\n"t\U0001f511 =]" = "class 7\u00df"\nplain = "second"\n',
        "utf-8",
    )
    original.chmod(0o640)
    instances.make("exam", {"limits": {"clock": 2.5}}, directory)
    before, made = load(original), load(directory / "exam.toml")
    assert made.tokens == before.tokens == {"t\U0001f511 =]": "class 7\u00df", "plain": "second"}
    assert made.notify_allow == before.notify_allow
    assert (made.limits.clock, made.port) == (2.5, 8091)
    assert (directory / "exam.toml").stat().st_mode & 0o777 == 0o640
