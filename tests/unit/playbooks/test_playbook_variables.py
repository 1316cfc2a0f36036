"""The configuration in the terms of our roles."""

import json
import re
from pathlib import Path

import yaml

from provision import resources
from provision.build.variables import playbook_variables
from provision.config import Config
from provision.config.distributions import DISTRIBUTIONS
from provision.jeos.archive import SourceLine

RING = DISTRIBUTIONS["debian"].keyring
SOURCES = (
    SourceLine("http://mirror.test/debian", "trixie", ("main",), RING),
    SourceLine("http://mirror.test/debian", "trixie-updates", ("main",), RING),
    SourceLine("http://mirror.test/security", "trixie-security", ("main",), RING),
)


def variables(sources=SOURCES, *, admin_keys=(), ca_bundle=None, **config):
    config = Config.model_validate(config)
    return playbook_variables(
        config, sources, epoch=1700000000, admin_keys=admin_keys, ca_bundle=ca_bundle
    )


def test_the_default_is_plain_data():
    told = variables()
    assert json.loads(json.dumps(told)) == told
    assert told["pool_accounts"] == ["nb1", "nb2", "nb3", "nb4", "nb5"]
    assert told["base_open_ports"] == [8000, 8443]
    assert told["build_environment"]["SOURCE_DATE_EPOCH"] == "1700000000"


def test_suites_of_one_archive_share_a_record():
    assert variables()["packages_sources"] == [
        {
            "name": "debian",
            "uris": ["http://mirror.test/debian"],
            "suites": ["trixie", "trixie-updates"],
            "components": ["main"],
            "signed_by": str(RING),
        },
        {
            "name": "debian-security",
            "uris": ["http://mirror.test/security"],
            "suites": ["trixie-security"],
            "components": ["main"],
            "signed_by": str(RING),
        },
    ]


def test_a_keyring_of_ones_own_is_brought_into_the_guest():
    source = SourceLine("http://mirror.test/debian", "trixie", ("main",), Path("/keys/own.gpg"))
    (record,) = variables([source])["packages_sources"]
    assert record["key"] == "/keys/own.gpg"
    assert "signed_by" not in record


def test_proxy_and_authorities_of_the_build_are_in_the_environment_only():
    told = variables(proxy="http://proxy.test:3128", ca_bundle="/run/ca.crt")
    environment = told.pop("build_environment")
    assert "https_proxy" not in environment  # it would decide what is built anew
    config = Config(proxy="http://proxy.test:3128")
    in_use = playbook_variables(config, SOURCES, epoch=0, building=False)["build_environment"]
    assert in_use["https_proxy"] == "http://proxy.test:3128"
    assert environment["SSL_CERT_FILE"] == "/run/ca.crt"
    assert "proxy.test" not in json.dumps(told)
    assert "/run/ca.crt" not in json.dumps(told)


def test_an_image_gets_updates_and_a_kernel_that_knows_virtualbox(tmp_path):
    image = tmp_path / "image.qcow2"
    image.touch()
    told = variables(image={"source": str(image)})
    assert told["packages_upgrade"] is True
    assert "linux-image-amd64" in told["packages_extra"]
    told = variables(image={"source": str(image)}, distribution="ubuntu")
    assert "linux-image-generic" in told["packages_extra"]
    assert "linux-image-amd64" not in variables()["packages_extra"]


def test_keys_are_named_once():
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f you"
    told = variables(admin={"keys": (key,)}, admin_keys=[key, "ssh-ed25519 BBBB other"])
    assert told["keys_admin"] == [key, "ssh-ed25519 BBBB other"]


def test_compressed_swap_brings_its_package():
    told = variables(swap="zram", packages=("sl",))
    assert told["base_swap"] == "zram"
    assert told["packages_extra"] == ["sl", "systemd-zram-generator"]


def test_every_variable_is_read_and_has_one_home():
    """By a role; and a role's defaults say nothing that the configuration always says."""
    told = {
        **variables(),
        **variables(grader={"enabled": True}, pool={"count": 3}, jail={"enabled": True}),
    }
    roles, templates = resources.playbooks() / "roles", resources.templates() / "guest"
    read = [path for path in (*roles.rglob("*.yml"), *templates.rglob("*.j2"))]
    read += resources.playbooks().glob("*.yml")
    words = {word for path in read for word in re.findall(r"\w+", path.read_text())}
    assert told.keys() <= words
    always = variables(grader={"enabled": True}).keys() - variables().keys() | variables().keys()
    for role in ("base", "notebook", "grader", "jail"):
        defaults = yaml.safe_load((roles / role / "defaults" / "main.yml").read_text())
        assert not defaults.keys() & always
