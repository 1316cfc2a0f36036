"""`appliance upgrade sage`: which Sage, said before anything is built."""

import json
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from provision.cli import appliance
from provision.errors import UsageError
from provision.ova import minisign


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


def test_so_many_failures_end_a_run_that_can_be_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No host key is pinned, so each host fails before anything is asked of it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    inventory, packed = tmp_path / "fleet.yml", tmp_path / "sage.tar"
    inventory.write_text("all: {hosts: {a: , b: , c: , d: }}\n")
    with tarfile.open(packed, "w") as tar:
        tar.addfile(tarfile.TarInfo("bin/sage"))
    call = ["upgrade", "sage", "--inventory", str(inventory), "--to", "1", "--package", str(packed)]
    call += ["--max-failures", "2", "--parallel", "1", "--json"]
    done = CliRunner().invoke(appliance, call)
    told = json.loads(done.stdout)
    assert (done.exit_code, [row["result"] for row in told["hosts"]]) == (
        *(1, ["failed", "failed", "skipped", "skipped"]),
    )
    assert "no host key is pinned" in told["hosts"][0]["detail"]
    again = json.loads(CliRunner().invoke(appliance, [*call, "--resume"]).stdout)
    assert again["record"] == told["record"]
    kept = json.loads(Path(told["record"]).read_text())
    assert [row["result"] for row in kept["hosts"]] == ["failed", "failed", "skipped", "skipped"]
    live = CliRunner().invoke(appliance, call, env={"FORCE_COLOR": "1", "COLUMNS": "120"}).stderr
    assert all(word in live for word in ("host", "version", "step", "result", "failed", "skipped"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--follow", "http://school.example/"], "--public-key"),
        (["--follow", "http://a:b@school.example/", "--public-key", "KEY"], "no password"),
        (["--follow", "smb://school.example/", "--public-key", "KEY"], "no http or https URL"),
        (["--follow", "http://school.example/", "--undo"], "--follow goes without"),
        (["--channel", "next"], "go with --follow"),
    ],
)
def test_what_cannot_be_followed_asks_no_host(
    inventory: str, tmp_path: Path, words: list[str], told: str
) -> None:
    (public := tmp_path / "minisign.pub").write_text(minisign.generate(tmp_path / "key").text())
    given = [str(public) if word == "KEY" else word for word in words]
    done = CliRunner().invoke(appliance, ["upgrade", "notebook", "--inventory", inventory, *given])
    assert told in (done.output + str(done.exception)), done
    assert done.exit_code in (1, 2) and "192.0.2.1" not in done.output


@pytest.mark.parametrize(
    "words", [["--lock", __file__], ["--notebook", "--ova"], ["--notebook", "--renew"]]
)
def test_what_publishes_no_notebook(tmp_path: Path, words: list[str]) -> None:
    done = CliRunner().invoke(appliance, ["publish", str(tmp_path / "folder"), *words])
    assert (done.exit_code, "--notebook" in done.output) == (2, True), done.output
    assert not (tmp_path / "folder").exists()
