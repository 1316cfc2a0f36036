"""``appliance config``."""

import json

import pytest

from provision.config import Config, read
from provision.config.render import reference, schema


def test_show_without_a_file_gives_the_defaults(appliance, tmp_path):
    outcome = appliance("config", "show")
    assert (outcome.code, outcome.err) == (0, "")
    (tmp_path / "shown.yml").write_text(outcome.out)
    assert read(tmp_path / "shown.yml", environ={}).config == Config()


def test_show_says_where_each_value_comes_from(appliance, tmp_path, monkeypatch):
    (tmp_path / "appliance.yml").write_text("cpus: 1\npool: {count: 2}\n")
    monkeypatch.setenv("APPLIANCE_NAME", "class")
    shown = json.loads(appliance("config", "show", "--json", "--set", "cpus=4").out)
    assert shown["config"]["cpus"] == 4
    assert shown["config"]["memory"] == "6G"
    origins = shown["origins"]
    assert origins["cpus"] == "--set cpus"
    assert origins["name"] == "APPLIANCE_NAME"
    assert origins["pool.count"] == "appliance.yml:2:15"
    assert origins["memory"] == "default"


def test_a_bad_file_ends_in_its_own_exit_code_without_a_traceback(appliance, tmp_path):
    (tmp_path / "appliance.yml").write_text("nmae: x\nmemory: 4Q\n")
    outcome = appliance("config", "show")
    assert outcome.code == 3
    assert outcome.out == ""
    assert outcome.err == (
        "error: 2 problems in the configuration\n\n"
        "appliance.yml:1:1: nmae: no such key\n  1 | nmae: x\n    | ^^^^ did you mean name?\n\n"
        "appliance.yml:2:9: memory: not a size\n  2 | memory: 4Q\n"
        "    |         ^^ write a whole number and K, M, G or T, as in 512M or 4G\n\n"
    )


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_named_file_that_is_not_there(appliance, monkeypatch, how):
    if how == "variable":
        monkeypatch.setenv("APPLIANCE_CONFIG", "no.yml")
    outcome = appliance("config", "show", *(("-c", "no.yml") if how == "option" else ()))
    assert outcome.code == 3
    assert outcome.err == (
        "error: there is no file no.yml\nhint: make one with: appliance init no.yml\n"
    )


def test_schema_and_reference_are_printed(appliance):
    assert json.loads(appliance("config", "schema").out) == schema()
    assert appliance("config", "reference").out == reference()
