"""Options that had another name in the release before."""

import click
import pytest
from click.testing import CliRunner

from provision.cli._renamed import renamed_option


@click.command()
@renamed_option(
    "--timeout", "--wait", "seconds", type=click.IntRange(min=0), default=7, help="How long."
)
def verb(seconds: int) -> None:
    """Wait."""
    click.echo(seconds)


@pytest.mark.parametrize(
    ("words", "out", "warned"),
    [((), "7\n", False), (("--timeout", "3"), "3\n", False), (("--wait", "3"), "3\n", True)],
)
def test_the_old_spelling_works_with_a_warning(words, out, warned):
    done = CliRunner().invoke(verb, words)
    assert done.stdout == out
    assert ("--wait is called --timeout now" in done.stderr) == warned


def test_the_help_has_the_new_one_alone():
    assert "--wait" not in CliRunner().invoke(verb, ["--help"]).stdout


@pytest.mark.parametrize(
    ("verb", "spellings"),
    [
        (("pull",), {"--public-key": "--key", "--timeout": "--wait"}),
        (("publish",), {"--secret-key": "--key"}),
        (("reset",), {"--timeout": "--wait"}),
        (("upgrade", "sage"), {"--public-key": "--key", "--timeout": "--patience"}),
        (("upgrade", "system"), {"--timeout": "--patience"}),
    ],
)
def test_which(appliance, verb, spellings):
    shown = appliance(*verb, "--help").out
    for new, old in spellings.items():
        assert f"  {new} " in shown
        assert f"  {old} " not in shown
        assert "No such option" not in appliance(*verb, old, "none").err
