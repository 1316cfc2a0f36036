"""Errors by VirtualBox's own codes; the samples are from VirtualBox 7.2.22."""

import pytest

from vbox import errors
from vbox.errors import VBoxError, from_output

BANNER = (
    "Oracle VirtualBox Command Line Management Interface Version 7.2.22_Debian\n"
    "Copyright (C) 2005-2026 Oracle and/or its affiliates\n\n"
)


def failure(text: str, code: str) -> str:
    return (
        f"0%...VBoxManage: error: {text}\n"
        if not code
        else f"VBoxManage: error: {text}\n"
        f"VBoxManage: error: Details: code {code} (0x80bb0007), component MachineWrap\n"
        'VBoxManage: error: Context: "LockMachine(a->session)" at line 901 of file X.cpp\n'
    )


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("VBOX_E_OBJECT_NOT_FOUND", errors.NotFoundError),
        ("VBOX_E_INVALID_OBJECT_STATE", errors.LockedError),
        ("VBOX_E_INVALID_VM_STATE", errors.WrongStateError),
        ("VBOX_E_OBJECT_IN_USE", errors.InUseError),
        ("VBOX_E_FILE_ERROR", errors.FileFailedError),
        ("NS_ERROR_INVALID_ARG", errors.InvalidValueError),
        ("VBOX_E_IPRT_ERROR", VBoxError),
    ],
)
def test_kinds(code: str, kind: type[VBoxError]) -> None:
    error = from_output(["modifyvm", "x"], 1, failure("It is so", code))
    assert type(error) is kind
    assert (str(error), error.code) == ("VBoxManage modifyvm: It is so", code)


def test_a_code_without_a_text() -> None:
    text = "VBoxManage: error: Code NS_ERROR_INVALID_ARG (0x80070057) - Invalid argument value\n"
    error = from_output(["modifyvm"], 1, text)
    assert isinstance(error, errors.InvalidValueError)
    assert "NS_ERROR_INVALID_ARG" in str(error)


def test_an_unknown_option_is_a_usage_error_without_the_manual() -> None:
    text = (
        BANNER + "VBoxManage: error: Unknown option: --x\nUsage - Change settings:\n" + "m\n" * 99
    )
    error = from_output(["modifyvm", "vm", "--x"], 1, text)
    assert isinstance(error, errors.CommandError)
    assert str(error) == "VBoxManage modifyvm: Unknown option: --x"


def test_an_unknown_command() -> None:
    text = BANNER + "VBoxManage: error: Invalid command 'x'\n\nUsage - ...\n"
    error = from_output(["x"], 2, text)
    assert isinstance(error, errors.CommandError)
    assert str(error) == "VBoxManage x: Invalid command 'x'"


def test_a_bad_number_of_which_it_says_nothing() -> None:
    error = from_output(["modifyvm", "v m", "--memory", "x"], 1, BANNER + "VBoxManage: error: ")
    assert isinstance(error, errors.CommandError)
    assert str(error) == "VBoxManage modifyvm: does not take: 'v m' --memory x"


def test_several_lines_are_one() -> None:
    text = "VBoxManage: error: Failed to create medium\nVBoxManage: error: No room.\n"
    assert str(from_output(["createmedium"], 1, text)).endswith("Failed to create medium No room.")


def test_silence() -> None:
    assert str(from_output(["x"], 1, "")) == "VBoxManage x: ended with status 1"
