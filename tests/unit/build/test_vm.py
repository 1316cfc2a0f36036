"""The stage that defines the VM, where there is no VirtualBox."""

from collections.abc import Sequence

import pytest

from provision.build.stages import vm
from provision.config import Config
from provision.errors import HostNotReadyError
from provision.machine import virtualbox
from provision.progress import Silent, reporting


class Notes(Silent):
    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, message: str) -> None:
        self.told.append(message)


@pytest.mark.parametrize(("fetch", "asked"), [(False, ["found"]), (True, ["manage"])])
def test_a_virtualbox_that_starts_no_vm_is_fetched_only_when_asked(
    monkeypatch: pytest.MonkeyPatch, fetch: bool, asked: Sequence[str]
) -> None:
    called: list[str] = []

    def missing(name: str) -> object:
        called.append(name)
        raise HostNotReadyError("VirtualBox is not installed")

    monkeypatch.setattr(virtualbox, "find_virtualbox", lambda: missing("found"))
    monkeypatch.setattr(virtualbox, "manage", lambda: missing("manage"))
    notes = Notes()
    with reporting(notes):
        assert vm.define_vm(Config(), (), fetch=fetch) is None
    assert called == asked
    assert notes.told == ["no VM is defined: VirtualBox is not installed"]
