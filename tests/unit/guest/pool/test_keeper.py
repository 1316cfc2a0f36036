"""What root refuses, whatever the hub asks."""

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from provision.guest.pool import keeper
from provision.guest.pool.account import PoolSettings


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Put a request to the service as its socket does."""
    (tmp_path / "machines").mkdir()
    (tmp_path / "secret").write_text("secret")
    limits = '{"memory": 1, "cpu": 1, "disk": 0}'
    (tmp_path / "guest.json").write_text(f'{{"admin": "a", "accounts": [], "limits": {limits}}}')
    monkeypatch.setattr(keeper, "STATE", tmp_path)
    monkeypatch.setattr(keeper, "RECORD", tmp_path / "guest.json")
    monkeypatch.setattr(keeper, "BACKUP", tmp_path / "none")
    monkeypatch.setattr(keeper, "read_settings", lambda: PoolSettings(tmp_path, 0))

    def ask(request: object) -> str:
        stdin = SimpleNamespace(buffer=io.BytesIO(json.dumps(request).encode()))
        monkeypatch.setattr(keeper.sys, "stdin", stdin)
        keeper.main()
        return str(json.loads(capsys.readouterr().out)["error"])

    return ask


@pytest.mark.parametrize("verb", ["archive", "back"])
@pytest.mark.parametrize("name", ["../secret", ".archive", "", "a/b", "A", "x\n"])
def test_what_is_no_students_name_is_refused_unread(ask: Any, verb: str, name: str) -> None:
    assert ask([verb, name]).startswith("not a student's name")


@pytest.mark.parametrize(
    "request_", [[], ["rm"], ["archive"], ["archive", "a", "b"], {}, "x", None]
)
def test_what_is_no_request_is_refused(ask: Any, request_: object) -> None:
    assert ask(request_)


def test_without_a_backup_there_is_none_to_restore(ask: Any) -> None:
    assert "no backup is set up" in ask(["restore", "latest", "emmy", "."])


def test_files_on_another_machine_stay_there(ask: Any, tmp_path: Path) -> None:
    (tmp_path / "machines" / "emmy").write_text("room2.example.org")
    assert "on room2.example.org" in ask(["archive", "emmy"])
    assert "no archive of emmy" in ask(["back", "emmy"])
