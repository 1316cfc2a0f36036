"""Verbs about students, where no fleet is kept: they mean this host's VM."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from provision.cli import _fleet, _machine
from provision.config import Config
from provision.errors import HostNotReadyError
from provision.machine import SshEndpoint


@dataclass
class Vm:
    """A VM of VirtualBox, defined or not."""

    config: Config
    defined: bool
    known_hosts: Path = Path("/data/known_hosts")

    def find(self):
        return self if self.defined else None

    def endpoint(self):
        return SshEndpoint("127.0.0.1", 2222, "sageadm", Path("/data/key"), self.known_hosts)

    def host_port(self, port):
        return port + 10000


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Whom `appliance sessions list` asks."""
    monkeypatch.setenv("APPLIANCE_FLEET", str(tmp_path / "fleet.yml"))
    seen = []

    def carry_out(hosts, *_, **__):
        seen.extend(hosts)

    monkeypatch.setattr(_fleet, "carry_out", carry_out)
    return seen


def test_the_vm_of_the_configuration_is_asked(appliance, asked, monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr(
        _machine, "open_machine", lambda config, **how: opened.append(how) or Vm(config, True)
    )
    (tmp_path / "appliance.yml").write_text("name: lab\n")
    assert appliance("sessions", "list").code == 0
    (host,) = asked
    assert (host.name, host.port, host.url) == ("lab", 2222, "https://127.0.0.1:18000")
    assert opened == [{"fetch": False}]


def test_without_one_the_way_to_add_it_is_told(appliance, asked, monkeypatch):
    monkeypatch.setattr(_machine, "open_machine", lambda config, **_: Vm(config, False))
    shown = appliance("sessions", "list")
    assert shown.code == 2
    assert "--local" in shown.err


def test_without_virtualbox_the_same(appliance, asked, monkeypatch):
    def no_virtualbox(*_, **__):
        raise HostNotReadyError("VirtualBox is not installed")

    monkeypatch.setattr(_machine, "open_machine", no_virtualbox)
    assert "--local" in appliance("users", "list").err


def test_an_inventory_that_is_named_is_the_one_that_is_meant(appliance, asked, monkeypatch):
    monkeypatch.setattr(_machine, "open_machine", lambda config, **_: Vm(config, True))
    assert appliance("sessions", "list", "--inventory", "other.yml").code == 2
    assert not asked
