"""``appliance doctor``: what it prints and how it ends."""

import json

import pytest

from provision import doctor
from provision.doctor import HostFacts
from provision.doctor.tools import TOOLS


@pytest.fixture
def host(monkeypatch):
    """Let the doctor see a host of these facts."""

    def has(**facts):
        monkeypatch.setattr(doctor, "gather", lambda config, output, offline: HostFacts(**facts))

    return has


def test_a_host_that_is_ready(appliance, host):
    host()
    outcome = appliance("doctor")
    assert outcome.code == 0
    assert "all there" in outcome.out


def test_a_host_that_is_not(appliance, host):
    host(missing=TOOLS[:1])
    outcome = appliance("doctor")
    assert outcome.code == 4
    assert "    apt-get install --yes mmdebstrap\n" in outcome.out
    assert outcome.err == "error: this host is not ready for a build: tool mmdebstrap\n"


def test_json(appliance, host):
    host(missing=TOOLS[:1])
    outcome = appliance("doctor", "--json")
    assert outcome.code == 4
    shown = json.loads(outcome.out)
    assert shown["ready"] is False
    assert {
        "name": "tool mmdebstrap",
        "status": "failed",
        "found": "missing: make the base system from packages",
        "mend": "apt-get install --yes mmdebstrap",
    } in shown["checks"]


def test_packages(appliance):
    outcome = appliance("doctor", "--packages")
    assert outcome.code == 0
    assert {"mmdebstrap", "grub-pc-bin", "debian-archive-keyring"} <= set(outcome.out.split())
