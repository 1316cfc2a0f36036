"""A hint that names a verb and an option names what there is."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import provision
from provision.cli import appliance
from provision.distribution import pull
from provision.errors import UsageError

SOURCE = Path(provision.__file__).parent
NAMED = re.compile(
    r"appliance ([a-z]+(?:[ -][a-z]+)*)((?: \.| [A-Z{][\w.{}|]*| \[?--[a-z][a-z-]*\]?)*)"
)


def named() -> Iterator[tuple[str, str, str]]:
    """File, words and options of each command line of ours in a text of ours."""
    for path in sorted(SOURCE.rglob("*.py")):
        text = re.sub(r'"\n\s*f?"', "", path.read_text())
        for words, rest in NAMED.findall(text):
            for option in re.findall(r"--[a-z][a-z-]*", rest):
                yield path.name, words.strip(), option


def options(words: str) -> set[str]:
    """All options of a verb, with those of the group that it is in."""
    context, found = click.Context(appliance), set()
    command: click.Command = appliance
    for word in words.split():
        found |= {
            option for param in command.params for option in param.opts + param.secondary_opts
        }
        inner = command.get_command(context, word) if isinstance(command, click.Group) else None
        if inner is None:
            break
        command = inner
    return found | {
        option for param in command.params for option in param.opts + param.secondary_opts
    }


@pytest.mark.parametrize(("file", "words", "option"), sorted(set(named())))
def test_there_is_such_an_option(file: str, words: str, option: str) -> None:
    assert option in {*options(words), "--help"}


def test_a_verb_that_takes_a_name_says_so_and_no_option_that_it_lacks(tmp_path: Path) -> None:
    for name in ("sage", "maths"):
        (tmp_path / name).mkdir()
        (tmp_path / name / pull.SETTINGS).touch()
    for look, told in (
        (pull.open_installed, "say which: NAME"),  # reset and clone
        (pull.roll_back, "say which: --name NAME"),  # pull --rollback
    ):
        with pytest.raises(UsageError) as raised:
            look(tmp_path, None, "{name}")  # type: ignore[operator]
        assert "maths, sage" in str(raised.value)
        assert raised.value.hint == told
