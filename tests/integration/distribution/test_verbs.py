"""The verbs as a teacher types them, one after the other, with the real VirtualBox."""

import json
from pathlib import Path

import pytest
from publishing import Publisher

from provision.cli import main
from vbox import VBoxManage


def test_a_term_at_one_seat(
    publisher: Publisher,
    manage: VBoxManage,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    for name in ("VBOX_USER_HOME", "VBOX_IPC_SOCKETID"):
        monkeypatch.setenv(name, manage.env[name])
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def appliance(*arguments: str) -> dict[str, object]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--json"])
        shown = capsys.readouterr()
        assert ended.value.code == 0, shown.err
        found: dict[str, object] = json.loads(shown.out)
        return found

    folder, key = str(publisher.root), str(publisher.public)
    first = publisher.publish(1).version
    installed = appliance("pull", folder, "--public-key", key, "--cache", folder)
    assert (installed["version"], installed["fetched"]) == (first, 0)
    second = publisher.publish(2).version
    pulled = appliance("pull", folder)
    assert (pulled["version"], pulled["previous"]) == (second, first)
    assert appliance("pull", folder)["changed"] is False
    assert appliance("reset")["version"] == second
    assert appliance("pull", "--rollback")["version"] == first
    assert appliance("reset", "--at-each-start", "on")["version"] == first
    clones = appliance("clone", "--count", "2")
    assert [each["name"] for each in clones] == ["sage-01", "sage-02"]  # type: ignore[index]
    reports = appliance("classroom", "status", folder)
    assert [each["state"] for each in reports] == ["ready"]  # type: ignore[index]
    seats = tmp_path / "seats.csv"
    seats.write_text("seat,name,address\n1,left,10.0.0.1\n")
    rows = appliance("classroom", "status", folder, "--seats", str(seats))
    assert {each["name"]: each["state"] for each in rows}["left"] == "silent"  # type: ignore[index]
    stick = tmp_path / "stick"
    assert int(str(appliance("bundle", folder, str(stick))["size"])) > 0
