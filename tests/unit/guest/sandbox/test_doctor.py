"""What `appliance sandbox doctor` says of User-Mode Linux."""

import pytest

from provision.guest.sandbox.doctor import uml


@pytest.mark.parametrize(
    ("version", "amx", "says"),
    [
        (None, False, "missing: apt-get install user-mode-linux"),
        (None, True, "sid: this processor has AMX"),
        ("6.12.43", True, "would panic"),
        ("6.12.43", False, "ok (6.12.43)"),
        ("7.2.7", True, "ok (7.2.7)"),
        ("unknown", True, "would panic"),
    ],
)
def test_a_kernel_that_would_panic_is_named(version: str | None, amx: bool, says: str) -> None:
    assert says in uml(version, amx=amx)
