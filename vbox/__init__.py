"""Drive VirtualBox through VBoxManage. Knows nothing of classrooms; needs only Python.

Start with `find`, which gives a `VBoxManage`; the modules `machine`, `medium`, `nat`, `snapshot`,
`extradata` and `appliance` take it as their first argument.
"""

import os
import platform
import shutil
from pathlib import Path

from vbox import portable
from vbox.errors import NotInstalledError, VBoxError
from vbox.runner import VBoxManage

__all__ = ["NotInstalledError", "VBoxError", "VBoxManage", "find", "portable"]

_DEBIAN = Path("/usr/lib/virtualbox/VBoxManage")


def _on_windows() -> str | None:
    """Where VirtualBox's installer says that it is: there it puts nothing on the PATH."""
    place = os.environ.get("VBOX_MSI_INSTALL_PATH")
    return shutil.which("VBoxManage", path=place) if place else None


def find() -> VBoxManage:
    """Find the installed VirtualBox, else the one that `portable.fetch` left.

    Raises:
        NotInstalledError: there is neither.
    """
    if path := shutil.which("VBoxManage") or _on_windows():
        # Distributions put a shell script on the PATH that may warn on stdout about the driver.
        script = Path(path).resolve().name != "VBoxManage" and _DEBIAN.exists()
        return VBoxManage(_DEBIAN if script else Path(path))
    if found := portable.find_fetched():
        return found
    raise NotInstalledError(
        "VirtualBox is not installed: no VBoxManage on PATH",
        hint="install VirtualBox; `appliance build` fetches one from Debian by itself"
        if platform.system() == "Linux"
        else "install it from https://www.virtualbox.org/wiki/Downloads, and open a new terminal",
    )
