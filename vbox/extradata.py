"""Extra data: free keys and values that VirtualBox keeps with a machine."""

from collections.abc import Mapping

from vbox import parse
from vbox.runner import VBoxManage


def read(manage: VBoxManage, machine: str) -> Mapping[str, str]:
    """All extra data of a machine (name or UUID)."""
    return parse.extradata(manage.run("getextradata", machine, "enumerate"))


def write(manage: VBoxManage, machine: str, key: str, value: str | None) -> None:
    """Set a key of a machine's extra data; None removes it."""
    manage.run("setextradata", machine, key, *([] if value is None else [value]))
