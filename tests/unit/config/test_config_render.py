"""The written file, the schema and the reference all say what the model says."""

import json
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from provision.config import Config, read
from provision.config.keys import entries, sections
from provision.config.render import commented_file, effective, leaves, reference, schema

ROOT = Path(__file__).parents[3]


def written(tmp_path: Path, **options: bool) -> Path:
    path = tmp_path / "appliance.yml"
    path.write_text(commented_file(**options))
    return path


def test_the_commented_file_is_the_default(tmp_path):
    assert read(written(tmp_path), environ={}).config == Config()


def test_the_commented_file_names_every_key_with_its_explanation(tmp_path):
    text = commented_file()
    for place, section in sections().items():
        for entry in entries(section):
            assert entry.explanation, f"{place}.{entry.name} has no explanation"
            if "NAME" not in place:
                assert f"{entry.name}:" in text
                assert entry.explanation in text
    assert set(leaves(read(written(tmp_path), environ={}).config)) == set(leaves(Config()))


def test_the_commented_file_fits_a_terminal():
    assert max(map(len, commented_file().splitlines())) <= 100


def test_public_opens_the_notebook_and_nothing_else(tmp_path):
    config = read(written(tmp_path, public=True), environ={}).config
    assert {name: f.public for name, f in config.network.forwards.items()} == {
        "ssh": False,
        "notebook": True,
        "sessions": True,
    }


def test_the_notebook_is_encrypted_unless_only_the_guest_reaches_it():
    assert Config().https
    assert not Config.model_validate({"notebook": {"interface": "127.0.0.1"}}).https
    assert not Config.model_validate({"notebook": {"secure": False}}).https


def test_the_effective_configuration_is_read_back(tmp_path):
    path = tmp_path / "appliance.yml"
    path.write_text("disks: {data: {size: 1G, mount: /srv, reserve: 0.5%}}\npackages: [git, g++]\n")
    config = read(path, environ={}).config
    path.write_text(effective(config, lambda key: f"from {key}"))
    assert read(path, environ={}).config == config


@pytest.mark.parametrize(
    "text",
    [
        commented_file(),
        "disks: {root: {size: 20G}}",
        "disks: {data: {size: 1G, mount: /srv}}",
        "network: {forwards: {notebook: null, ssh: {host: 2200}}}",
        "memory: 8589934592",
    ],
)
def test_the_schema_accepts_what_we_accept(text):
    jsonschema.validate(YAML(typ="safe", pure=True).load(text), schema())


@pytest.mark.parametrize(
    "text",
    ["nmae: a", "cpus: 0", "disks: {data: {size: 1G}}", "pool: {limits: {memory: []}}"],
)
def test_the_schema_refuses_what_we_refuse(text):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(YAML(typ="safe", pure=True).load(text), schema())


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(json.loads(json.dumps(schema())))


def test_the_committed_reference_is_current():
    committed = (ROOT / "docs/configuration.md").read_text()
    assert committed == reference(), "renew it: appliance config reference > docs/configuration.md"


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Config().pool.limits.memory = 1


def test_ubuntu_brings_its_own_suite():
    assert Config(distribution="ubuntu").suite == "resolute"
