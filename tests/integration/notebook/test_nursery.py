"""Servers and kernels that are forked: what and whose they are, what nobody gets from them."""

import json
import re
import shlex
import time
from collections.abc import Callable, Iterator

import pytest
from guest import Guest
from student import Kernel, Student

pytestmark = pytest.mark.forked
UNIT = "nursery@notebook.service"
PLACE = "/run/nursery/notebook"

# Everything about a process that the kernel shows, and what Python says of itself.
PROBE = r"""
def probe():
    import ctypes, json, os, re, resource, signal, sys
    def text(name):
        return open(f"/proc/self/{name}", errors="replace").read()
    def masked(value):
        return re.sub(r"kernel-[0-9a-f-]*", "kernel-X", value)
    status = dict(line.split(":", 1) for line in text("status").splitlines())
    wanted = ("Name Umask Tgid Uid Gid Groups NStgid NoNewPrivs Seccomp Seccomp_filters CapInh"
              " CapPrm CapEff CapBnd CapAmb SigPnd ShdPnd SigBlk SigIgn SigCgt Cpus_allowed"
              " CoreDumping THP_enabled").split()
    me = str(os.getpid())
    said = {f"status {name}": status[name].strip().replace(me, "ME") for name in wanted}
    for name in ("limits", "cgroup", "oom_score_adj", "mountinfo", "comm", "loginuid", "sessionid",
                 "coredump_filter", "personality", "uid_map", "timerslack_ns"):
        try:
            said[name] = text(name)
        except OSError as error:
            said[name] = str(error)
    for name in ("cwd", "root", "exe", *(f"ns/{n}" for n in sorted(os.listdir("/proc/self/ns")))):
        said[name] = os.readlink(f"/proc/self/{name}")
    said["owner"] = [os.stat(f"/proc/self/{name}").st_uid for name in ("", "mem", "environ")]
    said["cmdline"] = masked(text("cmdline"))
    said["environ"] = sorted(masked(text("environ")).split("\0"))
    said["os.environ"] = sorted(f"{k}={masked(v)}" for k, v in os.environ.items())
    for number in range(3):
        said[f"descriptor {number}"] = os.readlink(f"/proc/self/fd/{number}").split(":")[0]
    kinds = [os.readlink(f"/proc/self/fd/{n}").split(":")[-1].lstrip("[0123456789")
             for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")]
    said["nice"] = os.getpriority(os.PRIO_PROCESS, 0)
    said["policy"] = os.sched_getscheduler(0)
    said["leader"] = (os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid())
    said["dumpable"] = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
    number = ctypes.c_int()
    said["death signal"] = [ctypes.CDLL(None).prctl(2, ctypes.byref(number), 0), number.value]
    for name in "argv orig_argv path flags prefix executable warnoptions".split():
        said[f"sys.{name}"] = masked(str(getattr(sys, name)))
    said["encodings"] = [sys.stdin.encoding, sys.__stdout__.encoding, sys.getfilesystemencoding()]
    return json.dumps([os.getppid(), kinds.count("pidfd]"), said])
print(probe())
"""
DRAW = """
import json, multiprocessing, random, secrets, tempfile, uuid
print(json.dumps([random.random(), secrets.token_hex(), uuid.uuid4().hex, tempfile.mktemp(),
                  bytes(multiprocessing.current_process().authkey).hex()]))
"""
# By hand, as somebody would who does not care for our client.
ATTACK = """
import array, json, os, socket
def attack(message, descriptors=4, seconds=8, kind=None):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(seconds)
    s.connect("/run/nursery/notebook")
    own = [kind() if kind else os.open("/", os.O_PATH) for _ in range(descriptors)]
    try:
        socket.send_fds(s, [message], own) if own else s.send(message)
        return s.recv(4096).decode()
    except OSError as error:
        return type(error).__name__
    finally:
        [os.close(d) for d in own]
        s.close()
def request(**said):
    python = "/opt/notebook/bin/python"
    whole = {"version": 1, "argv": [python, "-m", "this"], "env": dict(os.environ), "umask": 63}
    return json.dumps(whole | said).encode()
"""


@pytest.fixture(scope="module")
def student(guest: Guest) -> Iterator[Student]:
    guest.run(f"systemctl start {UNIT}")
    student = Student(guest.url, "lilith").sign_in().start()
    yield student
    guest.run(f"systemctl restart {UNIT}")
    student.stop()


@pytest.fixture(scope="module")
def kernel(student: Student) -> Kernel:
    return student.kernel()


def nursery(guest: Guest) -> int:
    return int(guest.run(f"systemctl show -P MainPID {UNIT}"))


def parent(kernel: Kernel) -> int:
    return int(kernel.run("import os; os.getppid()"))


def await_(condition: Callable[[], bool], patience: float = 30) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_forked_kernel_is_what_a_started_one_is(
    guest: Guest, student: Student, kernel: Kernel
) -> None:
    forked_by, watched, forked = json.loads(kernel.run(PROBE))
    assert forked_by == nursery(guest)
    guest.run(f"systemctl stop {UNIT}")
    try:
        other = student.kernel()
        started_by, unwatched, started = json.loads(other.run(PROBE))
    finally:
        guest.run(f"systemctl start {UNIT}")
    assert started_by not in {1, forked_by}
    assert (watched, unwatched) == (1, 0)  # of its server, with which it ends
    # Capabilities that nobody gets, as there are no new privileges.
    for name in ("status CapBnd", "status CapInh"):
        assert int(forked.pop(name), 16) == 0
        started.pop(name)
    differ = {
        name: (forked[name], started[name]) for name in started if forked[name] != started[name]
    }
    assert not differ, json.dumps(differ, indent=1)


# What the kernel shows of a session's server, by root; NAMES are those that may differ.
SHOW = """
import json, os, re, sys
place = f"/proc/{sys.argv[1]}"
def text(name):
    with open(f"{place}/{name}", errors="replace") as file:
        return re.sub(rf"\\b(?<!:){sys.argv[1]}\\b", "ME", file.read())
said = {name: text(name) for name in ("limits", "cgroup", "oom_score_adj", "comm", "cmdline",
        "environ", "coredump_filter", "personality", "uid_map", "loginuid")}
said |= {f"mount {n}": line.split(" ", 3)[3] for n, line in enumerate(
        sorted(text("mountinfo").splitlines(), key=lambda line: line.split()[4]))}
said |= dict(line.split(":", 1) for line in text("status").splitlines())
for name in ("root", "cwd", "exe", *(f"ns/{n}" for n in ("user", "pid", "net", "ipc", "uts"))):
    said[name] = os.readlink(f"{place}/{name}")
said["descriptors"] = sorted({os.readlink(f"{place}/fd/{n}").split(":")[0]
                              for n in os.listdir(f"{place}/fd") if int(n) < 3})
said["cgroup"] = re.sub("session-c[0-9]+", "session-X", said["cgroup"])
said["environ"] = re.sub("(API_TOKEN|STATE[^=]*)=[^\\0]*", "", said["environ"])
print(json.dumps(said))
"""
CHANGING = r"Vm|Rss|Hugetlb|Threads|.*ctxt|SigQ|State|PPid|FDSize"
SERVERS = "pgrep -x jupyterhub-sing | sed 's:.*:/proc/&/environ:'"


def server_of(guest: Guest, student: Student) -> int:
    """The number of a student's server."""
    return int(guest.run(f"grep -lz ^JUPYTERHUB_USER={student.name}$ $({SERVERS})").split("/")[2])


def account_of(guest: Guest, student: Student) -> str:
    return guest.run(f"stat -c %U /proc/{server_of(guest, student)}").strip()


def parent_of(guest: Guest, pid: int) -> int:
    return int(guest.run(f"ps -o ppid= -p {pid}"))


def said_by(guest: Guest, student: Student, since: str) -> str:
    """What a student's sessions have said since a time, in seconds."""
    words = f"--since=@{since.strip()} -t notebook-{student.name} -o cat"
    return guest.run(f"journalctl -q --namespace=sessions {words}")


def test_a_forked_server_is_what_a_started_one_is(guest: Guest) -> None:
    shown = {}
    for how in ("start", "stop"):
        guest.run(f"systemctl {how} {UNIT}")
        other = Student(guest.url, "eva").sign_in().start()
        pid = server_of(guest, other)
        assert (parent_of(guest, pid) == nursery(guest)) == (how == "start")
        shown[how] = json.loads(guest.run(f"python3 -c {shlex.quote(SHOW)} {pid}"))
        terminal = other.server("POST", "terminals", {})["name"]
        assert "42" in other.terminal(terminal, "echo $((6 * 7)); echo over")
        other.stop()
    guest.run(f"systemctl start {UNIT}")
    forked, started = shown["start"], shown["stop"]
    for name in ("CapBnd", "CapInh"):  # nobody gets any, as there are no new privileges
        assert int(forked.pop(name), 16) == 0
        started.pop(name)
    differ = {
        name: (forked.get(name), started.get(name))
        for name in started.keys() | forked.keys()
        if not re.match(CHANGING, name) and forked.get(name) != started.get(name)
    }
    assert not differ, json.dumps(differ, indent=1)


def test_a_server_ends_with_its_session_and_its_session_with_it(guest: Guest) -> None:
    other = Student(guest.url, "eva").sign_in()
    ends = {
        "the server dies": "kill -KILL $(pgrep -u {} -x jupyterhub-sing)",
        "what waits for it dies": "kill -KILL $(pgrep -u {} -x head)",
        "both, while there is no nursery": (
            f"systemctl kill -s KILL {UNIT}; systemctl restart {UNIT};"
            "kill -KILL $(pgrep -u {} -x jupyterhub-sing)"
        ),
    }
    for how, command in ends.items():
        other.start()
        account = account_of(guest, other)
        kernel = other.kernel()
        assert kernel.run("6 * 7") == "42", how
        guest.run(command.format(account))
        await_(lambda who=account: not guest.run(f"pgrep -u {who} || true").strip())
        await_(lambda: not other.ready())


def test_servers_outlive_their_nursery(guest: Guest) -> None:
    other = Student(guest.url, "eva").sign_in().start()
    pid, account = server_of(guest, other), account_of(guest, other)
    assert parent_of(guest, pid) == nursery(guest)
    kernel = other.kernel()
    kernel.run("x = 41")
    guest.run(f"systemctl kill -s KILL {UNIT}; systemctl restart {UNIT}")
    assert parent_of(guest, pid) != nursery(guest)
    assert kernel.run("x + 1") == "42"
    assert other.kernel().run("6 * 7") == "42"
    other.stop()
    await_(lambda: not guest.run(f"pgrep -u {account} || true").strip())


def test_the_sessions_ssh_server_may_start_anew(guest: Guest) -> None:
    """It makes the place of the nurseries, whose sockets stay their group's."""
    guest.run(f"systemctl restart {UNIT}; systemctl restart sshd-pool")
    guest.wait()
    other = Student(guest.url, "eva").sign_in().start()
    assert parent_of(guest, server_of(guest, other)) == nursery(guest)
    assert parent(other.kernel()) == nursery(guest)
    other.stop()


@pytest.mark.parametrize("how", ["stop", "kill -s STOP"])
def test_without_a_nursery_a_server_starts_as_before(guest: Guest, how: str) -> None:
    before = guest.run("date +%s")
    guest.run(f"systemctl {how} {UNIT}")
    try:
        other = Student(guest.url, "eva").sign_in().start()
        pid = server_of(guest, other)
        assert guest.run(f"ps -o comm= -p {parent_of(guest, pid)}").startswith("sshd")
    finally:
        guest.run(f"systemctl restart {UNIT}")
    other.stop()
    assert how == "stop" or f"{PLACE} forks no server" in said_by(guest, other, before)


def test_a_session_of_another_environment_is_not_forked(guest: Guest) -> None:
    """As after `upgrade notebook`: who sees the old environment gets nothing of the new one."""
    old, new = (Student(guest.url, name).sign_in() for name in ("eva", "naamah"))
    old.start()
    before = guest.run("date +%s")
    private = f"nsenter --mount=/proc/{server_of(guest, old)}/ns/mnt mount --make-rprivate /"
    other = "mount -t overlay -o lowerdir=/opt/notebook:/var/empty other /opt/notebook"
    guest.run(f"{private} && mkdir -p /var/empty && {other} && systemctl restart {UNIT}")
    try:
        kernel = old.kernel()
        assert kernel.run("6 * 7") == "42"
        assert parent(kernel) == server_of(guest, old)
        assert "is an environment of another day" in said_by(guest, old, before)
        new.start()
        assert parent_of(guest, server_of(guest, new)) == nursery(guest)
        assert parent(new.kernel()) == nursery(guest)
    finally:
        new.stop()
        old.stop()
        guest.run(f"umount -l /opt/notebook && systemctl restart {UNIT}")


def test_two_students_draw_different_numbers(guest: Guest, kernel: Kernel) -> None:
    mine = kernel.student.kernel()
    other = Student(guest.url, "naamah").sign_in().start()
    again = other.kernel()
    assert parent(mine) == parent(again) == nursery(guest)
    drawn, theirs = (json.loads(each.run(DRAW)) for each in (mine, again))
    assert not set(drawn) & set(theirs)
    other.stop()


def test_a_kernel_is_interrupted_restarted_and_ended(guest: Guest, student: Student) -> None:
    kernel = student.kernel()
    begun = time.monotonic()
    channel = student.channel(f"api/kernels/{kernel.id}/channels")
    code = "import time\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    told = True"
    header = {"msg_id": "i", "msg_type": "execute_request", "session": "i"}
    header |= {"username": "", "version": "5.3", "date": ""}
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
    channel.send(json.dumps({**message, "channel": "shell", "buffers": []}))
    time.sleep(2)
    student.server("POST", f"kernels/{kernel.id}/interrupt")
    assert kernel.run("told") == "True"
    assert time.monotonic() - begun < 50
    channel.close()
    before = int(kernel.run("import os; os.getpid()"))
    student.server("POST", f"kernels/{kernel.id}/restart")
    after = int(kernel.run("import os; os.getpid()"))
    assert after != before
    assert parent(kernel) == nursery(guest)
    guest.run(f"kill -KILL {after}")  # as who has no memory left
    await_(lambda: f"{after}" not in guest.run(f"ps -o pid= -p {after} || true"))
    again = int(kernel.run("import os; os.getpid()"))
    assert again not in {before, after}
    student.server("DELETE", f"kernels/{kernel.id}")
    await_(lambda: not guest.run(f"ps -o pid= -p {again} || true").strip())


def test_how_a_kernel_ended_is_told(kernel: Kernel) -> None:
    """By our client, with the face of Popen; a server that ends takes its kernels along."""
    told = kernel.run(
        "import os\nfrom pathlib import Path\n"
        "from provision.guest.nursery.client import fork\n"
        f"place = Path({PLACE!r})\n"
        "def ended(*words, number=0):\n"
        "    python = '/opt/notebook/bin/python'\n"
        "    child = fork(place, [python, '-m', *words], os.environ, '/tmp')\n"
        "    number and child.send_signal(number)\n"
        "    return child.wait(20)\n"
        "open('/tmp/seven.py', 'w').write('raise SystemExit(7)')\n"
        "open('/tmp/sleeper.py', 'w').write('import time; time.sleep(60)')\n"
        "print(ended('seven'), ended('sleeper', number=9), ended('sleeper', number=15))"
    )
    assert told == "7 -9 -15\n"


def test_who_gives_a_kernel_up_ends_it(guest: Guest, kernel: Kernel) -> None:
    pid = int(
        kernel.run(
            "argv = ['/opt/notebook/bin/python', '-m', 'sleeper']\n"
            "child = fork(place, argv, os.environ, '/tmp')\n"
            "child._connection.close(); print(child.pid)"
        )
    )
    await_(lambda: not guest.run(f"ps -o pid= -p {pid} || true").strip())


def test_kernels_outlive_their_nursery(guest: Guest, student: Student) -> None:
    kernel = student.kernel()
    kernel.run("x = 41")
    pid = int(kernel.run("import os; os.getpid()"))
    guest.run(f"systemctl kill -s KILL {UNIT}; systemctl reset-failed {UNIT}")
    guest.run(f"systemctl restart {UNIT}")
    time.sleep(2)
    assert kernel.run("x + 1") == "42"
    student.server("DELETE", f"kernels/{kernel.id}")
    await_(lambda: not guest.run(f"ps -o pid= -p {pid} || true").strip())


@pytest.mark.parametrize("how", ["stop", "kill -s STOP"])
def test_without_a_nursery_a_kernel_starts_as_before(
    guest: Guest, student: Student, how: str
) -> None:
    cursor = guest.run("date +%s").strip()
    guest.run(f"systemctl {how} {UNIT}")
    try:
        kernel = student.kernel()
        assert kernel.run("6 * 7") == "42"
        assert guest.run(f"ps -o comm= -p {parent(kernel)}").startswith("jupyterhub")
        if how != "stop":  # who says nothing is started anew
            hung = nursery(guest)
            await_(lambda: nursery(guest) not in {0, hung}, 60)
    finally:
        guest.run(f"systemctl restart {UNIT}")
    said = f"journalctl -q --namespace=sessions --since=@{cursor} -t notebook-lilith -o cat"
    assert f"No kernel is forked by {PLACE}" in guest.run(said)


@pytest.mark.parametrize(
    "code",
    [
        "attack(b'')",
        "attack(b'nonsense')",
        "attack(b'[' * 100000)",
        "attack(b'x' * 200000)",
        "attack(request(version=0))",
        "attack(request(umask=-1))",
        "attack(request(umask='7'))",
        "attack(request(argv=[]))",
        "attack(request(argv=['/bin/sh', '-m', 'this']))",
        "attack(request(argv=['/opt/notebook/bin/python', '-c', 'pass']))",
        "attack(request(argv=[7]))",
        "attack(request(env={'A=B': 'x', 'HOME': '/'}))",
        "attack(request(env={'A': 'x\\0y', 'HOME': '/'}))",
        "attack(request(env=dict(os.environ) | {'LD_PRELOAD': '/tmp/x.so'}))",
        "attack(request(env=dict(os.environ) | {'PYTHONPATH': '/tmp'}))",
        "attack(request(), descriptors=0)",
        "attack(request(), descriptors=3)",
        "attack(request(), descriptors=200)",
        "attack(request(), kind=lambda: socket.socket(socket.AF_UNIX).detach())",
        "attack(request(), kind=lambda: os.eventfd(0))",
    ],
)
def test_what_is_no_request_is_refused(guest: Guest, kernel: Kernel, code: str) -> None:
    before = nursery(guest)
    kernel.run(ATTACK)
    told = kernel.run(code)
    assert "pid" not in told, told
    assert "status" in told or "refused" in told or "Error" in told or told == "''"
    assert nursery(guest) == before
    time.sleep(0.6)  # twenty in ten seconds are all that an account gets


def test_a_request_says_nothing_about_who_asks(guest: Guest, kernel: Kernel) -> None:
    """Whatever it names: who connected is the account, and so is the child."""
    time.sleep(10)
    mine = int(kernel.run("import os; os.getuid()"))
    pid = int(
        kernel.run(
            f"{ATTACK}\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
            f"s.connect({PLACE!r})\n"
            "lie = {'uid': 0, 'gid': 0, 'pid': 1, 'groups': [0]}\n"
            "env = dict(os.environ) | {'USER': 'root'}\n"
            "argv = ['/opt/notebook/bin/python', '-m', 'sleeper']\n"
            "ds = [0, 1, 2, os.open('/tmp', os.O_PATH)]\n"
            "socket.send_fds(s, [request(argv=argv, env=env, **lie)], ds)\n"
            "json.loads(s.recv(999))['pid']"
        )
    )
    shown = dict(
        line.split(":", 1)
        for line in guest.run(f"cat /proc/{pid}/status").splitlines()
        if ":" in line
    )
    assert set(shown["Uid"].split()) == {str(mine)}
    assert "0" not in shown["Groups"].split()
    assert int(shown["CapPrm"], 16) == int(shown["CapBnd"], 16) == 0
    kernel.run("s.close()")
    await_(lambda: not guest.run(f"ps -o pid= -p {pid} || true").strip())


def test_a_child_that_waits_holds_nothing_of_others(guest: Guest, kernel: Kernel) -> None:
    """The account may look into it, and take its descriptors, from when it is the account's."""
    other = Student(guest.url, "naamah").sign_in().start()
    neighbours = [other.kernel() for _ in range(2)]
    assert [parent(each) for each in neighbours] == [nursery(guest)] * 2
    told = kernel.run(
        f"{ATTACK}\nimport time\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        f"s.connect({PLACE!r}); time.sleep(1)\n"
        "def held(pid):\n"
        "    try:\n"
        "        place = f'/proc/{pid}/fd'\n"
        "        return [os.readlink(f'{place}/{n}') for n in os.listdir(place)]\n"
        "    except OSError:\n"
        "        return []\n"
        "started = {int(p): open(f'/proc/{p}/stat').read().rpartition(')')[2].split()[19]\n"
        "           for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid()}\n"
        "last = max(started, key=lambda p: int(started[p]))\n"
        "print(sorted(link.split(':')[0] for link in held(last))); s.close()"
    )
    assert told == "['/dev/null', '/dev/null', '/dev/null', 'anon_inode', 'socket']\n"
    other.stop()


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("notebook", "PermissionError"),
        ("nobody", "PermissionError"),
        ("sageadm", "it is no account for sessions"),  # is in the pool's group, too
        ("root", "it is no account for sessions"),
    ],
)
def test_only_pool_accounts_may_ask(guest: Guest, user: str, said: str) -> None:
    code = (
        f"import socket as s; c = s.socket(s.AF_UNIX, s.SOCK_SEQPACKET); c.connect({PLACE!r}); "
        "print(c.recv(999))"
    )
    assert said in guest.run(f'runuser -u {user} -- python3 -c "{code}" 2>&1 || true')


def test_an_account_outside_a_session_gets_nothing(guest: Guest) -> None:
    """The same account, but not in the sandbox of sessions: by no way that a student has."""
    code = (
        "from pathlib import Path; from provision.guest.nursery.client import fork; import os; "
        f"fork(Path({PLACE!r}), ['/opt/notebook/bin/python', '-m', 'this'], os.environ, '/');"
        " print(9 * '=')"
    )

    def refuses() -> bool:  # a nursery that is busy answers later than it is waited for
        told = guest.run(f'runuser -u nb3 -- /opt/notebook/bin/python -c "{code}" 2>&1 || true')
        assert "=========" not in told
        return "it is not in the sandbox of sessions" in told

    await_(refuses)


def test_a_flood_stops_nobody_else(guest: Guest, kernel: Kernel) -> None:
    kernel.run(ATTACK)
    begun = "kept = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(300)]\n"
    kernel.run(f"{begun}for s in kept: s.settimeout(5); s.connect({PLACE!r})")
    other = Student(guest.url, "naamah").sign_in().start()
    calm = other.kernel()
    assert calm.run("6 * 7") == "42"
    assert parent(calm) == nursery(guest)
    kernel.run("for s in kept: s.close()")
    other.stop()
    await_(lambda: int(guest.run(f"ps --no-headers --ppid {nursery(guest)} | wc -l")) < 8)
    assert int(guest.run(f"ls /proc/{nursery(guest)}/fd | wc -l")) < 40


# Left in a nursery's hands: sockets that whoever closes them last waits for, for ever.
LINGER = """
import os, socket, struct, sys
kept = []
for _ in range(8):
    sent = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    sent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 30000))
    sent.setblocking(False)
    try:
        while sent.send(bytes(1 << 20)):
            pass
    except BlockingIOError:
        pass
    left = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    left.connect("/run/nursery/notebook")
    kept += [sent, left]
    for _ in range(2):  # the first is taken
        try:
            socket.send_fds(left, [b"x"], [sent.fileno()])
        except OSError:
            break
os._exit(0)  # whoever is ending waits for none
"""
# Modules that a kernel may be; each would leave something that waits for the nursery for ever.
ENDLESS = {
    "traced": "libc.ptrace(0, 0, 0, 0); os.kill(os.getpid(), 19)",
    "threads": (
        "import threading\n"
        "one = threading.Thread(target=lambda: libc.ptrace(0, 0, 0, 0))\n"
        "one.start(); one.join()"
    ),
    "siblings": (
        "for _ in range(20):\n    if libc.syscall(56, 0x8000 | 17, 0, 0, 0, 0) == 0: os._exit(0)"
    ),
}


def test_no_socket_keeps_a_nursery_waiting(guest: Guest, kernel: Kernel) -> None:
    time.sleep(10)
    kernel.run(
        "import socket, subprocess, sys\n"
        "listener = socket.create_server(('127.0.0.1', 0), backlog=8)\n"  # reads nothing
        "port = str(listener.getsockname()[1])\n"
        f"subprocess.run([sys.executable, '-c', {LINGER!r}, port]); ''"
    )
    other = Student(guest.url, "naamah").sign_in().start()
    calm = other.kernel()
    assert calm.run("6 * 7") == "42"
    assert parent(calm) == nursery(guest)
    kernel.run("listener.close()")
    other.stop()


@pytest.mark.parametrize("how", ENDLESS)
def test_whatever_a_kernel_leaves_goes_with_it(guest: Guest, kernel: Kernel, how: str) -> None:
    """Zombies that wait for the nursery would keep the account closed."""
    code = f"import ctypes, os\nlibc = ctypes.CDLL(None)\n{ENDLESS[how]}\n"
    kernel.run(f"open('/tmp/{how}.py', 'w').write({code!r})")
    kernel.run(
        "import os\nfrom pathlib import Path\nfrom provision.guest.nursery.client import fork\n"
        f"argv = ['/opt/notebook/bin/python', '-m', {how!r}]\n"
        f"print(fork(Path({PLACE!r}), argv, os.environ, '/tmp').wait(20))"
    )
    await_(lambda: "Z" not in guest.run("ps -o stat= -u nb1,nb2,nb3"), 5)


def test_nobody_reaches_the_nursery_or_a_sibling(guest: Guest, kernel: Kernel) -> None:
    other = Student(guest.url, "naamah").sign_in().start()
    sibling = int(other.kernel().run("import os; os.getpid()"))
    for pid in (nursery(guest), sibling):
        told = kernel.run(
            "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"
            "space = ctypes.create_string_buffer(16)\n"
            "class Part(ctypes.Structure):\n"
            "    _fields_ = (('at', ctypes.c_void_p), ('n', ctypes.c_size_t))\n"
            "here = Part(ctypes.addressof(space), 16); there = Part(id(libc), 16)\n"
            f"print(libc.ptrace(16, {pid}, 0, 0), libc.ptrace(0x4206, {pid}, 0, 0), "
            f"libc.process_vm_readv({pid}, ctypes.byref(here), 1, ctypes.byref(there), 1, 0), "
            f"libc.process_vm_writev({pid}, ctypes.byref(here), 1, ctypes.byref(there), 1, 0), "
            f"libc.syscall(438, libc.syscall(434, {pid}, 0), 3, 0), "
            f"os.path.exists('/proc/{pid}'))"
        )
        assert told == "-1 -1 -1 -1 -1 False\n"
        said = kernel.shell(
            f"kill -9 {pid}; kill -STOP {pid}; ls /proc/{pid}; cat /proc/{pid}/maps"
        )
        assert "Operation not permitted" in said
        assert "python" not in said
    assert "nursery" not in kernel.shell("cat /proc/*/cmdline /proc/*/environ | tr '\\0' '\\n'")
    assert "home-of-the-nursery" not in kernel.run(
        "import gc, sys\nfor o in gc.get_objects():\n"
        "    for v in (o.values() if type(o) is dict else o if type(o) in (list, tuple) else ()):\n"
        "        if type(v) is str and v[5:13] == 'home-of-': print(v)"
    )
    other.stop()
