"""What runs in a guest, run here."""

import importlib.util
import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils import basic

from provision import resources

Call = Callable[..., dict[str, Any]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a module of ours, by its name and arguments, as Ansible does in the guest; its result."""

    def run(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        source = resources.playbooks() / "library" / f"{name}.py"
        specification = importlib.util.spec_from_file_location(name, source)
        assert specification and specification.loader
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        told = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", told)
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy")
        with pytest.raises(SystemExit):
            module.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run
