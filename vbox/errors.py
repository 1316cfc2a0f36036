"""What can go wrong with VBoxManage, told apart by its own codes, never by localised text."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path


class VBoxError(Exception):
    """VirtualBox refused, failed or was not found.

    Args:
        message: what failed, in VirtualBox's words where it gave any.
        code: its symbolic result, such as ``VBOX_E_FILE_ERROR``; empty when it gave none.
        hint: what mends it; empty when we do not know.
    """

    def __init__(self, message: str, *, code: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


class NotInstalledError(VBoxError):
    """There is no VBoxManage."""


class CommandError(VBoxError):
    """VBoxManage was given a command or an option that it does not know: our mistake."""


class NotFoundError(VBoxError):
    """No such machine, medium, snapshot or controller."""


class LockedError(VBoxError):
    """Another session, perhaps a running VM, holds the machine or the medium."""


class PassingError(VBoxError):
    """The machine or its session ended just while VirtualBox looked at it."""


class WrongStateError(VBoxError):
    """The machine's state does not allow this: running, saved, powered off."""


class InUseError(VBoxError):
    """A medium is attached, or a machine still has what would be deleted."""


class FileFailedError(VBoxError):
    """A file of VirtualBox's is missing, in the way, unreadable, or the disk is full."""


class NoRoomError(FileFailedError):
    """The disk is full."""


class AwayError(FileFailedError):
    """A machine is registered, but its settings file is not there: a disk or share is away.

    Args:
        settings: the settings file.
        uuid: the machine's identity.
    """

    def __init__(self, message: str, *, settings: Path, uuid: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.settings = settings
        self.uuid = uuid


class LicenceError(VBoxError):
    """An OVA has a licence that somebody must accept first."""


class InvalidValueError(VBoxError):
    """VirtualBox understood the option but not its value."""


class InterruptedError(VBoxError):
    """VBoxManage was stopped, or took longer than it was given."""


class NotOursError(VBoxError):
    """A machine of that name exists and was made by somebody else; it is never touched."""


class PortTakenError(VBoxError):
    """A host port is held by something else.

    Args:
        port: the port.
        holder: the process that listens on it, as far as we may see.
    """

    def __init__(self, message: str, *, port: int, holder: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.port = port
        self.holder = holder


_KINDS: dict[str, type[VBoxError]] = {
    "VBOX_E_OBJECT_NOT_FOUND": NotFoundError,
    "VBOX_E_INVALID_OBJECT_STATE": LockedError,
    "VBOX_E_INVALID_SESSION_STATE": LockedError,
    "E_ACCESSDENIED": PassingError,  # of an object that is going: it is none of rights
    "E_UNEXPECTED": PassingError,
    "VBOX_E_INVALID_VM_STATE": WrongStateError,
    "VBOX_E_OBJECT_IN_USE": InUseError,
    "VBOX_E_FILE_ERROR": FileFailedError,
    "VBOX_E_XML_ERROR": FileFailedError,
    "NS_ERROR_INVALID_ARG": InvalidValueError,
    "E_INVALIDARG": InvalidValueError,
}

_CODE = re.compile(r"\b(?:Details: code|Code) ([A-Z][A-Z0-9_]+) \(0x[0-9a-f]+\)")
# Of a machine that is going; the code beside it is now one and now another.
_GOING = re.compile(r"The object is not ready|The session is not locked")
_PREFIX = re.compile(r"^VBoxManage(?:\.exe)?: (?:fatal )?error: ", re.MULTILINE)
_BANNER = re.compile(r"Oracle .*Command Line Management Interface Version")  # precedes its usage
_USAGE_STATUS = 2


def from_output(argv: Sequence[str], status: int, stderr: str) -> VBoxError:
    """Make the error for a VBoxManage that ended with a status other than 0.

    Args:
        argv: the arguments after the program's name.
        status: the exit status: 2 for an unknown command, else 1, also for an unknown option.
        stderr: what it printed there: progress, messages, or its usage (7 KB of it).
    """
    found = _CODE.search(stderr)
    code = found[1] if found else ""
    usage = status == _USAGE_STATUS or (not code and _BANNER.match(stderr))
    lines = [
        line
        for line in _PREFIX.split(stderr)[1:]
        if not line.startswith(("Details:", "Context:", "Code "))
    ]
    if usage:
        lines = lines[:1]  # the rest is the manual
        lines = [text.partition("\nUsage")[0] for text in lines]
    message = " ".join(" ".join(lines).split()) or code
    if not message:  # of some bad values it says nothing at all
        message = f"does not take: {shlex.join(argv[1:])}" if usage else stderr.strip()[-300:]
    kind = CommandError if usage else _KINDS.get(code, VBoxError)
    if kind is VBoxError and _GOING.search(stderr):
        kind = PassingError
    if "VERR_DISK_FULL" in stderr:
        kind = NoRoomError
    verb = argv[0] if argv else ""
    return kind(f"VBoxManage {verb}: {message or f'ended with status {status}'}", code=code)
