"""`appliance open`: the right address, in a browser."""

import webbrowser
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from provision.cli import appliance
from provision.config import Config
from provision.errors import HypervisorError


def _vm(config: Config, guest_port: int = 8000) -> SimpleNamespace:
    forward = SimpleNamespace(name="n", host_port=8001, guest_port=guest_port, host_ip="127.0.0.1")
    return SimpleNamespace(config=config, forwards=lambda: [forward])


def test_the_address_is_the_forwards_in_the_notebooks_scheme(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    monkeypatch.setattr("provision.cli._machine.open_machine", lambda *_: _vm(Config()))
    assert CliRunner().invoke(appliance, ["open"]).stdout == "https://localhost:8001/\n"
    assert opened == ["https://localhost:8001/"]
    plain = Config.model_validate({"notebook": {"secure": False}})
    monkeypatch.setattr("provision.cli._machine.open_machine", lambda *_: _vm(plain))
    told = CliRunner().invoke(appliance, ["open", "--print"])
    assert told.stdout == "http://localhost:8001/\n"
    assert len(opened) == 1


def test_a_host_without_a_browser_or_a_port_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    monkeypatch.setattr("provision.cli._machine.open_machine", lambda *_: _vm(Config()))
    assert isinstance(CliRunner().invoke(appliance, ["open"]).exception, HypervisorError)
    monkeypatch.setattr("provision.cli._machine.open_machine", lambda *_: _vm(Config(), 22))
    missing = CliRunner().invoke(appliance, ["open"]).exception
    assert isinstance(missing, HypervisorError)
    assert "network.forwards.notebook" in str(missing.hint)
