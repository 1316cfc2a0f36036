"""Tasks that want out, on every engine: what becomes of them, and that nobody else notices."""

import contextlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.grader.conftest import USER, Grader, python, script, task

MIB = 1 << 20
LIMITS = {
    "clock": 3.0,
    "cpu": 1.0,
    "memory": 128 * MIB,
    "disk": 32 * MIB,
    "tasks": 40,
    "file_size": 16 * MIB,
    "output": 65536,
}


@dataclass
class Host:
    """What must be as it was before, after every attack."""

    service: Grader
    kept: tuple[str, ...]
    helpers: frozenset[int] = frozenset()  # processes of the service's own

    @classmethod
    def of(cls, service: Grader) -> "Host":
        gates = (line.split()[0] for line in service.processes() if "sandbox.gate" in line)
        return cls(service, cls.state(service), frozenset(map(int, gates)))

    def processes(self) -> list[str]:
        return [p for p in self.service.processes() if int(p.split()[0]) not in self.helpers]

    @staticmethod
    def state(service: Grader) -> tuple[str, ...]:
        assert service.process
        pid = service.process.pid
        # Others mount and unmount on this host too.
        ours = ("newroot", "oldroot", str(service.state), str(service.images))
        table = Path(f"/proc/{pid}/mounts").read_text().splitlines()
        mounts = "".join(line for line in table if any(word in line for word in ours))
        files = sorted(str(p) for p in (service.state / "uploads").iterdir())
        return (mounts, *files)

    def unharmed(self) -> None:
        deadline = time.monotonic() + 60
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert self.processes() == []
        assert self.state(self.service) == self.kept
        assert self.service.process
        resident = Path(f"/proc/{self.service.process.pid}/statm").read_text().split()[1]
        assert int(resident) * os.sysconf("SC_PAGE_SIZE") < 200 * MIB
        written = sum(path.lstat().st_blocks for path in self.service.state.rglob("*")) * 512
        assert written < 32 * MIB, "files, the database's log among them"
        result = self.service.client.result(script("echo fine"))
        assert (result["status"], result["stdout"]) == ("finished", "fine\n"), result


ENGINES = ["bubblewrap", pytest.param("uml", marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=ENGINES)
def host(request: pytest.FixtureRequest, images: Path) -> Iterator[Host]:
    state = Path("/var/tmp") / f"appliance-grader-attacks-{os.getpid()}-{request.param}"
    state.mkdir(mode=0o755)
    with contextlib.suppress(PermissionError):
        os.chown(state, USER, USER)
    options: dict[str, Any] = {"instances": 2, "engine": request.param, "engines": [request.param]}
    limits = LIMITS
    if request.param == "uml":
        options |= request.getfixturevalue("uml")
        # A page costs many times the processor time there, which has a limit too.
        limits = {**LIMITS, "memory": 32 * MIB, "cpu": 2.2}
    service = Grader(state, images, options, limits).start()
    yield Host.of(service)
    service.stop(kill=True)
    shutil.rmtree(state)


@pytest.fixture
def attack(host: Host) -> Iterator[Callable[[bytes], dict[str, Any]]]:
    """Run one attack; afterwards the host is as before and the next task runs."""
    yield host.service.client.result
    host.unharmed()


Attack = Callable[[bytes], dict[str, Any]]


def test_fork_bomb(attack: Attack) -> None:
    result = attack(script("bomb() { bomb | bomb & bomb; }; bomb 2>/dev/null; sleep 9"))
    assert result["status"] in ("timeout", "failed")
    assert result["seconds"] < 30


def test_fork_bomb_in_python(attack: Attack) -> None:
    result = attack(python("import os\nwhile True:\n  try: os.fork()\n  except OSError: pass"))
    assert result["status"] == "timeout"


def test_memory_bomb_in_one_process(attack: Attack) -> None:
    result = attack(python("x = []\nwhile True: x.append(bytearray(1 << 20))"))
    assert result["status"] == "failed"
    assert "MemoryError" in result["stderr"] or result["reason"] == "memory limit"


def test_memory_bomb_in_many_processes(attack: Attack, host: Host) -> None:
    before = available()
    result = attack(
        python(
            "import os, time\n"
            "for _ in range(20):\n"
            "  if os.fork() == 0:\n"
            "    x = bytearray(b'x' * (100 << 20)); time.sleep(9)\n"
            "time.sleep(9)"
        )
    )
    ends = [("failed", "memory limit")]
    if host.service.options["engine"] == "uml":  # to fork costs more there than it may use
        ends.append(("timeout", "processor time limit"))
    assert (result["status"], result["reason"]) in ends
    assert result["exit_code"] is None
    assert available() > before - 512 * MIB


HIDDEN_IN_A_THREAD = r"""
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void *grow(void *unused) {
    for (;;) { char *more = malloc(1 << 20); if (more) memset(more, 1, 1 << 20); usleep(2000); }
}
int main(void) {
    for (int n = 0; n < 7; n++) if (fork() == 0) break;
    pthread_t thread;
    pthread_create(&thread, NULL, grow, NULL);
    pthread_exit(NULL);
}
"""


def test_memory_behind_first_threads_that_ended(attack: Attack) -> None:
    files: dict[str, str | bytes] = {"a.c": HIDDEN_IN_A_THREAD}
    files["tmc-run"] = "#!/bin/sh\ngcc -pthread -o a a.c && ./a; sleep 60"
    result = attack(task(files))
    assert (result["status"], result["reason"]) == ("failed", "memory limit"), result


@pytest.mark.parametrize("kind", ["socketpair()", "tcp()"])
def test_memory_in_socket_buffers(host: Host, grader: Callable[..., Grader], kind: str) -> None:
    # With time enough to fill them on a busy machine too.
    service = grader({**host.service.limits, "clock": 60.0, "cpu": 30.0}, **host.service.options)
    calm = Host.of(service)
    result = service.client.result(
        python(
            "import os, socket, time\n"
            "from socket import socketpair\n"
            "def tcp():\n"
            "  a = socket.create_connection(listener.getsockname())\n"
            "  return a, listener.accept()[0]\n"
            "for _ in range(15):\n"
            "  if os.fork() == 0: break\n"
            "listener = socket.create_server(('127.0.0.1', 0))\n"
            "held = []\n"
            "while True:\n"
            "  try:\n"
            f"    pair = {kind}\n"
            "    held.append(pair)\n"
            "    for one in pair:\n"
            "      one.setsockopt(1, 7, 1 << 22)\n"
            "      one.setblocking(False)\n"
            "      while True: one.send(bytes(65536))\n"
            "  except BlockingIOError: pass\n"
            "  except OSError: time.sleep(60)"
        )
    )
    ends = [("failed", "memory limit")]
    if host.service.options["engine"] == "uml":  # its kernel has little for buffers
        ends += [("timeout", "processor time limit"), ("timeout", "wall time limit")]
    assert (result["status"], result["reason"]) in ends, result
    calm.unharmed()


def test_memory_that_is_shared_and_no_files(attack: Attack) -> None:
    result = attack(
        python(
            "import mmap, time\n"
            "m = mmap.mmap(-1, 300 << 20)\n"
            "for n in range(300): m[n << 20:(n + 1) << 20] = b'x' * (1 << 20); time.sleep(0.002)\n"
            "time.sleep(60)"
        )
    )
    assert (result["status"], result["reason"]) == ("failed", "memory limit"), result


def test_a_task_with_some_sockets_and_shared_files_is_none_of_these(attack: Attack) -> None:
    result = attack(
        python(
            "import mmap, multiprocessing as m, socket, time\n"
            "pairs = [socket.socketpair() for _ in range(50)]\n"
            "listener = socket.create_server(('127.0.0.1', 0))\n"
            "ends = [socket.create_connection(listener.getsockname()) for _ in range(40)]\n"
            "f = open('/tmp/shared', 'w+b'); f.truncate(10 << 20)\n"
            "shared = mmap.mmap(f.fileno(), 0); shared[:] = b'x' * len(shared)\n"
            "def work(n): time.sleep(0.1); return sum(shared[:1000]) // 120\n"
            "with m.Pool(3) as pool: print(pool.map(work, range(3)))"
        )
    )
    assert (result["status"], result["stdout"]) == ("finished", "[1000, 1000, 1000]\n"), result


def test_disk_fill(attack: Attack) -> None:
    free = shutil.disk_usage("/var/tmp").free
    result = attack(
        script("i=0; while dd if=/dev/zero of=f$i bs=1M count=15 2>/dev/null; do i=$((i+1)); done")
    )
    assert result["status"] in ("finished", "failed")
    assert shutil.disk_usage("/var/tmp").free > free - 200 * MIB


def test_a_hundred_thousand_files(attack: Attack) -> None:
    result = attack(
        python(
            "import os\nn = 0\nwhile True:\n"
            "  os.close(os.open(f'/tmp/{n}', os.O_CREAT | os.O_WRONLY)); n += 1"
        )
    )
    assert result["status"] in ("timeout", "failed")


def test_endless_output_is_stopped_and_cut(attack: Attack) -> None:
    result = attack(script("yes"))
    assert (result["status"], result["reason"]) == ("failed", "output limit")
    assert result["stdout"].startswith("y\ny\n")
    assert len(result["stdout"]) <= LIMITS["output"]


def test_much_output_is_cut_but_the_task_finishes(attack: Attack) -> None:
    result = attack(script("head -c 500000 /dev/zero | tr '\\0' x; head -c 500000 /dev/zero >&2"))
    assert result["status"] == "finished"
    assert LIMITS["output"] - 1 <= len(result["stdout"]) <= LIMITS["output"]
    assert len(result["stderr"]) <= LIMITS["output"]


def test_output_that_is_no_text(attack: Attack) -> None:
    result = attack(script("printf '\\377\\376ok' | tee output.txt"))
    assert result["stdout"] == result["output"] == "��ok"


def test_busy_loop(attack: Attack) -> None:
    result = attack(script("while :; do :; done"))
    assert (result["status"], result["exit_code"]) == ("timeout", None)
    assert result["seconds"] < 30


def test_processor_time_hidden_in_children(host: Host, grader: Callable[..., Grader]) -> None:
    # With time enough to use the processor on a busy machine too.
    service = grader({**host.service.limits, "clock": 60.0}, **host.service.options)
    calm = Host.of(service)
    result = service.client.result(
        python(
            "import os\n"
            "while True:\n"
            "  if os.fork() == 0:\n"
            "    for _ in range(2_000_000): pass\n"
            "    os._exit(0)\n"
            "  os.wait()"
        )
    )
    assert (result["status"], result["reason"]) == ("timeout", "processor time limit")
    calm.unharmed()


def test_sleep_past_the_clock(attack: Attack) -> None:
    result = attack(script("trap '' TERM INT HUP; sleep 60"))
    assert (result["status"], result["reason"]) == ("timeout", "wall time limit")
    assert 2.9 < result["seconds"] < 30


def test_killing_everything(attack: Attack) -> None:
    result = attack(script("kill -9 -1; sleep 9"))
    assert result["status"] in ("failed", "timeout")


def test_killing_the_first_process(attack: Attack) -> None:
    result = attack(script("kill -9 1; kill -15 1; kill -11 1; echo alive"))
    assert (result["status"], result["stdout"]) == ("finished", "alive\n")


def test_a_background_process_cannot_spoof_the_exit_code(attack: Attack) -> None:
    result = attack(
        script(
            "(while :; do echo 0 > exit_code.txt; echo 0 > /tmp/exit_code; echo passed > "
            "output.txt; done) & sleep 0.3; exit 5"
        )
    )
    assert (result["status"], result["exit_code"]) == ("failed", 5)


def test_a_background_process_ends_with_the_task(attack: Attack) -> None:
    result = attack(script("setsid nohup sleep 60 & exit 0"))
    assert result["status"] == "finished"


def test_no_process_can_be_written_into(attack: Attack) -> None:
    result = attack(
        python(
            "import ctypes, os\n"
            "libc = ctypes.CDLL(None, use_errno=True)\n"
            "for pid in (1, os.getppid()):\n"
            "  try: open(f'/proc/{pid}/mem', 'r+b'); print('open')\n"
            "  except OSError as e: print(e.strerror)\n"
            "  print(libc.ptrace(16, pid, 0, 0), os.strerror(ctypes.get_errno()))"
        )
    )
    assert "open" not in result["stdout"].replace("not permitted", "")
    assert "-1 Operation not permitted" in result["stdout"]


def test_the_hosts_files_are_out_of_sight(attack: Attack) -> None:
    secret = Path("/var/tmp") / f"appliance-grader-secret-{os.getpid()}"
    secret.write_text("secret")
    paths = f"/etc/shadow {secret} /proc/1/environ /proc/1/root/{secret} /sys/fs/cgroup /root/x"
    result = attack(script(f"cat {paths}; ls /var/tmp /home /proc/1/root/var/lib/grader; exit 0"))
    secret.unlink()
    assert result["stdout"].count("secret") == 0
    assert "root:" not in result["stdout"]


def test_only_its_own_processes_are_in_sight(attack: Attack) -> None:
    result = attack(script("ls -d /proc/[0-9]* | wc -l"))
    assert int(result["stdout"]) < 10


def test_two_tasks_at_a_time_do_not_see_each_other(host: Host) -> None:
    client = host.service.client
    first = client.post(script("echo hidden > /tmp/secret; sleep 1.5")).json["id"]
    time.sleep(0.5)
    second = client.result(script("ls -R /tmp; ls -d /proc/[0-9]* | wc -l; kill -9 -1"))
    assert "secret" not in second["stdout"]
    assert client.wait(first)["status"] == "finished"
    host.unharmed()


def test_no_network(attack: Attack, host: Host) -> None:
    result = attack(
        python(
            "import socket\n"
            "def attempt(name, f):\n"
            "  try: f(); print(name, 'WORKS')\n"
            "  except OSError as e: print(name, e.strerror)\n"
            f"here = ('127.0.0.1', {host.service.port})\n"
            "attempt('service', lambda: socket.create_connection(here, 1))\n"
            "attempt('outside', lambda: socket.create_connection(('192.0.2.1', 80), 1))\n"
            "attempt('dns', lambda: socket.getaddrinfo('example.org', 80))\n"
            "attempt('raw', lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW))\n"
            "attempt('packet', lambda: socket.socket(socket.AF_PACKET))\n"
            "attempt('vsock', lambda: socket.socket(40, socket.SOCK_STREAM))\n"
            "attempt('alg', lambda: socket.socket(38, socket.SOCK_SEQPACKET))\n"
            "unix = socket.socket(socket.AF_UNIX)\n"
            "attempt('abstract', lambda: unix.connect('\\0/tmp/.X11-unix/X0'))\n"
            "print(socket.if_nameindex())"
        )
    )
    assert "WORKS" not in result["stdout"]
    assert result["stdout"].endswith("[(1, 'lo')]\n"), result


def test_no_privilege_to_gain(attack: Attack) -> None:
    result = attack(
        script(
            "grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; "
            "find / -xdev -perm /6000 2>/dev/null; mknod sda b 8 0; mknod mem c 1 1; "
            "unshare -Ur true; mount -t tmpfs none /tmp; chroot / true; "
            "cp /bin/sh . && chmod 4755 sh; touch /etc/x; ls /dev; exit 0"
        )
    )
    status = dict(line.split(":\t") for line in result["stdout"].splitlines() if ":\t" in line)
    assert int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert "/usr/bin/" not in result["stdout"]
    for refused in ("mknod: sda", "mknod: mem", "unshare", "mount", "chroot", "touch"):
        assert refused in result["stderr"], (refused, result["stderr"])


def test_dangerous_system_calls_do_nothing(attack: Attack) -> None:
    numbers = [101, 310, 321, 425, 298, 323, 250, 272, 308, 165, 428, 304, 175, 246, 435, 319, 29]
    result = attack(
        python(
            "import ctypes, errno\nlibc = ctypes.CDLL(None, use_errno=True)\n"
            f"for number in {numbers}:\n"
            "  r = libc.syscall(number, 0, 0, 0, 0, 0)\n"
            "  print(number, r, errno.errorcode[ctypes.get_errno()])"
        )
    )
    told = [line.split() for line in result["stdout"].splitlines()]
    assert [int(line[0]) for line in told] == numbers, result
    assert {tuple(line[1:]) for line in told} <= {("-1", "EPERM"), ("-1", "ENOSYS")}, told


def test_an_old_way_into_the_kernel_kills(attack: Attack, host: Host) -> None:
    source = 'int main(void){int r;__asm__("int $0x80":"=a"(r):"a"(20));return r>0?42:43;}'
    result = attack(task({"tmc-run": "#!/bin/sh\ngcc -o a a.c && ./a\n", "a.c": source}))
    # A User-Mode Linux kernel does not know that way: the call does nothing.
    known = {"bubblewrap": 159, "uml": 43}[host.service.options["engine"]]
    assert (result["status"], result["exit_code"]) == ("failed", known)


@pytest.mark.parametrize(
    "trick",
    [
        "ln -s /etc/passwd {}",
        "ln -s /proc/1/environ {}",
        "ln -s {} {}",
        "ln /etc/passwd {} 2>/dev/null; true",
        "mkfifo {}",
        "mkdir {}",
        "python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('{}')\"",
        "ln -s /dev/zero {}",
        "echo x > {0}; chmod 000 {0}",
        "rm -rf /tmp/task; ln -sfn /etc /tmp/task",
    ],
)
def test_an_output_that_is_no_file_is_no_output(attack: Attack, trick: str) -> None:
    names = ("output", "test_output", "stdout", "stderr")
    tricks = (trick.replace("{0}", "{}").replace("{}", f"{name}.txt") for name in names)
    result = attack(script("\n".join(tricks)))
    assert {result[name] for name in names} == {""}, result
    assert result["status"] == "finished", result


def test_a_sparse_giant_as_output(attack: Attack) -> None:
    result = attack(script("trap '' XFSZ; truncate -s 15M output.txt; truncate -s 50G big; exit 0"))
    assert result["status"] == "finished"
    assert result["output"] == "\0" * LIMITS["output"]


def test_signals_to_itself(attack: Attack) -> None:
    result = attack(script("kill -STOP $$; echo never"))
    assert (result["status"], result["stdout"]) == ("timeout", "")


def test_open_files_are_few(attack: Attack) -> None:
    result = attack(python("x = [open('/dev/null') for _ in range(100000)]"))
    assert "Too many open files" in result["stderr"]


def test_system_v_and_posix_memory_is_counted(attack: Attack) -> None:
    result = attack(
        python(
            "import os\n"
            "for n in range(100):\n"
            "  f = os.open(f'/dev/shm/{n}', os.O_CREAT | os.O_RDWR)\n"
            "  os.write(f, b'x' * (8 << 20))\n"
        )
    )
    assert result["status"] == "failed"
    assert "No space left" in result["stderr"]


def member(name: str, kind: bytes = tarfile.REGTYPE, **values: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = kind, 0o755
    for key, value in values.items():
        setattr(info, key, value)
    return info


def tar_of(*members: tarfile.TarInfo, run: str = "#!/bin/sh\necho ran\n") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(member("tmc-run", size=len(run)), io.BytesIO(run.encode()))
        for one in members:
            archive.addfile(one, io.BytesIO(b"x" * one.size))
    return buffer.getvalue()


def many_members() -> bytes:
    return tar_of(*(member(f"d/{number}") for number in range(100_000)))


def sparse_giant() -> bytes:
    """A tar of a few kB with a member of 50 GB that is one hole."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "tmc-run").write_text("#!/bin/sh\n")
        with (Path(directory) / "giant").open("wb") as hole:
            hole.truncate(50 << 30)
        argv = ["tar", "--sparse", "-C", directory, "-cf", "-", "giant", "tmc-run"]
        return subprocess.run(argv, check=True, capture_output=True).stdout


@pytest.mark.parametrize(
    ("name", "archive", "statuses"),
    [
        ("empty", b"", ["failed"]),
        ("truncated", tar_of(member("big", size=100_000))[:5000], ["failed"]),
        ("not a tar", b"GIF89a" * 1000, ["failed"]),
        ("two zero blocks", bytes(1024), ["failed"]),
        ("dots", tar_of(member("../../../../var/tmp/appliance-evil", size=1)), ["failed"]),
        ("absolute", tar_of(member("/var/tmp/appliance-evil", size=1)), ["finished"]),
        ("device", tar_of(member("sda", tarfile.BLKTYPE, devmajor=8)), ["failed"]),
        ("fifo", tar_of(member("pipe", tarfile.FIFOTYPE)), ["finished"]),
        ("hard link", tar_of(member("h", tarfile.LNKTYPE, linkname="/etc/passwd")), ["failed"]),
        (
            "symbolic link and a file through it",
            tar_of(
                member("s", tarfile.SYMTYPE, linkname="/var/tmp"),
                member("s/appliance-evil", size=1),
            ),
            ["failed", "finished"],
        ),
        ("root's set-user-id", tar_of(member("su", size=1, mode=0o4755, uid=0)), ["finished"]),
        ("sparse giant", sparse_giant(), ["failed"]),
        ("a hundred thousand members", many_members(), ["finished", "failed", "timeout"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_hostile_tars(attack: Attack, name: str, archive: bytes, statuses: list[str]) -> None:
    result = attack(archive)
    assert result["status"] in statuses, result
    assert not Path("/var/tmp/appliance-evil").exists()


def available() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
