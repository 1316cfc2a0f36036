"""``appliance inspect`` as a user calls it."""

import json
from pathlib import Path

import pytest

from provision.cli import main
from provision.cli.inspect import printable
from provision.ova import minisign


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["inspect", *map(str, arguments)])
    return int(ended.value.code or 0)


def test_shows_what_the_ova_holds(ova: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(ova) == 0
    shown = capsys.readouterr().out
    for part in (
        "Sage <appliance> 1.0+trixie.abc Dept. of Mathematics & Co",
        "2 CPUs, 4096 MiB",
        "ssh: 127.0.0.1:2222 to 22",
        "notebook: *:8000 to 8000",
        "sage-root.vmdk: 70 MiB",
        "SHA256 of every member",
        "no host path and no MAC address",
    ):
        assert part in shown


def test_json_is_for_programs(ova: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--json", ova) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["envelope"]["systems"][0]["memory"] == 4 * 2**30
    assert [disk["capacity"] for disk in found["disks"]] == [70 * 2**20, 2**20]
    assert found["manifest"] == "SHA256"
    assert found["leaks"] == []


def test_a_damaged_ova_ends_with_8_and_one_line(
    ova: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(ova.read_bytes())
    data[len(data) // 2] ^= 4
    ova.write_bytes(data)
    assert call(ova) == 8
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "error: sage-root.vmdk is damaged" in shown.err
    assert "Traceback" not in shown.err


def test_signature_is_checked_by_the_given_key(
    ova: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    public = tmp_path / "x.pub"
    public.write_text(minisign.generate(tmp_path / "x.key").text())
    assert call(ova, "--public-key", public) == 8
    assert "sage.ova.minisig" in capsys.readouterr().err
    minisign.sign(ova, tmp_path / "x.key", "sage 1.0")
    assert call(ova, "--public-key", public) == 0
    assert "signature    sage 1.0" in capsys.readouterr().out


def test_what_the_ova_says_does_not_steer_the_terminal() -> None:
    assert (
        printable("a\x9b2Jb\x1b[2J") == "a\N{REPLACEMENT CHARACTER}2Jb\N{REPLACEMENT CHARACTER}[2J"
    )
