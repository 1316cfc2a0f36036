"""The jail as a site that used python3jail and safeexec sees it, and as an attacker does."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from provision.errors import ApplianceError
from provision.guest.jail import api, rootfs
from tests.integration.jail.conftest import Safeexec

REPORT = (
    r"\A{verdict}\nelapsed time: \d+ seconds\nmemory usage: \d+ kbytes\n"
    r"cpu usage: \d+\.\d{{3}} seconds\n\Z"
)


def verdict(text: str) -> str:
    """The first line of a report that has its form to the byte; what came before is dropped."""
    lines = text.splitlines(keepends=True)
    first = lines[-4].rstrip("\n")
    assert re.match(REPORT.format(verdict=re.escape(first)), "".join(lines[-4:])), text
    return first


def test_the_example_of_python3jail(safeexec: Safeexec) -> None:
    done = safeexec(code="print(1+1)")
    assert done.stdout == "2\n"
    assert re.match(REPORT.format(verdict="OK"), done.stderr), done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        ([], "raise SystemExit(3)", "Command exited with non-zero status (3)"),
        ([], "1/0", "Command exited with non-zero status (1)"),
        (
            [],
            "import os; os.kill(os.getpid(), 11)",
            "Command terminated by signal (11: SIGSEGV)",
        ),
        # The original called this a time limit.
        ([], "import os; os.kill(os.getpid(), 9)", "Command terminated by signal (9: SIGKILL)"),
        (["--clock", "1"], "import time; time.sleep(30)", "Time Limit Exceeded"),
        (["--cpu", "1"], "while True: pass", "Time Limit Exceeded"),
        (
            ["--cpu", "1"],
            "import signal; signal.signal(24, signal.SIG_IGN)\nwhile True: pass",
            "Time Limit Exceeded",
        ),
        # The kernel's word counts, however little it says was used.
        (
            ["--cpu", "10"],
            "import resource; resource.setrlimit(0, (1, 10))\nwhile True: pass",
            "Time Limit Exceeded",
        ),
        ([], "x = b'x' * 10**9", "Memory Limit Exceeded"),
        (["--mem", "100000"], "x = [b'x' * 10**6 for _ in range(10**6)]", "Memory Limit Exceeded"),
        (
            ["--fsize", "100"],
            "import signal; signal.signal(25, 0); open('/tmp/x', 'wb').write(bytes(10**6))",
            "Output Limit Exceeded",
        ),
        (["--fsize", "100"], "open('/tmp/x', 'wb').write(bytes(10**5))", "OK"),
        ([], "import os; os.fork()", "Command exited with non-zero status (1)"),
        (["--nproc", "1"], "import os; os.fork() or os._exit(0); os.wait()", "OK"),
        (
            ["--nfile", "10"],
            "x = [open('/dev/null') for _ in range(20)]",
            "Command exited with non-zero status (1)",
        ),
    ],
)
def test_limits_and_their_words(
    safeexec: Safeexec, words: list[str], code: str, expected: str
) -> None:
    done = safeexec(*words, code=code)
    assert verdict(done.stderr) == expected
    assert (done.returncode == 0) == (expected == "OK")


def test_a_time_limit_shows_the_limit_itself(safeexec: Safeexec) -> None:
    assert safeexec("--cpu", "1", code="while True: pass").stderr.endswith(
        "cpu usage: 1.000 seconds\n"
    )


def test_where_the_report_goes(safeexec: Safeexec) -> None:
    target = Path("/var/tmp") / f"appliance-report-{os.getpid()}"
    done = safeexec("--report_file", str(target), code="print(2)")
    assert (done.stdout, done.stderr) == ("2\n", "")
    assert verdict(target.read_text()) == "OK"
    target.unlink()
    done = safeexec("--report_fd", "1", code="print(3)")
    assert done.stdout.startswith("3\nOK\n")
    done = safeexec("--silent", code="print(4)")
    assert (done.stdout, done.stderr) == ("4\n", "")


def test_environment_directory_and_input(safeexec: Safeexec, jail: Path) -> None:
    show = "import os; print(sorted(os.environ), os.getcwd(), input())"
    done = safeexec(code=show, stdin="typed\n")
    assert "'PWD', 'PYTHONHOME', 'PYTHONIOENCODING', 'PYTHONPATH'" in done.stdout
    assert "OUTER" not in done.stdout
    assert done.stdout.endswith("/ typed\n")
    words = ["--chroot_dir", str(jail), "--exec_dir", "/static"]
    command = ["--exec", "/bin/python3", "-S", "-c", show]
    done = safeexec(*words, "--env_vars", "A=B\nC=D=E", *command, stdin="x\n")
    assert "'A', 'C', " in done.stdout
    assert "'PWD'" in done.stdout  # bubblewrap's own: docs/jail.md
    assert "/static x" in done.stdout
    assert "'OUTER'" in safeexec(*words, *command, stdin="x\n").stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "usage:"),
        (["--cpu"], "usage:"),
        (["--cpu", "x", "--exec", "/bin/true"], "Failed to match the numeric argument for --cpu"),
        (["--nonsense", "--exec", "/bin/true"], "Invalid option: --nonsense"),
        (["--cpu", "0", "--exec", "/bin/true"], "Cpu time must be greater than zero"),
        (["--niceness", "1", "--exec", "/bin/true"], "Niceness must be between 10 and 19"),
    ],
)
def test_wrong_options_are_refused_in_the_originals_words(
    safeexec: Safeexec, words: list[str], says: str
) -> None:
    done = safeexec(*words)
    assert done.returncode == 1
    assert says in done.stderr


@pytest.mark.parametrize(
    "code",
    [
        "open('/etc/shadow')",
        "open('/work')",
        "open('/x', 'w')",
        "open('/proc/1/mem', 'r+b')",
        "open('/static/x', 'w')",
        "import os; os.setuid(0)",
        "import os; os.chroot('/')",
        "import os; os.mknod('/tmp/x', 0o20666, os.makedev(1, 1))",
        "import os; os.kill(1, 0) or os.kill(2**22 - 5, 0)",
        "import _socket; _socket.socket().connect(('127.0.0.1', 22))",
        "import _socket; _socket.socket(_socket.AF_PACKET)",
        "import ctypes; assert ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0",
        "import os; [os.fork() for _ in range(50)]",
    ],
)
def test_what_a_jailed_program_cannot_do(safeexec: Safeexec, code: str) -> None:
    done = safeexec("--fsize", "100", code=code)
    assert verdict(done.stderr) == "Command exited with non-zero status (1)", done
    assert "Error" in done.stderr


def test_nothing_stays_behind(safeexec: Safeexec) -> None:
    mark = f"left by {os.getpid()}"
    done = safeexec(
        *("--nproc", "20", "--clock", "10"),
        code="import os\nfor _ in range(10):\n  if os.fork() == 0:\n"
        f"    os.setsid(); import time; time.sleep(60)\nprint('{mark}')",
    )
    assert done.stdout == f"{mark}\n"
    assert verdict(done.stderr) == "OK"
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert mark not in running.stdout


def test_who_is_nice_already_stays_so(safeexec: Safeexec) -> None:
    done = safeexec("--niceness", "12", code="import os; print(os.nice(0))", nice=15)
    assert (done.stdout, verdict(done.stderr)) == ("15\n", "OK")


def test_the_jail_is_small_precompiled_and_without_privilege(jail: Path) -> None:
    size = sum(p.lstat().st_size for p in jail.rglob("*") if not p.is_symlink())
    assert size < 80_000_000
    assert not [p for p in jail.rglob("*") if not p.is_symlink() and p.stat().st_mode & 0o6000]
    assert list((jail / "usr/lib").glob("python3.*/__pycache__/json*.pyc")) or list(
        (jail / "usr/lib").glob("python3.*/json/__pycache__/*.pyc")
    )
    assert not (jail / "etc/shadow").exists()


def test_the_python_interface(jail: Path) -> None:
    report = api.run_python(
        "import sys; print(sys.argv[1], input())", jail, stdin=b"in\n", arguments=("arg",), cpu=2
    )
    assert (report.ok, report.stdout) == (True, b"arg in\n")
    assert report.memory > 1000
    assert api.run_python("x = b'x' * 10**9", jail).verdict == "Memory Limit Exceeded"
    with pytest.raises(ValueError, match="Niceness"):
        api.run_python("1", jail, niceness=1)
    with pytest.raises(ValueError, match="Invalid option"):
        api.run_python("1", jail, nonsense=1)


def test_maintenance_sets_owners_and_modes(tmp_path: Path) -> None:
    assert os.getuid() == 0, "run as root: the test changes owners"
    place = tmp_path / "jail"
    (place / "scratch").mkdir(parents=True)
    (place / "scratch" / "left").write_text("x")
    (place / "lib").mkdir(mode=0o700)
    program = place / "lib" / "program"
    program.write_text("x")
    program.chmod(0o777)
    with pytest.raises(ApplianceError, match="no jail"):
        rootfs.maintain(place, owner="daemon", web="www-data")
    (place / rootfs.MARK).touch(mode=0o666)
    assert rootfs.maintain(place, owner="daemon", web="www-data")
    assert list((place / "scratch").iterdir()) == []
    assert ((place / "scratch").stat().st_mode & 0o777, (place / "scratch").group()) == (
        0o770,
        "www-data",
    )
    assert (program.stat().st_mode & 0o777, program.owner()) == (0o755, "daemon")
    assert (place / "lib").stat().st_mode & 0o777 == 0o755
    assert rootfs.maintain(place, owner="daemon", web="www-data") == []


@pytest.mark.parametrize("size", [60_000, 61_440, 65_537, 131_071, 131_073, 300_000, 1 << 20])
def test_programs_of_any_size_up_to_the_limit(jail: Path, size: int) -> None:
    end = "\nimport sys, __main__\nclass C: pass\nassert __main__.C is C\nprint(sys.argv, input())"
    code = "# müller\n" + "#" * 20_000
    code += "\n" + "x = 1 #" + "y" * (size - len(code.encode()) - len(end) - 8) + end
    assert len(code.encode()) == size
    report = api.run_python(code, jail, stdin=b"typed\n", arguments=("a", "b"), mem=200_000)
    assert (report.verdict, report.stdout) == ("OK", b"['-c', 'a', 'b'] typed\n"), report
    failed = api.run_python(code + "/0" * (size < 1 << 20), jail, mem=200_000)
    assert (failed.ok, b"EOFError" in failed.stderr) == (False, True)
    assert b"exec(" not in failed.stderr, "the loader's own frames"


def test_a_large_program_with_a_mistake(jail: Path) -> None:
    report = api.run_python("#" * 200_000 + "\n1 +\n", jail)
    assert (report.verdict, report.stdout) == ("Command exited with non-zero status (1)", b"")
    assert report.stderr.endswith(b"SyntaxError: invalid syntax\n")


@pytest.mark.parametrize(
    ("code", "arguments", "says"),
    [
        ("print(1)\0", (), "NUL at 8"),
        ("print('\ud800')", (), "lone surrogate, U[+]D800, at 7"),
        ("print('\udcff')", (), "lone surrogate, U[+]DCFF"),
        ("#" * ((1 << 20) + 1), (), "1048577 bytes, more than 1048576"),
        ("#" * (1 << 20) + "\0", (), "NUL"),
        ("é" * (1 << 19) + "#", (), "1048577 bytes"),
        ("1", ("a\0",), "argument has a NUL at 1"),
        ("1", ("\ud800",), "argument has a lone surrogate"),
        ("1", ("x" * 70_000,), "argument has 70000 bytes"),
        ("1", ("x" * 40_000, "x" * 40_000), "arguments have more than 65536 bytes"),
    ],
)
def test_what_is_no_program_is_one_error_that_no_limit_has(
    jail: Path, code: str, arguments: tuple[str, ...], says: str
) -> None:
    with pytest.raises(api.ProgramError, match=says) as raised:
        api.run_python(code, jail, arguments=arguments)
    assert not isinstance(raised.value, ValueError)


def test_largest_arguments(jail: Path) -> None:
    words = ("x" * 60_000, "y" * 5_536)
    code = "#" * 60_000 + "\nimport sys; print(*map(len, sys.argv[1:]))"
    report = api.run_python(code, jail, arguments=words)
    assert (report.verdict, report.stdout) == ("OK", b"60000 5536\n")


@pytest.mark.parametrize("missing", ["", "/file"])
def test_a_jail_that_is_none_is_reported(safeexec: Safeexec, tmp_path: Path, missing: str) -> None:
    place = tmp_path / "gone"
    if missing:
        place.write_text("no directory")
    done = safeexec("--chroot_dir", str(place), "--exec", "/bin/true")
    assert (done.returncode, verdict(done.stderr)) == (1, "Internal Error")
    assert done.stderr.startswith("error: ") and str(place) in done.stderr
    report = api.run_python("print(1)", place)
    assert (report.ok, report.verdict, report.memory) == (False, "Internal Error", 0)


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["--clock", "3"], "while True: pass", "Time Limit Exceeded"),
        (
            ["--clock", "3", "--nproc", "3"],
            "import os\nos.fork()\nwhile True: pass",
            "Time Limit Exceeded",
        ),
        (
            ["--mem", "100000", "--nproc", "3"],
            "import os, time\nfor _ in range(20_000_000): pass\n"
            "if os.fork(): time.sleep(60)\n"
            "x = bytearray(b'x' * (60 << 20))\nos.fork()\nx[:] = b'y' * len(x)\ntime.sleep(60)",
            "Memory Limit Exceeded",
        ),
    ],
)
def test_processor_time_is_told_at_every_limit(
    safeexec: Safeexec, words: list[str], code: str, expected: str
) -> None:
    done = safeexec(*words, code=code)
    assert verdict(done.stderr) == expected
    used = re.search(r"cpu usage: (\d+\.\d+) seconds", done.stderr)
    assert used and float(used[1]) > 0.05, done.stderr


def test_memory_behind_first_threads_and_in_sockets_is_counted(safeexec: Safeexec) -> None:
    hidden = (
        "import ctypes, threading, time\n"
        "def grow():\n"
        "  held = []\n"
        "  while True: held.append(b'x' * (1 << 20)); time.sleep(0.002)\n"
        "threading.Thread(target=grow).start()\n"
        "ctypes.CDLL(None).syscall(60, 0)"  # exit: of this thread alone
    )
    words = ("--mem", "65536", "--nproc", "4", "--clock", "60")
    assert verdict(safeexec(*words, code=hidden).stderr) == "Memory Limit Exceeded"
    sockets = (
        "import socket, time\nheld = []\n"
        "for _ in range(200):\n"
        "  held += (pair := socket.socketpair())\n"
        "  for one in pair:\n"
        "    one.setblocking(False)\n"
        "    try:\n"
        "      while True: one.send(bytes(65536))\n"
        "    except BlockingIOError: pass\n"
        "time.sleep(60)"
    )
    assert verdict(safeexec(*words, code=sockets).stderr) == "Memory Limit Exceeded"


def test_odd_numbers_among_the_options(safeexec: Safeexec) -> None:
    for value in ("-5", "²", "٣", ""):
        done = safeexec("--cpu", value, "--exec", "/bin/true")
        assert "Failed to match the numeric argument for --cpu" in done.stderr, value
    assert verdict(safeexec("--cpu", "9" * 3000, code="print(1)").stderr) == "OK"
