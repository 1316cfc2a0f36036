"""safeexec's options and report."""

import pytest

from provision.guest.jail.safeexec import (
    SafeexecOptions,
    UsageMistakeError,
    environment,
    make_box,
    parse,
    report,
    usage,
)
from provision.guest.sandbox.limits import Ended, Verdict


def ended(verdict: Verdict, code: int | None, memory: int = 0) -> Ended:
    return Ended(verdict, code, b"", b"", 1.5, 0.01, 0.0054, memory)


def test_every_option() -> None:
    words = "--cpu 1 --clock 2 --mem 3 --core 4 --stack 5 --fsize 6 --nproc 7 --nfile 8 --gid 9"
    words += " --niceness 12 --uidplus 13 --report_fd 2 --report_file r --chroot_dir /c"
    words += " --exec_dir /e --env_vars PY --share_newnet --silent --exec /bin/x --cpu 99"
    assert parse(words.split()) == SafeexecOptions(
        *(1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 9, 2, "r", "/c", "/e", "PY", True, True),
        command=("/bin/x", "--cpu", "99"),
    )


def test_numbers_are_read_as_scanf_reads_them() -> None:
    assert parse(["--cpu", " 12abc", "--exec", "x"]).cpu == 12


@pytest.mark.parametrize("words", [[], ["--exec"], ["--cpu"], ["x"], ["--cpu", "", "--exec", "x"]])
def test_what_cannot_be_carried_out(words: list[str]) -> None:
    with pytest.raises(UsageMistakeError):
        parse(words)


def test_the_environment() -> None:
    assert environment(SafeexecOptions(env_vars="A=B\nC=D=E\nF=")) == {
        "A": "B",
        "C": "D=E",
        "F": "",
    }
    assert environment(SafeexecOptions(env_vars="PY"))["PYTHONHOME"] == "/"


def test_units_and_the_users_number() -> None:
    box = make_box(SafeexecOptions(mem=1000, fsize=200, nproc=3, command=("x",)), pid=5)
    assert (box.user, box.group) == (10005, 1000)
    assert (box.limits.memory, box.limits.file_size) == (1024000, 204800)
    assert box.limits.tasks == 4


@pytest.mark.parametrize(
    ("run", "first"),
    [
        (ended(Verdict.EXITED, 0), "OK"),
        (ended(Verdict.EXITED, 2), "Command exited with non-zero status (2)"),
        (ended(Verdict.EXITED, 139), "Command terminated by signal (11: SIGSEGV)"),
        (ended(Verdict.EXITED, 137), "Command terminated by signal (9: SIGKILL)"),
        (ended(Verdict.EXITED, 153), "Output Limit Exceeded"),
        (ended(Verdict.CLOCK, 137), "Time Limit Exceeded"),
        (ended(Verdict.MEMORY, 137), "Memory Limit Exceeded"),
        (ended(Verdict.EXITED, 1, memory=1 << 40), "Memory Limit Exceeded"),
        (ended(Verdict.SETUP, None), "Internal Error"),
    ],
)
def test_the_report_to_the_byte(run: Ended, first: str) -> None:
    assert report(SafeexecOptions(), run, 1) == (
        f"{first}\nelapsed time: 1 seconds\nmemory usage: {run.memory // 1024} kbytes\n"
        "cpu usage: 0.005 seconds\n"
    )


def test_a_cpu_limit_is_reported_as_the_limit() -> None:
    assert report(SafeexecOptions(cpu=3), ended(Verdict.CPU, 137), 3).endswith(
        "cpu usage: 3.000 seconds\n"
    )


def test_usage_names_every_option() -> None:
    text = usage("safeexec")
    for name in ("uidplus", "gid", "cpu", "clock", "mem", "core", "nproc", "fsize", "nfile"):
        assert f"--{name} " in text
