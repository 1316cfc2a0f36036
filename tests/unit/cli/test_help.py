"""What the command says of itself."""

import pytest

import provision.cli
from provision.cli._group import VerbGroup


def test_each_verb_stands_below_one_heading():
    listed = [name for words in provision.cli._HEADINGS.values() for name in words.split()]
    assert sorted(listed) == provision.cli.appliance.list_commands(None)


def test_a_verb_without_a_heading_is_listed_all_the_same(appliance, monkeypatch):
    headings = {**provision.cli._HEADINGS, "Untrusted code": "jail sandbox"}
    monkeypatch.setattr(provision.cli, "_HEADINGS", headings)
    assert "\nOther commands:\n  grade  Run EXERCISE" in appliance("--help").out


def test_the_list_has_whole_sentences(appliance):
    groups = [
        name
        for name in provision.cli.appliance.list_commands(None)
        if isinstance(provision.cli.appliance.get_command(None, name), VerbGroup)
    ]
    assert len(groups) > 10
    for words in ((), *((name,) for name in groups)):
        shown = appliance(*words, "--help").out
        assert "...\n" not in shown.partition("Options:")[2]


@pytest.mark.parametrize("words", [("bild",), ("users", "approv")])
def test_a_verb_that_is_nearly_right_is_named(appliance, words):
    shown = appliance(*words)
    assert shown.code == 2
    assert "Did you mean '" in shown.err


def test_the_shell_completes_verbs(capsys, monkeypatch):
    for name, value in {
        "_APPLIANCE_COMPLETE": "bash_complete",
        "COMP_WORDS": "appliance users un",
        "COMP_CWORD": "2",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        provision.cli.appliance.main([], "appliance")
    assert capsys.readouterr().out == "plain,unlock\n"
