"""Facts about a short exam, gathered inside the guest as root.

A course that there is not has one made-up student. The student's sessions are opened by what the
hub opens them with, as its user, for a program in the server's place: before the exam it lays up
what would help, in the exam it looks for that, and afterwards again.

The course is in the record by a mount alone, so that a restart forgets it. All of it is removed at
the end, and by a process beside this one where this one has no end of its own; what is left of a
power cut is removed first.
"""

import contextlib
import datetime
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

ASKED = json.loads(sys.argv[1])
COURSE, STUDENT, EXAM = "verify-course", "verify-examinee", "exam"
CONTAINED = subprocess.call(["systemd-detect-virt", "--quiet", "--container"]) == 0
PATIENCE = 300.0  # an emulated guest is slow
RECORD, STATE = Path("/etc/notebook/guest.json"), Path("/var/lib/notebook")
CLOSED = Path("/run/notebook-exams")
DIRECTORY = Path(ASKED["directory"])
PLACE = DIRECTORY / ".courses" / COURSE
PYTHON = ("/opt/notebook/bin/python", "-I", "-c")
CRIB, SAVED, SOLUTION, FRIEND = "verify-crib", "saved-4711", "solution-0815", "verify-friend"
ASSIGNMENTS = "notebook-assignments"
MINUTES = 60

# By the guest's own programs.
PLACES = """
import sys
from pathlib import Path
from provision.guest.pool.courses import read_courses, views
directory, student = Path(sys.argv[1]), sys.argv[2]
list(views(directory, student, read_courses(directory)))
"""
OPEN = """
import asyncio, json, sys
from pathlib import Path
from provision.guest import record
from provision.guest.pool.connection import account_of, connect
from provision.guest.pool.leases import Leases
state, request = Path("/var/lib/notebook"), json.load(sys.stdin)
accounts = [each for each in record.read().accounts if account_of(each).local]
taken = Leases(state / "leases", accounts).take(request["student"])
if taken is None:
    sys.exit("no account is free")
entry, file = taken
process = asyncio.run(
    connect(entry, file.fileno(), request, key=str(state / "id_ed25519"), state=state)
)
file.close()
print(account_of(entry).user, flush=True)
sys.exit(process.wait())
"""
CLEAR = """
import pwd, sys
from pathlib import Path
from provision.guest import record
from provision.guest.pool.exams import close_network, exams_by_account
from provision.guest.pool.leases import Leases
from provision.waiting import until
course, student = sys.argv[1:]
def theirs():
    leases = Leases(Path("/var/lib/notebook/leases"), record.read().accounts)
    return [lease for lease in leases if lease.student == student]
for lease in theirs():
    lease.end()
until(lambda: not theirs(), 60)
for account, exam in exams_by_account().items():
    if exam.startswith(f"{course}/"):
        close_network(account, pwd.getpwnam(account).pw_uid, None)
"""
# In the student's session.
LOOK = """
import glob, json, os, shutil, socket, subprocess, sys, time, urllib.error, urllib.request
from concurrent.futures import ThreadPoolExecutor
asked = json.loads(sys.argv[1])
home, crib = os.path.expanduser("~"), asked["crib"]
own = [f"{home}/crib", f"{home}/notes/crib", f"{home}/.config/crib"]
memory = ["/tmp/crib", "/var/tmp/crib", "/dev/shm/crib"]
kernel = f"{home}/.local/share/jupyter/kernels/{crib}/kernel.json"
if asked["plant"]:
    for path in (*own, *memory, kernel):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            json.dump({"argv": ["/bin/true"], "display_name": crib, "language": "none"}, file)
    rest = "import time; print(flush=True); time.sleep(3600)"
    left = subprocess.Popen([sys.executable, "-c", rest, crib], stdout=subprocess.PIPE,
                            start_new_session=True)
    left.stdout.readline()
found = []
def see(what, there):
    if there:
        found.append(what)
def reaches(address, port):
    try:
        socket.create_connection((address, port), 3).close()
        return True
    except OSError:
        return False
def commands():
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path) as file:
                yield file.read()
        except OSError:
            pass
def meets():
    try:
        with socket.socket(socket.AF_UNIX) as friend:
            friend.settimeout(9)
            friend.connect(chr(0) + asked["friend"])
            return friend.recv(99)
    except OSError:
        return b""
see("own files", any(map(os.path.exists, own)))
see("what was left in memory", any(map(os.path.exists, memory)))
see("a process from before", any(each.endswith(chr(0) + crib + chr(0)) for each in commands()))
see("the course's files", glob.glob(f"{home}/../courses/*/material/crib"))
see("another's socket", meets())
for name in ("git", "rclone", "ssh", "scp", "sftp", "curl", "wget"):
    see(f"the program {name}", shutil.which(name))
doors = [(address, port) for address in asked["outside"] for port in (53, 80, 443)]
with ThreadPoolExecutor(len(doors)) as at_once:  # each that does not answer takes its seconds
    tried = list(at_once.map(lambda door: reaches(*door), doors))
for address in asked["outside"]:
    see(f"the network at {address}", any(t for t, door in zip(tried, doors) if address in door))
see("downloads, stores and servers by the proxy", reaches("127.0.0.1", asked["egress"]))
# The notebook's server, told what the exam has it told.
words = ["--ServerApp.token=own", "--ServerApp.ip=127.0.0.1", "--ServerApp.open_browser=False"]
command = ["/opt/notebook/bin/python", "-m", "jupyter_server", *words, *sys.argv[2:]]
server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
runtime = os.environ["JUPYTER_RUNTIME_DIR"]
def ask(method, path):
    with open(f"{runtime}/jpserver-{server.pid}.json") as file:
        port = json.load(file)["port"]
    url, data = f"http://127.0.0.1:{port}/api/{path}", b"{}" if method == "POST" else None
    headers = {"Authorization": "token own", "Content-Type": "application/json"}
    try:
        request = urllib.request.Request(url, data, headers, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            return json.load(answer)
    except urllib.error.HTTPError:
        return {}
deadline = time.monotonic() + asked["patience"]
while True:
    try:
        specs = ask("GET", "kernelspecs")
        break
    except (OSError, ValueError):
        if time.monotonic() > deadline or server.poll() is not None:
            specs = {"kernelspecs": {"a server that does not start": 0}}
            break
        time.sleep(0.2)
names = sorted(specs.get("kernelspecs", {}))
if server.poll() is None:
    see("a terminal", ask("POST", "terminals"))
for name in names:
    see("another kernel" if name == crib else f"the kernel {name}", name != "python3")
server.kill()
paper = "work.ipynb"
text = open(paper).read() if os.path.exists(paper) else ""
if text:
    told = json.loads(text)
    told["cells"].append({"cell_type": "code", "source": asked["saved"], "outputs": [],
                          "metadata": {}, "execution_count": None, "id": "added"})
    with open(paper + ".new", "w") as file:
        json.dump(told, file)
    os.rename(paper + ".new", paper)
with open(asked["told"] + ".new", "w") as file:
    json.dump({"found": found, "paper": text, "kernels": names}, file)
os.rename(asked["told"] + ".new", asked["told"])
time.sleep(36000)
"""
PAPER: dict[str, Any] = {
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    "nbformat": 4,
    "nbformat_minor": 5,
    "cells": [
        {
            "cell_type": "code",
            "id": "answer",
            "execution_count": None,
            "outputs": [],
            "source": f"### BEGIN SOLUTION\n# {SOLUTION}\n### END SOLUTION",
            "metadata": {
                "nbgrader": {
                    **{"schema_version": 3, "grade_id": "answer", "grade": True, "points": 1},
                    **{"solution": True, "locked": False},
                }
            },
        }
    ],
}


def run(*argv: str) -> str:
    """What a command prints.

    Raises:
        RuntimeError: it failed; with its last words.
    """
    done = subprocess.run(argv, text=True, stdin=subprocess.DEVNULL, capture_output=True)  # noqa: PLW1510
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv[:3])[:80]}: {(done.stderr or done.stdout)[-400:]}")
    return done.stdout


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> bool:
    """Wait for a condition; tell whether it came true."""
    deadline = time.monotonic() + seconds
    while not (holds := bool(condition())) and time.monotonic() < deadline:
        time.sleep(0.2)
    return holds


class Session:
    """A session of the student's, as the hub opens it.

    Args:
        name: of the file in which it says what it has seen.
        plant: lay up first what would help.
    """

    def __init__(self, name: str, *, plant: bool = False) -> None:
        asked = {
            **{"plant": plant, "crib": CRIB, "friend": FRIEND, "saved": SAVED, "told": name},
            **{"egress": ASKED["egress"], "outside": [*gateways(), "192.0.2.1"]},
            "patience": PATIENCE / 2,
        }
        request = {"student": STUDENT, "env": {}}
        request |= {"argv": ["/usr/bin/python3", "-c", LOOK, json.dumps(asked)]}
        owner = STATE.stat()
        self._name = name
        self._process = subprocess.Popen(
            [*PYTHON, OPEN],
            user=owner.st_uid,
            group=owner.st_gid,
            extra_groups=[],
            umask=0o077,
            cwd="/",
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdin  # noqa: S101 - for mypy
        assert self._process.stdout  # noqa: S101 - likewise
        self._process.stdin.write(json.dumps(request))
        self._process.stdin.close()
        self.account = self._process.stdout.readline().strip()

    def is_over(self) -> bool:
        """Whether it has."""
        return self._process.poll() is not None

    def report(self) -> dict[str, Any]:
        """What it has seen.

        Raises:
            RuntimeError: it did not open, or has seen nothing.
        """

        def files() -> list[Path]:
            work = [*(PLACE / "exam" / EXAM).glob(f"{STUDENT}.*"), DIRECTORY / STUDENT]
            return [at / self._name for at in work if (at / self._name).exists()]

        until(lambda: files() or self.is_over())
        if not files():
            why = subprocess.run(
                ["journalctl", "-q", "-t", "notebook-account", "-o", "cat", "-n", "3"],
                text=True, check=False, capture_output=True,
            ).stdout  # fmt: skip
            raise RuntimeError(f"no session of {STUDENT} on {self.account or 'no account'}: {why}")
        seen: dict[str, Any] = json.loads(files()[0].read_text())
        return seen


def gateways() -> list[str]:
    """The addresses by which the machine reaches others."""
    routes = [line.split() for line in Path("/proc/net/route").read_text().splitlines()]
    numbers = [bytes.fromhex(route[2]) for route in routes if route[1] == "00000000"]
    return [".".join(str(byte) for byte in reversed(number)) for number in numbers]


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Be somebody else on this machine who answers, by a name that needs no file."""
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(f"\0{FRIEND}")
        door.listen()

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    visitor, _ = door.accept()
                    with contextlib.suppress(OSError), visitor:
                        visitor.sendall(CRIB.encode())

        threading.Thread(target=answer, daemon=True).start()
        yield


def add_course() -> None:
    """Have the guest know the course, and make its places and its exam."""
    told = json.loads(RECORD.read_text())
    course = {"members": [STUDENT], "teachers": [], "quota": 50 << 20}
    told["courses"] = {**told.get("courses", {}), COURSE: course}
    changed, before = Path(f"/run/{COURSE}.json"), RECORD.stat()
    changed.write_text(json.dumps(told))
    os.chown(changed, before.st_uid, before.st_gid)
    changed.chmod(before.st_mode & 0o777)
    run("mount", "--bind", str(changed), str(RECORD))
    changed.unlink()
    run(*PYTHON, PLACES, str(DIRECTORY), STUDENT)
    owner = (PLACE / "material").stat().st_uid
    (PLACE / "source" / EXAM).mkdir()
    (PLACE / "source" / EXAM / "work.ipynb").write_text(json.dumps(PAPER))
    (PLACE / "material/crib").write_text(CRIB)
    for path in (PLACE / "source").rglob("*"):
        os.chown(path, owner, owner)
    os.chown(PLACE / "material/crib", owner, owner)


def clear() -> list[str]:
    """Remove all that there is of the course, its student and its exam; what is left."""
    subprocess.run([*PYTHON, CLEAR, COURSE, STUDENT], check=False, stderr=subprocess.DEVNULL)
    while subprocess.call(["umount", "-l", str(RECORD)], stderr=subprocess.DEVNULL) == 0:
        pass  # of each run that was cut off
    if COURSE in json.loads(RECORD.read_text()).get("courses", {}):
        sys.exit(f"{COURSE} is a course of this appliance, and would be removed: rename it")
    for path in (PLACE, DIRECTORY / STUDENT, Path(f"/run/{COURSE}.json")):
        shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):
            path.unlink()
    left = [path for path in (PLACE, DIRECTORY / STUDENT) if path.exists()]
    left += [path for path in (RECORD, *CLOSED.glob("*.nft")) if COURSE in path.read_text()]
    return [str(path) for path in left]


@contextlib.contextmanager
def guarding() -> Iterator[None]:
    """Be the only one, and have all cleared away even by who kills us: a child sees us end.

    Raises:
        RuntimeError: another one is at work.
    """
    with socket.socket(socket.AF_UNIX) as turn:  # the child's, too: who comes next waits for both

        def is_ours() -> bool:
            with contextlib.suppress(OSError):
                turn.bind(f"\0{COURSE}")
                return True
            return False

        if not until(is_ours):
            raise RuntimeError("another check of an exam goes on")
        if os.getpgrp() != os.getpid():
            os.setpgid(0, 0)
        ours, others = os.getpid(), os.pipe()
        child = os.fork()
        if not child:
            os.close(others[1])
            guard(others[0], ours)
        os.close(others[0])
        try:
            yield
        finally:
            os.write(others[1], b"cleared")
            os.close(others[1])
            os.waitpid(child, 0)


def guard(end: int, group: int) -> NoReturn:
    """Wait until the process at the other end of a pipe ends; clear away, if it has not.

    Args:
        end: ours, which tells.
        group: of that process, and of what it has started for itself.
    """
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):  # the way here waits until nobody has its ends
        os.dup2(nothing, stream)
    try:
        if not os.read(end, 1):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
            clear()
    finally:
        os._exit(0)


def moment(minutes: float) -> str:
    """A time so far from now, as root types it."""
    at = datetime.datetime.now() + datetime.timedelta(minutes=minutes)
    return at.isoformat(timespec="seconds")


def is_shut(account: str) -> bool:
    """Whether the firewall has closed an account's network."""
    uid = str(pwd.getpwnam(account).pw_uid)
    shown = run("/usr/sbin/nft", "list", "set", "inet", "notebook", "closed")
    return uid in shown.replace(",", " ").split()


def hold() -> dict[str, Any]:
    """Hold the exam; what was seen."""
    add_course()
    first = Session("before.json", plant=True)
    facts: dict[str, Any] = {"before": first.report()["found"]}
    begin, due = moment(-1), moment(MINUTES)
    run(ASSIGNMENTS, "release", COURSE, EXAM, "--from", begin, "--due", due)
    facts["begun"] = until(first.is_over)
    session = Session("during.json")
    seen = session.report()
    facts["during"] = seen["found"]
    facts["paper"] = "cells" in seen["paper"] and SOLUTION not in seen["paper"]
    facts["kernels"] = seen["kernels"]
    facts["closed"] = is_shut(session.account)
    run(ASSIGNMENTS, "extra", COURSE, EXAM, STUDENT, str(-MINUTES - 1))
    facts["ended"] = until(session.is_over)
    grades = PLACE / "grades" / EXAM

    def hand_ins() -> list[Path]:
        return [*grades.glob(f"{STUDENT}.*/0001/handed/work.ipynb")]

    until(hand_ins)
    facts["handed"] = any(SAVED in path.read_text() for path in hand_ins())
    facts["unchanged"] = subprocess.call([ASSIGNMENTS, "check", COURSE, EXAM]) == 0
    for path in hand_ins():
        path.write_text(path.read_text() + "\n")
    answer = subprocess.run([ASSIGNMENTS, "check", COURSE, EXAM], check=False, capture_output=True)
    facts["noticed"] = answer.returncode != 0
    last = Session("after.json")
    facts["after"] = last.report()["found"]
    facts["opened"] = not is_shut(last.account)
    return facts


def main() -> None:
    """Print the facts."""
    for number in (signal.SIGTERM, signal.SIGHUP):  # the way here was cut off
        signal.signal(number, lambda *_: sys.exit(1))
    os.umask(0o077)
    if CONTAINED and not os.path.ismount(DIRECTORY):  # see notebook.py
        students = ["mount", "-t", "tmpfs", "-o", "mode=0711", "tmpfs", str(DIRECTORY)]
        subprocess.run(students, check=True)
        subprocess.run(["systemctl", "restart", "sshd-pool", "notebook-exams"], check=False)
    facts: dict[str, Any] = {}
    left: list[str] = []
    try:
        with guarding():
            clear()
            try:
                with answering():
                    facts = hold()
            except (RuntimeError, OSError, KeyError, ValueError) as error:
                facts["error"] = str(error)
            finally:
                left = clear()
    except RuntimeError as error:
        facts["error"] = str(error)
    json.dump({**facts, "left": left}, sys.stdout)


main()
