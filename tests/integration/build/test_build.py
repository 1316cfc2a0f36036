"""What a sysadmin sees of a build that goes well."""

import hashlib
import json
from pathlib import Path

from provision.build.build import Built


def test_the_ova_stands_there_with_its_checksum_and_bill_of_materials(built: Built) -> None:
    digest = hashlib.file_digest(built.ova.open("rb"), "sha256").hexdigest()
    assert digest == built.sha256
    line = Path(f"{built.ova}.sha256").read_text()
    assert line == f"{digest}  {built.ova.name}\n"
    bill = json.loads(built.ova.with_suffix(".cdx.json").read_text())
    names = {part["name"] for part in bill["components"]}
    assert {"openssh-server", "classroom-appliance-guest"} <= names
    assert "provision" not in names, "on PyPI that is somebody else's"


def test_nothing_changed_means_nothing_to_do(shell, built: Built) -> None:
    shell.take(["base", "packages", "configure", "seal", "disks"])
    assert shell.build().code == 0
    again = shell.run("build", "--no-vm")
    assert again.code == 0
    assert " seal" not in again.err
    assert "export" not in again.err
    assert built.sha256 in again.out


def test_a_changed_setting_runs_only_what_it_decides(shell, built: Built) -> None:
    shell.take(["base", "packages", "configure", "seal", "disks"])
    assert shell.build().code == 0
    plan = shell.plan("--set", "timezone=Europe/Vienna")
    assert plan["base"]["cached"]
    assert plan["packages"]["cached"]
    assert plan["configure"]["reason"] == "changed: variables.base_timezone"
    assert plan["seal"]["reason"] == "follows configure"


def test_a_larger_machine_changes_only_the_description(shell, built: Built) -> None:
    shell.take(["base", "packages", "configure", "seal", "disks"])
    assert shell.build().code == 0
    plan = shell.plan("--set", "memory=8G")
    assert [name for name, stage in plan.items() if not stage["cached"]] == ["vm", "export"]


def test_from_runs_a_stage_again_with_the_same_result(shell, built: Built) -> None:
    shell.take(["base", "packages", "configure", "seal", "disks"])
    outcome = shell.build("--from", "seal")
    assert outcome.code == 0, outcome.err
    assert outcome.json["sha256"] == built.sha256


def test_a_removed_ova_is_written_again(shell, built: Built) -> None:
    shell.take(["base", "packages", "configure", "seal", "disks"])
    assert shell.build().code == 0
    shell.output.unlink()
    outcome = shell.build()
    assert outcome.json["sha256"] == built.sha256
    assert shell.output.exists()
