"""Failures that a user can act on: one line, a hint, and an exit code of their own."""


class ApplianceError(Exception):
    """A failure that is reported without a traceback.

    Args:
        message: what failed, naming the file, machine or value concerned.
        hint: what mends it, as a sentence or a command ready to paste.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(ApplianceError):
    """The command line cannot be carried out as written."""

    exit_code = 2


class ConfigError(ApplianceError):
    """The configuration file is not valid."""

    exit_code = 3


class HostNotReadyError(ApplianceError):
    """This host lacks a tool, a right, room or a network."""

    exit_code = 4


class HypervisorError(ApplianceError):
    """VirtualBox, QEMU or nspawn refused or failed."""

    exit_code = 5


class GuestError(ApplianceError):
    """The guest did not answer, or refused us."""

    exit_code = 6


class ProvisioningError(ApplianceError):
    """A playbook failed in the guest."""

    exit_code = 7


class VerificationError(ApplianceError):
    """A promise of the appliance does not hold."""

    exit_code = 8
