"""What a sysadmin sees of a build that goes well."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.build.build import Built, request
from tests.integration.build.conftest import Shell, empty_shell
from tests.integration.conftest import CONFIG, build_shared


def test_the_ova_stands_there_with_its_checksum_and_bill_of_materials(built: Built) -> None:
    digest = hashlib.file_digest(built.ova.open("rb"), "sha256").hexdigest()
    assert digest == built.sha256
    line = Path(f"{built.ova}.sha256").read_text()
    assert line == f"{digest}  {built.ova.name}\n"
    bill = json.loads(built.ova.with_suffix(".cdx.json").read_text())
    names = {part["name"] for part in bill["components"]}
    assert {"openssh-server", "classroom-appliance-guest"} <= names
    assert "provision" not in names, "on PyPI that is somebody else's"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A command line with each stage of the appliance, and with its OVA."""
    with empty_shell(tmp_path_factory.mktemp("finished")) as shell:
        built = build_shared(request(CONFIG))  # first: it makes the stages
        shell.take(["base", "packages", "configure", "seal", "disks"])
        shell.take_ova(built)
        first = shell.build()
        assert first.code == 0, first.err
        yield shell


def test_nothing_changed_means_nothing_to_do(finished: Shell, built: Built) -> None:
    again = finished.run("build", "--no-vm")
    assert again.code == 0
    assert " seal" not in again.err
    assert "export" not in again.err
    assert built.sha256 in again.out


def test_a_changed_setting_runs_only_what_it_decides(finished: Shell) -> None:
    plan = finished.plan("--set", "timezone=Europe/Vienna")
    assert plan["base"]["cached"]
    assert plan["packages"]["cached"]
    assert plan["configure"]["reason"] == "changed: variables.base_timezone"
    assert plan["seal"]["reason"] == "follows configure"


def test_a_larger_machine_changes_only_the_description(finished: Shell) -> None:
    plan = finished.plan("--set", "memory=8G")
    assert [name for name, stage in plan.items() if not stage["cached"]] == ["vm", "export"]


def test_from_runs_a_stage_again_with_the_same_result(finished: Shell, built: Built) -> None:
    outcome = finished.build("--from", "seal")
    assert outcome.code == 0, outcome.err
    assert "ok seal" in outcome.err
    assert outcome.json["sha256"] == built.sha256


def test_a_removed_ova_is_written_again(finished: Shell, built: Built) -> None:
    finished.output.unlink()
    outcome = finished.build()
    assert outcome.json["sha256"] == built.sha256
    assert finished.output.exists()
