"""A hostile student: what docs/security.md promises, tried from inside a session."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from guest import Guest
from student import Kernel, RefusedError, Student, await_

REACH = """
import socket
def reach(address, port, seconds=3):
    try:
        with socket.create_connection((address, port), seconds):
            return 'reached'
    except OSError as error:
        return 'refused'
"""


@dataclass
class Victim:
    """A student at work.

    Args:
        student: the session.
        kernel: a kernel with ``x = 41``.
        account: the leased account.
        pids: the session's processes.
        ports: where they listen.
    """

    student: Student
    kernel: Kernel
    account: str
    pids: list[str]
    ports: list[int]

    def works(self) -> bool:
        """Whether the session still computes."""
        return self.kernel.run("x + 1", 90) == "42"


@pytest.fixture(scope="module")
def victim(guest: Guest) -> Iterator[Victim]:
    student = Student(guest.url, "victim").sign_in().start()
    kernel = student.kernel()
    kernel.run("x = 41")
    kernel.shell("echo treasure > diary; echo treasure > /tmp/diary; chmod 777 /tmp/diary diary")
    account = kernel.shell("id -un").strip()
    uid = guest.run(f"id -u {account}").strip()
    pids = guest.run(f"pgrep -u {account}").split()
    listening = guest.run(
        'cat /proc/net/tcp | awk \'$4 == "0A" && $8 == ' + uid + " {print $2}'"
    ).split()
    ports = [int(place.split(":")[1], 16) for place in listening]
    assert ports
    yield Victim(student, kernel, account, pids, ports)
    student.stop()


@pytest.fixture(scope="module")
def mallory(guest: Guest, victim: Victim) -> Iterator[Kernel]:
    student = Student(guest.url, "mallory").sign_in().start()
    kernel = student.kernel()
    kernel.run(REACH)
    yield kernel
    student.stop()


def test_reads_no_file_of_another(mallory: Kernel, victim: Victim) -> None:
    tries = "; ".join(
        f"cat {place}"
        for place in (
            "/home/students/victim/diary",
            f"/home/{victim.account}/work/diary",
            "/tmp/diary",
            "/var/tmp/diary",
            *(f"/proc/{pid}/root/tmp/diary /proc/{pid}/cwd/diary" for pid in victim.pids),
        )
    )
    assert "treasure" not in mallory.shell(tries)
    assert "victim" not in mallory.shell("ls /home/students")
    assert "treasure" not in mallory.shell("grep -rs treasure /home /tmp /var/tmp /dev/shm /run")


def test_sees_no_process_of_another(mallory: Kernel, victim: Victim) -> None:
    owners = set(mallory.shell("ps -eo user=").split())
    assert owners == {mallory.shell("id -un").strip()}
    for pid in victim.pids:
        assert mallory.shell(f"cat /proc/{pid}/environ /proc/{pid}/cmdline 2>/dev/null") == ""
    assert victim.account not in mallory.shell("cat /sys/fs/cgroup/user.slice/*/cgroup.procs")


def test_finds_no_connection_file_of_another(mallory: Kernel) -> None:
    found = mallory.shell("find / -xdev -name 'kernel-*.json' 2>/dev/null").split()
    assert not [path for path in found if not path.startswith("/home/")]
    assert "victim" not in " ".join(found)


def test_reaches_no_port_of_another(mallory: Kernel, victim: Victim) -> None:
    for port in victim.ports:
        assert mallory.run(f"reach('127.0.0.1', {port})") == "'refused'", port
    assert victim.works()


@pytest.mark.parametrize("port", [22, 25, 2200, 8000, 8001, 8443])
def test_reaches_no_service_but_the_hubs_api(mallory: Kernel, port: int) -> None:
    assert mallory.run(f"reach('127.0.0.1', {port})") == "'refused'"
    assert mallory.run(f"reach('::1', {port})") == "'refused'"
    assert mallory.run("reach('127.0.0.1', 8081)") == "'reached'"


def test_own_listeners_still_work(mallory: Kernel) -> None:
    mallory.run("s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()")
    assert mallory.run("reach(*s.getsockname())") == "'reached'"


def test_reaches_nothing_outside(guest: Guest, mallory: Kernel) -> None:
    gateway = guest.gateway()
    for address in (gateway, "169.254.1.1", "192.0.2.1"):
        for port in (25, 53, 80, 443):
            assert mallory.run(f"reach({address!r}, {port}, 1)") == "'refused'"
    sent = mallory.run(
        "u = socket.socket(type=socket.SOCK_DGRAM); u.sendto(b'x', ('169.254.1.1', 53))"
    )
    assert "Error" in sent


def test_cannot_pose_as_another_accounts_server(guest: Guest, mallory: Kernel) -> None:
    mine = guest.run("id -u " + mallory.shell("id -un")).strip()
    uids = guest.run("id -u nb1; id -u nb2; id -u nb3").split()
    other = next(10000 + int(uid) for uid in uids if uid != mine and 10000 + int(uid) != 0)
    squatted = mallory.run(
        f"q = socket.socket(); q.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
        f"q.bind(('127.0.0.1', {max(10000 + int(u) for u in uids)})); q.listen(); print('bound')"
    )
    assert other
    if "bound" in squatted:
        port = max(10000 + int(u) for u in uids)
        told = guest.run(
            f"runuser -u notebook -- timeout 3 bash -c ': < /dev/tcp/127.0.0.1/{port}'"
            " && echo reached || echo refused"
        )
        assert told.strip() == "refused"
    mallory.run("q.close()")


@pytest.mark.parametrize(
    "path",
    [
        "/var/lib/notebook/jupyterhub.sqlite",
        "/var/lib/notebook/cookie-secret",
        "/var/lib/notebook/accounts.json",
        "/var/lib/notebook/proxy-token",
        "/var/lib/notebook/first-password",
        "/var/lib/notebook/id_ed25519",
        "/home/sageadm/.ssh/id_ed25519",
        "/etc/shadow",
        "/etc/ssh/ssh_host_ed25519_key",
        "/proc/1/environ",
        "/dev/mem",
        "/dev/sda",
    ],
)
def test_reads_no_secret(mallory: Kernel, path: str) -> None:
    assert mallory.shell(f"cat {path} 2>/dev/null") == ""


def test_token_opens_only_the_students_own(guest: Guest, mallory: Kernel) -> None:
    token = mallory.shell("printenv JUPYTERHUB_API_TOKEN").strip()
    thief = Student(guest.url, "mallory", token=token)
    for method, path in (
        ("GET", "/hub/api/users"),
        ("GET", "/hub/api/users/victim"),
        ("POST", "/hub/api/users/victim/tokens"),
        ("DELETE", "/hub/api/users/victim/server"),
        ("POST", "/hub/api/shutdown"),
        ("GET", "/hub/api/proxy"),
        ("GET", "/user/victim/api/contents"),
        ("GET", "/user/victim/api/kernels"),
    ):
        with pytest.raises(RefusedError) as refused:
            thief.json(method, path)
        assert refused.value.status in {403, 404}, path


@pytest.mark.parametrize(
    "command",
    [
        "sudo -n true",
        "su -c true sageadm < /dev/null",
        "crontab -l; echo '* * * * * true' | crontab -",
        "echo true | at now",
        "systemctl --user list-units",
        "systemd-run --user true",
        "systemctl poweroff",
        "mount -t tmpfs tmpfs /mnt",
        "umount ~/..",
        "dmesg",
        "unshare -Ur true",
        "unshare -Urm true",
        "unshare -n true",
        "nsenter -t $$ -m true",
        "nice -n -5 true 2>&1 | grep -v denied",
        "echo 1 > /proc/sys/kernel/sysrq",
        "echo c > /proc/sysrq-trigger",
        "echo never > /sys/kernel/mm/transparent_hugepage/enabled",
        "echo mem > /sys/power/state",
        "echo x > /etc/passwd",
        "echo x > /opt/notebook/x",
        "mkdir /sys/fs/cgroup/x",
        "chroot / true",
        "python3 -c 'import os; os.setuid(0)'",
        "ssh -o BatchMode=yes -p 2200 nb1@localhost true",
        "ssh -o BatchMode=yes nb1@localhost true",
        "echo x | mail -s x root && test -s /var/mail/root",
    ],
)
def test_has_no_further_rights(mallory: Kernel, command: str) -> None:
    assert mallory.shell(f"if ({command}) > /dev/null 2>&1; then echo done; fi") == ""


def test_cannot_touch_anothers_processes(mallory: Kernel, victim: Victim) -> None:
    for pid in victim.pids:
        mallory.shell(f"kill -9 {pid}; gdb -p {pid} -batch")
    mallory.run(
        "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"
        f"[libc.ptrace(16, int(p), 0, 0) for p in {victim.pids}]"
    )
    assert victim.works()


def test_nothing_in_the_kernel_outlives_a_session(mallory: Kernel) -> None:
    left = mallory.run(
        "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"
        "libc.shmget(0, 4096, 0o1666), libc.msgget(0, 0o1666), libc.semget(0, 1, 0o1666), "
        "libc.syscall(248, b'user', b'x', b'y', 1, -4)"
    )
    assert left == "(-1, -1, -1, -1)"


def test_a_fork_bomb_stops_at_its_own_limit(guest: Guest, mallory: Kernel, victim: Victim) -> None:
    mallory.shell("timeout 5 bash -c ':(){ :|:& };:' > /dev/null 2>&1; true", 90)
    assert victim.works()
    assert len(guest.run("ps -eLo user=").split()) < 2000
    guest.run(
        "pkill -9 -u "
        + guest.run(
            "ps -eo user=,comm= | awk '$2 == \"bash\" && $1 ~ /^nb/ {print $1; exit}'"
        ).strip()
        + " bash || true"
    )


def test_files_and_tmp_have_a_size(mallory: Kernel, victim: Victim) -> None:
    said = mallory.shell("dd if=/dev/zero of=big bs=1M count=200; rm -f big; true")
    assert "File too large" in said or "exceeded" in said
    said = mallory.shell("dd if=/dev/zero of=/tmp/big bs=1M count=40; rm -f /tmp/big; true")
    assert "No space left" in said
    assert victim.works()


def test_disk_and_memory_limits_are_set(guest: Guest) -> None:
    """That the kernel enforces them is proven where cgroups are: in a virtual machine."""
    uid = guest.run("id -u nb1").strip()
    shown = guest.run(f"systemctl show user-{uid}.slice -p MemoryMax -p TasksMax -p MemorySwapMax")
    assert json.dumps(sorted(shown.split())) == json.dumps(
        ["MemoryMax=1073741824", "MemorySwapMax=0", "TasksMax=272"]
    )


def test_a_git_hook_is_only_the_students(mallory: Kernel) -> None:
    told = mallory.shell(
        "rm -rf r && git init -q r && cd r && git config user.email m@x &&"
        " git config user.name m &&"
        " printf '#!/bin/sh\\nid -un; sudo -n id 2>&1; cat /etc/shadow 2>&1\\n'"
        " > .git/hooks/post-commit && chmod +x .git/hooks/post-commit &&"
        " git commit -q --allow-empty -m x 2>&1; cd .. && rm -rf r"
    )
    assert told.split()[0] == mallory.shell("id -un").strip()
    assert "uid=0" not in told
    assert "root:" not in told


def test_a_setuid_program_of_ones_own_gives_nothing(mallory: Kernel) -> None:
    for place in ("~", "/tmp", "/dev/shm"):
        told = mallory.shell(f"cd {place}; cp /usr/bin/id own; chmod 6777 own; ./own; rm own")
        assert "euid" not in told
        assert "uid=0" not in told


def test_the_server_is_no_proxy(guest: Guest, mallory: Kernel, victim: Victim) -> None:
    url = f"{guest.url}/user/mallory"
    for path in (f"/proxy/{victim.ports[0]}/", "/proxy/127.0.0.1:22/", "/proxy/192.0.2.1:80/"):
        with pytest.raises(RefusedError) as refused:
            mallory.student.request("GET", url.removeprefix(guest.url) + path)
        assert refused.value.status == 404


def test_a_terminal_opens_nothing_more(mallory: Kernel) -> None:
    student = mallory.student
    name = student.server("POST", "terminals")["name"]
    said = student.terminal(name, "id -u; sudo -n id; cat /etc/shadow; printf 'o%s\\n' ver")
    assert mallory.shell("id -u").strip() in said
    assert "uid=0" not in said
    assert "root:" not in said


# Each goes on after its session unless root ends it: its first thread has ended, so that it shows
# as a zombie; it takes no request to end; it kills whoever tries, and whatever else it can.
UNDEAD = """
import ctypes, os, signal, threading, time
exec(os.environ["MORE"])
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
def on():
    while True:
        try:
            with open("/proc/self/task/" + str(threading.get_native_id()) + "/comm", "w") as me:
                me.write("undead")
            rest()
        except OSError:
            pass
threading.Thread(target=on).start()
ctypes.CDLL(None).syscall(60, 0)
"""
KINDS = {
    "a zombie by its first thread": "rest = lambda: time.sleep(1)",
    "a zombie whose child is one": "os.fork(); rest = lambda: time.sleep(1)",
    "a zombie that is not dumpable": "ctypes.CDLL(None).prctl(4, 0); rest = lambda: time.sleep(1)",
    "a killer, once it is to end": (
        "signal.pthread_sigmask(signal.SIG_BLOCK, [1, 15]); told = threading.Event()\n"
        "rest = lambda: (told.is_set() or (signal.sigwait([1, 15]), told.set()), os.kill(-1, 9))"
    ),
}
THREADS = "ps -eLo user:32=,stat=,comm= | awk '$1 == \"{}\" && $2 !~ /^[ZX]/'"


@pytest.mark.parametrize("kind", KINDS)
def test_no_process_outlives_its_session(guest: Guest, kind: str) -> None:
    student = Student(guest.url, "undying").sign_in().start()
    kernel = student.kernel()
    account = kernel.shell("id -un").strip()
    environment = {"MORE": KINDS[kind]}
    kernel.run(
        "import os, subprocess as s, sys; s.Popen([sys.executable, '-c', "
        f"{UNDEAD!r}], start_new_session=True, env=os.environ | {environment!r},"
        " stdin=s.DEVNULL, stdout=s.DEVNULL, stderr=s.DEVNULL); None"
    )
    threads = THREADS.format(account)
    await_(lambda: "undead" in guest.run(threads))
    student.stop()
    await_(lambda: guest.run(threads) == "")


def test_no_process_outlives_a_killed_ssh_server(guest: Guest) -> None:
    """The session's own sshd, which would end its processes, is the first to die."""
    student = Student(guest.url, "undying").sign_in().start()
    account = student.kernel().shell("id -un").strip()
    guest.run(f"pkill -9 -u root -f '^sshd-session: {account} '")
    await_(lambda: guest.run(THREADS.format(account)) == "")
    await_(lambda: not student.ready())
