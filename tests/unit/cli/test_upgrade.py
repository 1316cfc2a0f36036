"""`appliance upgrade sage`: which Sage, said before anything is built."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from provision.cli import appliance
from provision.errors import UsageError


@pytest.fixture
def inventory(tmp_path: Path) -> str:
    path = tmp_path / "fleet.yml"
    path.write_text("all: {hosts: {a: {ansible_host: 192.0.2.1}}}\n")
    return str(path)


def test_a_version_that_the_configuration_does_not_name_is_refused(inventory: str) -> None:
    call = ["upgrade", "sage", "--inventory", inventory, "--to", "99.1"]
    refused = CliRunner().invoke(appliance, call).exception
    assert isinstance(refused, UsageError)
    assert str(refused) == "the configuration's Sage is 10.8, not 99.1"
    assert "sage.lock=FILE" in (refused.hint or "")


def test_a_package_wants_its_version(inventory: str) -> None:
    call = ["upgrade", "sage", "--inventory", inventory, "--package", __file__]
    done = CliRunner().invoke(appliance, call)
    assert (done.exit_code, "--to" in done.output) == (2, True), done.output


def test_what_brings_no_sage_cannot_be_packed() -> None:
    call = ["upgrade", "pack", "--set", "sage.source=none"]
    refused = CliRunner().invoke(appliance, call).exception
    assert isinstance(refused, UsageError)
    assert "leaves nothing in /opt" in str(refused)
