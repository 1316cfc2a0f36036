"""A way back that fails, too."""

from types import SimpleNamespace
from typing import Any

import pytest

from provision.errors import GuestError
from provision.fleet.remote import ApplianceBusyError, StepError
from provision.fleet.upgrade import lead_back


@pytest.mark.parametrize("kind", [StepError, ApplianceBusyError, GuestError])
def test_both_reasons_are_said(kind: type[GuestError]) -> None:
    def program(*_: Any, **__: Any) -> None:
        raise kind("no room", hint="make some")

    remote: Any = SimpleNamespace(program=program)
    with pytest.raises(kind) as caught:
        lead_back(remote, "renew_notebook", StepError("the hub does not start"))
    assert "the hub does not start; the way back" in str(caught.value)
    assert "no room" in str(caught.value)
    assert caught.value.hint == "make some"
