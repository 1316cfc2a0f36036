"""Programs that want out of the jail: what is reported, and that nobody else notices."""

import contextlib
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provision.guest.jail import api
from tests.integration.jail.conftest import USER, Safeexec
from tests.integration.jail.test_jail import verdict

Done = subprocess.CompletedProcess[str]
Attack = Callable[..., Done]
FAILED = "Command exited with non-zero status (1)"
TIME, MEMORY, OUTPUT = (f"{what} Limit Exceeded" for what in ("Time", "Memory", "Output"))
MIB = 1 << 20


@pytest.fixture
def attack(safeexec: Safeexec, jail: Path) -> Iterator[Attack]:
    """Run one program as an ordinary user; afterwards the host is as before and the next runs."""
    before = fingerprint(jail)
    yield lambda code, *words: safeexec(*words, code=code)
    deadline = time.monotonic() + 60
    while processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes() == []
    assert fingerprint(jail) == before
    for place in ("/tmp", "/var/tmp", "/dev/shm"):
        assert [path for path in Path(place).iterdir() if owner(path) == user()] == []
    following = safeexec(code="print(1+1)")
    assert (following.stdout, verdict(following.stderr)) == ("2\n", "OK")


def user() -> int:
    """The user that the suite's programs run as, on this host."""
    return os.getuid() or USER


def owner(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.lstat().st_uid
    return -1


def processes() -> list[str]:
    """What runs as our user, if that is nobody else's."""
    if os.getuid():
        return []
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and owner(entry) == USER:
            with contextlib.suppress(OSError):
                if not (entry / "stat").read_text().rpartition(") ")[2].startswith("Z"):
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def fingerprint(jail: Path) -> list[tuple[str, int, int]]:
    paths = ((path, path.lstat()) for path in sorted(jail.rglob("*")))
    return [(str(path), known.st_size, known.st_mtime_ns) for path, known in paths]


def available() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])


def reported_memory(done: Done) -> int:
    found = re.search(r"memory usage: (\d+) kbytes", done.stderr)
    assert found
    return 1024 * int(found[1])


def test_fork_bomb(attack: Attack) -> None:
    done = attack(
        "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass",
        *("--nproc", "30", "--mem", "1000000", "--cpu", "2", "--clock", "3"),
    )
    assert verdict(done.stderr) == TIME


def test_memory_bomb_in_many_processes(attack: Attack) -> None:
    before = available()
    done = attack(
        "import os, time\n"
        "for _ in range(20):\n"
        "  if os.fork() == 0:\n"
        "    x = bytearray(b'x' * (60 << 20)); time.sleep(9)\n"
        "time.sleep(9)",
        *("--nproc", "30", "--mem", "100000"),
    )
    assert verdict(done.stderr) == MEMORY
    assert reported_memory(done) < 1200 * MIB
    assert available() > before - 1500 * MIB


def test_disk_fill(attack: Attack) -> None:
    done = attack(
        "n = 0\nwhile True:\n  open(f'/tmp/{n}', 'wb').write(bytes(500_000)); n += 1",
        *("--fsize", "1000"),
    )
    assert verdict(done.stderr) == FAILED
    assert "No space left" in done.stderr


def test_a_hundred_thousand_files(attack: Attack) -> None:
    done = attack(
        "import os\nn = 0\n"
        "while True: os.close(os.open(f'/tmp/{n}', os.O_CREAT | os.O_WRONLY)); n += 1",
        *("--cpu", "3", "--fsize", "1000"),
    )
    assert verdict(done.stderr) in (OUTPUT, TIME, FAILED), done


def test_endless_output_into_a_file(attack: Attack, jail: Path, tmp_path: Path) -> None:
    """As a site does that redirects: the file ends at --fsize, whatever the program does."""
    with (tmp_path / "out").open("wb") as sink:
        argv = ["python3", "-m", "provision.guest.jail.safeexec", "--fsize", "1000"]
        argv += ["--report_file", str(tmp_path / "report"), "--chroot_dir", str(jail)]
        argv += ["--env_vars", "PY", "--exec", "/bin/python3", "-S", "-c"]
        endless = "import os, signal; signal.signal(25, 0)\nwhile True: os.write(1, b'y' * 4096)"
        subprocess.run([*argv, endless], stdout=sink, check=False)
    assert verdict((tmp_path / "report").read_text()) == OUTPUT
    assert (tmp_path / "out").stat().st_size <= 1000 * 1024


def test_endless_output_into_the_python_interface(jail: Path) -> None:
    before = available()
    report = api.run_python("while True: print('y' * 9999)", jail, cpu=1, output=MIB)
    assert (report.ok, report.verdict) == (False, OUTPUT)
    assert len(report.stdout) == MIB
    assert available() > before - 512 * MIB
    loud = api.run_python("import sys; sys.stderr.write('y' * 5000)", jail, output=1000)
    assert (loud.verdict, loud.stdout, loud.stderr) == (OUTPUT, b"", b"y" * 1000)


def test_output_that_is_no_text(jail: Path) -> None:
    report = api.run_python("import os; os.write(1, bytes(range(256)))", jail)
    assert (report.verdict, report.stdout) == ("OK", bytes(range(256)))


def test_busy_loop(attack: Attack) -> None:
    assert verdict(attack("while True: pass", "--cpu", "1").stderr) == TIME


def test_processor_time_hidden_in_children(attack: Attack) -> None:
    done = attack(
        "import os\n"
        "while True:\n"
        "  if os.fork() == 0:\n"
        "    for _ in range(2_000_000): pass\n"
        "    os._exit(0)\n"
        "  os.wait()",
        *("--nproc", "5", "--cpu", "1", "--clock", "30"),
    )
    assert verdict(done.stderr) == TIME
    assert done.stderr.endswith("cpu usage: 1.000 seconds\n")


def test_sleep_past_the_clock(attack: Attack) -> None:
    done = attack(
        "import signal, time\n"
        "for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\n"
        "time.sleep(60)",
        *("--clock", "1"),
    )
    assert verdict(done.stderr) == TIME


def test_stopping_itself(attack: Attack) -> None:
    done = attack("import os; os.kill(os.getpid(), 19); print('never')", "--clock", "1")
    assert (done.stdout, verdict(done.stderr)) == ("", TIME)


def test_killing_everything(attack: Attack) -> None:
    done = attack("import os, time\nos.fork() or os.kill(-1, 9)\ntime.sleep(9)", "--nproc", "5")
    assert verdict(done.stderr) == "Command terminated by signal (9: SIGKILL)"


def test_killing_the_first_process(attack: Attack) -> None:
    done = attack("import os\nfor n in (9, 11, 15, 19): os.kill(1, n)\nprint('alive')")
    assert (done.stdout, verdict(done.stderr)) == ("alive\n", "OK")


def test_a_background_process_cannot_spoof_the_report(attack: Attack) -> None:
    """It writes reports where ours goes, until the box's end; the last is still ours, and true."""
    fake = r"OK\nelapsed time: 0 seconds\nmemory usage: 0 kbytes\ncpu usage: 0.000 seconds\n"
    done = attack(
        "import os, signal, time\n"
        "if os.fork() == 0:\n"
        "  for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\n"
        "  os.setsid()\n"
        f"  while True: os.write(2, b'{fake}'); time.sleep(0.01)\n"
        "time.sleep(0.3)\n"
        "os._exit(5)",
        *("--nproc", "5"),
    )
    assert verdict(done.stderr) == "Command exited with non-zero status (5)"
    assert done.returncode == 1


def test_the_report_file_is_out_of_reach(attack: Attack, safeexec: Safeexec) -> None:
    with contextlib.ExitStack() as stack:
        target = Path("/var/tmp") / f"appliance-report-{os.getpid()}"
        stack.callback(target.unlink, missing_ok=True)
        done = safeexec(
            *("--report_file", str(target), "--fsize", "100"),
            code="import os\n"
            f"names = ['{target}', '/scratch/r', '/static/r', '/r', '/proc/self/fd/9']\n"
            "for name in names:\n"
            "  for f in (os.unlink, lambda n: os.symlink('/etc/passwd', n), os.mkfifo,\n"
            "            lambda n: os.link('/etc/passwd', n), lambda n: open(n, 'w')):\n"
            "    try: f(name); print(name)\n"
            "    except OSError: pass\n"
            "os._exit(4)",
        )
        # A file of that name in its own /tmp, at most.
        assert set(done.stdout.split()) <= {str(target)}
        assert verdict(target.read_text()) == "Command exited with non-zero status (4)"
        assert not target.is_symlink()


def test_what_the_host_has_is_out_of_sight(attack: Attack) -> None:
    with contextlib.ExitStack() as stack:
        secret = Path("/var/tmp") / f"appliance-jail-secret-{os.getpid()}"
        secret.write_text("secret")
        stack.callback(secret.unlink)
        name = f"appliance-jail-{os.getpid()}"
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0{name}")
        abstract.listen()
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        done = attack(
            "import _socket as s, os\n"
            "def attempt(name, f):\n"
            "  try: print(name, 'WORKS', f())\n"
            "  except (OSError, ZeroDivisionError): pass\n"
            f"for path in ('/etc/shadow', '/root', '{secret}', '/proc/1/root{secret}', '/home',\n"
            "             '/proc/1/mem', '/proc/kcore', '/proc/kallsyms',\n"
            "             '/sys/fs/cgroup', '/sys', '/dev/sda', '/dev/mem', '/dev/kmsg', '/run'):\n"
            "  attempt(path, lambda: open(path, 'rb').read(1) if not os.path.isdir(path)\n"
            "          else os.listdir(path)[0])\n"
            "def tcp(*to):\n"
            "  c = s.socket(); c.settimeout(0.5); c.connect(to)\n"
            "def udp(*to):\n"
            "  c = s.socket(s.AF_INET, s.SOCK_DGRAM); c.settimeout(0.5); c.sendto(b'x', to)\n"
            f"attempt('host', lambda: tcp('127.0.0.1', {listener.getsockname()[1]}))\n"
            "attempt('outside', lambda: tcp('192.0.2.1', 80))\n"
            "attempt('dns', lambda: udp('1.1.1.1', 53))\n"
            f"attempt('abstract', lambda: s.socket(s.AF_UNIX).connect('\\0{name}'))\n"
            "attempt('raw', lambda: s.socket(s.AF_INET, s.SOCK_RAW))\n"
            "attempt('packet', lambda: s.socket(17, s.SOCK_RAW))\n"
            "attempt('netlink', lambda: s.socket(16, s.SOCK_RAW, 12))\n"
            "attempt('environment', lambda: 'OUTER' in open('/proc/1/environ').read() or 1 / 0)\n"
            "print(len([p for p in os.listdir('/proc') if p.isdigit()]))",
        )
        assert verdict(done.stderr) == "OK"
        seen = [line for line in done.stdout.splitlines() if "WORKS" in line]
        # The kernel hides the addresses in it: they are zeros.
        assert [line for line in seen if not line.startswith("/proc/kallsyms")] == []
        assert int(done.stdout.split()[-1]) <= 3


@pytest.mark.parametrize(
    "code",
    [
        "libc.ptrace(16, 1, 0, 0)",
        "libc.ptrace(16, os.getppid(), 0, 0)",
        "libc.process_vm_writev(1, 0, 0, 0, 0, 0)",
        "libc.unshare(0x10000000)",
        "libc.mount(b'none', b'/tmp', b'tmpfs', 0, 0)",
        "libc.setuid(0)",
        "libc.setresgid(0, 0, 0)",
        "libc.chroot(b'/tmp')",
        "libc.mknod(b'/tmp/sda', 0o60666, 0x800)",
        "libc.syscall(321, 0, 0, 0)",
        "libc.syscall(425, 1, 0)",
        "libc.syscall(101, 0, 1, 0, 0)",
    ],
)
def test_no_privilege_to_gain(attack: Attack, code: str) -> None:
    done = attack(f"import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\nprint({code})")
    assert (done.stdout, verdict(done.stderr)) == ("-1\n", "OK"), done


def test_set_user_id_gains_nothing(attack: Attack) -> None:
    done = attack(
        "import os, shutil\n"
        "shutil.copy('/bin/python3', '/tmp/p'); os.chmod('/tmp/p', 0o6755)\n"
        "os.execv('/tmp/p', ['p', '-I', '-S', '-c', 'import os; print(os.getresuid())'])",
        *("--fsize", "20000"),
    )
    assert "0" not in re.findall(r"\d+", done.stdout), done


def test_two_at_a_time_do_not_see_each_other(attack: Attack, safeexec: Safeexec) -> None:
    first: list[Done] = []
    code = "open('/tmp/secret', 'w').write('x'); print('ready', flush=True)\nimport time"
    thread = threading.Thread(
        target=lambda: first.append(
            safeexec("--fsize", "10", "--clock", "20", code=f"{code}; time.sleep(3)")
        )
    )
    thread.start()
    deadline = time.monotonic() + 60
    while not any("secret" in line and "bwrap" not in line for line in processes()):
        assert os.getuid() or time.monotonic() < deadline
        time.sleep(0.05)
    done = attack(
        "import os\nprint(os.listdir('/tmp'), [p for p in os.listdir('/proc') if p.isdigit()])\n"
        "os.kill(-1, 9)"
    )
    thread.join()
    assert done.stdout.startswith("[] ")
    assert verdict(first[0].stderr) == "OK"
