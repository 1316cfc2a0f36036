"""What Windows has beside VirtualBox, and its memory; from its registry, so any user may ask."""

import contextlib
import ctypes
import importlib
from typing import Any

# A key of HKEY_LOCAL_MACHINE or HKEY_CURRENT_USER, a value in it (None: that the key is there),
# by what it means. Sources: Microsoft, "Enable memory integrity" and "Enable virtualization-based
# protection of code integrity"; the service of Hyper-V's virtual machines; WSL's own list.
_GUARD = r"SYSTEM\CurrentControlSet\Control\DeviceGuard"
FEATURES = {
    "vbs": ("HKEY_LOCAL_MACHINE", _GUARD, "EnableVirtualizationBasedSecurity"),
    "memory integrity": (
        "HKEY_LOCAL_MACHINE",
        rf"{_GUARD}\Scenarios\HypervisorEnforcedCodeIntegrity",
        "Enabled",
    ),
    "hyper-v": ("HKEY_LOCAL_MACHINE", r"SYSTEM\CurrentControlSet\Services\vmms", None),
    "wsl": (
        "HKEY_CURRENT_USER",
        r"Software\Microsoft\Windows\CurrentVersion\Lxss",
        "DefaultDistribution",
    ),
}


def features() -> frozenset[str]:
    """Which of `FEATURES` are switched on."""
    winreg: Any = importlib.import_module("winreg")
    found = set()
    for name, (hive, path, value) in FEATURES.items():
        with (
            contextlib.suppress(OSError),
            winreg.OpenKey(getattr(winreg, hive), path) as key,
        ):
            if value is None or winreg.QueryValueEx(key, value)[0]:
                found.add(name)
    return frozenset(found)


class _Memory(ctypes.Structure):
    """MEMORYSTATUSEX, as Windows' sysinfoapi.h has it."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total", ctypes.c_uint64),
        ("available", ctypes.c_uint64),
        ("others", ctypes.c_uint64 * 5),
    )


def memory() -> tuple[int, int]:
    """Bytes of memory, and of those that are free."""
    status = _Memory(length=ctypes.sizeof(_Memory))
    kernel: Any = getattr(ctypes, "windll")  # noqa: B009 (only Windows' ctypes has it)
    kernel.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return status.total, status.available
