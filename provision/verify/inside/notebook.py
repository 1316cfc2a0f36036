"""Facts about the notebook, gathered inside the guest as root: `python3 - JSON < notebook.py`.

Two made-up students get sessions as the hub gives them: by a certificate of the pool's key, on an
account of the pool. One leaves treasures; the other tries all that a session must not be able
to do, and writes down what it could. Both are removed afterwards.
"""

import base64
import ctypes
import json
import os
import pwd
import re
import resource
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ASKED = json.loads(sys.argv[1])
STUDENTS = ("verify-victim", "verify-mallory")
CONTAINED = subprocess.call(["systemd-detect-virt", "--quiet", "--container"]) == 0
PATIENCE = 300.0  # an emulated guest is slow
PORTS = {"owner": 2200, "proxy": 8001}
VISITS = 1100  # connections that one address tries to have open
QUOTACTL_FD, GET_USER_QUOTA = 443, 0x800007 << 8  # x86-64; QCMD(Q_GETQUOTA, USRQUOTA)

# What the victim leaves, then waits.
VICTIM = """
import os, socket, time
for place in ("treasure", "/tmp/treasure", "/var/tmp/treasure", "/dev/shm/treasure", "../treasure"):
    with open(place, "w") as file:
        file.write("treasure")
    os.chmod(place, 0o666)
server = socket.create_server(("127.0.0.1", 0))
with open("victim.json", "w") as file:
    file.write('{"pid": %d, "port": %d}' % (os.getpid(), server.getsockname()[1]))
os.environ["TREASURE"] = "treasure"
for n in range(36000):
    with open("tick", "w") as file:
        file.write(str(n))
    time.sleep(0.1)
"""

# What the other tries; every True is a broken promise.
MALLORY = """
import ctypes, glob, json, os, resource, signal, socket, subprocess, sys, time
asked = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
def reads(*paths):
    found = []
    for path in paths:
        try:
            with open(path, "rb") as file:
                file.read(1)
                found.append(path)
        except OSError:
            pass
    return found
def reaches(address, port, kind=socket.SOCK_STREAM):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, kind) as probe:
            probe.settimeout(3)
            probe.connect((address, port))
            probe.send(b"x")
            return True
    except OSError:
        return False
def runs(command):
    done = subprocess.run(["/bin/sh", "-c", command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
    return done.returncode == 0
victim, pid = asked["victim"], asked["pid"]
treasures = [f"{asked['directory']}/verify-victim/treasure", f"/home/{victim}/work/treasure",
             f"/home/{victim}/treasure", "/tmp/treasure", "/var/tmp/treasure",
             "/dev/shm/treasure", "../treasure", f"/proc/{pid}/cwd/treasure",
             f"/proc/{pid}/root/tmp/treasure"]
mine = {os.getuid()}
owners = {os.stat(f"/proc/{name}").st_uid for name in os.listdir("/proc") if name.isdigit()}
secrets = ["/var/lib/notebook/jupyterhub.sqlite", "/var/lib/notebook/cookie-secret",
           "/var/lib/notebook/accounts.json", "/var/lib/notebook/proxy-token",
           "/var/lib/notebook/first-password", "/var/lib/notebook/id_ed25519",
           f"/home/{asked['admin']}/.ssh/id_ed25519",
           "/etc/notebook/guest.json", "/etc/notebook/students.json",
           "/etc/shadow", "/etc/ssh/ssh_host_ed25519_key", "/proc/1/environ", "/dev/mem",
           *glob.glob("/dev/sd?")]
powers = {
    "sudo": "sudo -n true", "su": f"su -c true {asked['admin']}",
    "crontab": "echo '* * * * * true' | crontab -", "at": "echo true | at now",
    "systemd --user": "systemd-run --user true", "systemctl": "systemctl poweroff",
    "mount": "mount -t tmpfs tmpfs /mnt", "umount": "umount /tmp", "dmesg": "dmesg",
    "user namespace": "unshare -Ur true", "network namespace": "unshare -n true",
    "sysctl": "echo 1 > /proc/sys/kernel/sysrq", "system files": "echo x >> /etc/passwd",
    "notebook's files": "touch /opt/notebook/x", "cgroups": "mkdir /sys/fs/cgroup/x",
    "pool ssh": "ssh -o BatchMode=yes -p 2200 nb1@localhost true",
    "mail": "echo x | mail -s x root && test -s /var/mail/root",
}
served = socket.create_server(("127.0.0.1", 0))
facts = {
    "files": reads(*treasures),
    "directory": runs(f"ls {asked['directory']}"),
    "processes": sorted(owners - mine),
    "environment": reads(f"/proc/{pid}/environ", f"/proc/{pid}/maps"),
    "connection_files": [path for path in glob.glob("/home/*/**/kernel*.json", recursive=True)
                         if not path.startswith(os.path.expanduser("~"))],
    "ptrace": libc.ptrace(16, pid, 0, 0) == 0,
    "kill": runs(f"kill -0 {pid}"),
    "victims_port": reaches("127.0.0.1", asked["port"]),
    "services": [port for port in (22, 25, 2200, 8000, 8001, 8443) if reaches("127.0.0.1", port)
                 or reaches("::1", port)],
    "api": reaches("127.0.0.1", 8081),
    "own": reaches("127.0.0.1", served.getsockname()[1]),
    "outside": [f"{a}:{p}" for a in asked["outside"] for p in (25, 53, 80, 443) if reaches(a, p)],
    "udp": reaches("192.0.2.1", 53, socket.SOCK_DGRAM),
    "secrets": reads(*secrets),
    "usage": reads("/run/notebook-usage/now.json", "/run/notebook-usage/history.json",
                   f"/run/notebook-usage/{victim}/usage.json"),
    "powers": [name for name, command in powers.items() if runs(command)],
    "kernel_objects": [n for n, made in (("shm", libc.shmget(0, 4096, 0o1666)),
                                         ("msg", libc.msgget(0, 0o1666)),
                                         ("sem", libc.semget(0, 1, 0o1666))) if made != -1],
    "bus": os.path.exists("/run/dbus/system_bus_socket")
           or os.access("/run/systemd/journal/socket", os.W_OK),
}
try:
    taken = socket.create_server(("127.0.0.1", asked["victims_own_port"]))
    facts["took_port"] = True
except OSError:
    facts["took_port"] = False
try:
    with open("big", "wb") as file:
        for _ in range(asked["quota"] // (1 << 20) + 8):
            file.write(bytes(1 << 20))
    facts["quota"] = "none"
except OSError as error:
    facts["quota"] = os.strerror(error.errno)
if os.path.exists("big"):
    os.unlink("big")
def takes(make, most):
    held = []
    try:
        while len(held) < most:
            held.append(make())
    except OSError:
        pass
    return len(held)
facts["shares"] = {
    "hub": takes(lambda: socket.create_connection(("127.0.0.1", 8081), 5), 200),
    "terminals": takes(lambda: open("/dev/ptmx", "r+b", buffering=0), 200),
}
door = socket.create_server(("127.0.0.1", 0), backlog=100)
opened, begun = 0, time.monotonic()
for _ in range(3000):
    try:
        with socket.create_connection(door.getsockname(), 5):
            door.accept()[0].close()
        opened += 1
    except OSError:
        pass
facts["shares"]["loops"] = [opened, time.monotonic() - begun]
sizes = [os.statvfs(place) for place in (os.path.dirname(os.path.realpath(os.getcwd())), "/tmp",
                                         "/var/tmp", "/dev/shm")]
tmp = os.statvfs("/tmp")
facts["sizes"] = {"files": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
                  "file_size": resource.getrlimit(resource.RLIMIT_FSIZE)[1],
                  "tmp": tmp.f_blocks * tmp.f_frsize,
                  "places": sum(each.f_blocks * each.f_frsize for each in sizes)}
children = []
try:
    for _ in range(asked["tasks"]):
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
        children.append(child)
except OSError:
    pass
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
facts["forks"] = len(children)
greedy = f"held = [b'x' * (1 << 24) for _ in range({asked['memory'] // (1 << 24) + 4})]"
facts["greedy"] = subprocess.call([sys.executable, "-c", greedy]) if asked["memory"] else None
subprocess.Popen(["sleep", "3600"], start_new_session=True)
# Its first thread ends at once: it shows as a zombie.
undead = ("import ctypes, threading, time\\n"
          "threading.Thread(target=time.sleep, args=[3600]).start()\\n"
          "ctypes.CDLL(None).pthread_exit(None)")
subprocess.Popen([sys.executable, "-c", undead], start_new_session=True)
with open("facts.new", "w") as file:
    json.dump(facts, file)
os.rename("facts.new", "facts.json")
"""


def output_of(*argv: str, stdin: str | None = None) -> str:
    """What a command prints; empty when it is missing."""
    try:
        return subprocess.run(
            argv, check=False, text=True, input=stdin or "", capture_output=True
        ).stdout
    except FileNotFoundError:
        return ""


def until(condition: Any, seconds: float = PATIENCE) -> bool:
    """Wait for a condition; tell whether it came true."""
    deadline = time.monotonic() + seconds
    while not (holds := bool(condition())) and time.monotonic() < deadline:
        time.sleep(0.1)
    return holds


def session(user: str, student: str, source: str, asked: dict[str, Any]) -> subprocess.Popen[str]:
    """Open a session as the hub does, for a program instead of the notebook's server."""
    place = Path(tempfile.mkdtemp())
    key = place / "key.pub"
    signing = "/var/lib/notebook/id_ed25519"
    key.write_bytes(Path(f"{signing}.pub").read_bytes())
    subprocess.run(
        ["ssh-keygen", "-q", "-s", signing, "-I", student, "-n", user, "-V", "-5m:+15m", str(key)],
        check=True,
    )
    program = (
        f"import base64; exec(base64.b64decode('{base64.b64encode(source.encode()).decode()}'))"
    )
    request = {
        "student": student,
        "argv": ["/usr/bin/python3", "-c", program, json.dumps(asked)],
        "env": {},
    }
    process = subprocess.Popen(
        ["ssh", "-F", "none", "-T", "-i", signing, "-o", f"CertificateFile={place}/key-cert.pub",
         "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-p", str(PORTS["owner"]),
         f"{user}@localhost"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    if process.stdin:
        process.stdin.write(json.dumps(request))
        process.stdin.close()
    return process


def hostile(directory: Path) -> dict[str, Any]:
    """What one student can do to another, and what is left afterwards."""
    first, second = ASKED["pool"][:2]
    ready, done = (directory / STUDENTS[0] / "victim.json", directory / STUDENTS[1] / "facts.json")
    victim = session(first, STUDENTS[0], VICTIM, {})
    mallory = None
    try:
        if not until(lambda: ready.exists() and ready.read_text()):
            return {"error": f"no session for {first}: {_words_of(victim)}"}
        routes = [line.split() for line in Path("/proc/net/route").read_text().splitlines()]
        gateways = [
            ".".join(str(byte) for byte in reversed(bytes.fromhex(route[2])))
            for route in routes
            if route[1] == "00000000"
        ]
        asked = {
            **json.loads(ready.read_text()), "victim": first, "directory": str(directory),
            "admin": ASKED["admin"], "outside": [*gateways, "192.0.2.1"],
            "victims_own_port": 10000 + pwd.getpwnam(first).pw_uid,
            "quota": 0 if CONTAINED else ASKED["quota"],
            "tasks": ASKED["tasks"], "memory": 0 if CONTAINED else ASKED["memory"],
        }  # fmt: skip
        mallory = session(second, STUDENTS[1], MALLORY, asked)
        if not until(done.exists):
            return {"error": f"no answer from {second}: {_words_of(mallory)}"}
        facts: dict[str, Any] = json.loads(done.read_text())
        number = (directory / STUDENTS[0]).stat()
        facts["owner"] = number.st_uid
        facts["most_files"] = most_files(directory / STUDENTS[0], number.st_uid)
        facts["mode"] = number.st_mode & 0o777
        facts["victim_lives"] = victim.poll() is None
        tick = directory / STUDENTS[0] / "tick"
        before = tick.read_text()
        facts["victim_works"] = until(lambda: tick.read_text() not in ("", before), 60)
    finally:
        for process in (victim, mallory):
            if process is not None:
                process.terminate()
                process.wait()
    uids = {pwd.getpwnam(name).pw_uid for name in (first, second)}
    until(lambda: not _processes(uids), 30)
    facts["left_processes"] = len(_processes(uids))
    facts["left_files"] = [
        str(path)
        for name in (first, second)
        for path in Path(f"/home/{name}").rglob("*")
        if path.name == "treasure"
    ] + [place for place in ("/tmp", "/var/tmp", "/dev/shm") if Path(place, "treasure").exists()]  # noqa: S108
    facts["journal"] = STUDENTS[1] in output_of(
        "journalctl", "-q", "-t", "notebook-account", "-o", "cat"
    )
    return facts


def most_files(files: Path, owner: int) -> dict[str, int]:
    """How many files a student may have, and how many the disk has places for."""
    known = ctypes.create_string_buffer(72)  # struct if_dqblk
    descriptor = os.open(files, os.O_RDONLY | os.O_DIRECTORY)
    failed = ctypes.CDLL(None).syscall(QUOTACTL_FD, descriptor, GET_USER_QUOTA, owner, known)
    os.close(descriptor)
    disk = os.statvfs(files)
    return {
        "quota": 0 if failed else struct.unpack_from("=8Q", known)[3],
        "places": disk.f_files,
        "bytes": disk.f_blocks * disk.f_frsize,
    }


def _words_of(process: subprocess.Popen[str]) -> str:
    process.terminate()
    return (process.communicate()[0] or "")[-300:] + output_of(
        "journalctl", "-q", "-t", "notebook-account", "-o", "cat", "-n", "3"
    )


def _processes(uids: set[int]) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if entry.stat().st_uid in uids and any(map(_runs, (entry / "task").iterdir())):
                    found.append(entry.name)
            except OSError:
                continue
    return found


def _runs(thread: Path) -> bool:
    """Whether a thread runs; its process may show as a zombie nevertheless."""
    return (thread / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"


def sign_in_page() -> dict[str, Any]:
    """What a visitor gets, in HTTPS and without."""
    context = ssl._create_unverified_context()  # noqa: S323 - the guest made it itself
    facts: dict[str, Any] = {"scheme": None, "status": None, "headers": {}, "text": ""}
    begun = time.monotonic()
    while facts["scheme"] is None and time.monotonic() < begun + PATIENCE:
        for scheme in ("https", "http"):
            url = f"{scheme}://127.0.0.1:{ASKED['port']}/hub/login"
            try:
                with urllib.request.urlopen(url, timeout=60, context=context) as answer:  # noqa: S310
                    facts |= {
                        "scheme": scheme, "status": answer.status,
                        "headers": {k.lower(): v for k, v in answer.headers.items()},
                        "cookies": answer.headers.get_all("Set-Cookie") or [],
                        "text": answer.read().decode(errors="replace"),
                    }  # fmt: skip
                    break
            except (OSError, urllib.error.URLError, ValueError):
                time.sleep(0.5)
    return facts


def limits() -> dict[str, dict[str, str]]:
    """Each account's limits as systemd has them."""
    names = ("MemoryMax", "MemorySwapMax", "CPUQuotaPerSecUSec", "TasksMax")
    return {
        name: dict(
            line.split("=", 1)
            for line in output_of(
                "systemctl",
                "show",
                f"user-{pwd.getpwnam(name).pw_uid}.slice",
                "-p",
                ",".join(names),
            ).splitlines()
        )
        for name in ASKED["pool"]
    }


def hub_user() -> dict[str, str]:
    """Who runs the hub, and what that gives beside it; empty: nothing."""
    name = output_of("systemctl", "show", "-P", "User", "notebook").strip() or "root"
    entry = pwd.getpwnam(name)
    groups = output_of("id", "-Gn", name).split()
    sudo = output_of("sudo", "-n", "-l", "-U", name)
    return {
        "name": name,
        "login": "" if entry.pw_shell.endswith(("/nologin", "/false")) else entry.pw_shell,
        "home": entry.pw_dir if Path(entry.pw_dir).exists() else "",
        "groups": " ".join(groups[1:]),
        "sudo": "" if "not allowed" in sudo else sudo,
        "manager": output_of("loginctl", "show-user", "-P", "State", name).strip(),
    }


def link() -> str:
    """What root's service of students' files says of a link to /etc/shadow in the hub's files."""
    name = output_of("systemctl", "show", "-P", "User", "notebook").strip() or "root"
    place = f"/var/lib/notebook/machines/{STUDENTS[1]}"
    plant = ["sh", "-c", 'mkdir -p "${1%/*}" && ln -sfn /etc/shadow "$1"', "sh", place]
    subprocess.run(["runuser", "-u", name, "--", *plant], check=False)
    try:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(PATIENCE)
            asked.connect("/run/notebook/keeper.socket")
            asked.sendall(json.dumps(["archive", STUDENTS[1]]).encode())
            asked.shutdown(socket.SHUT_WR)
            return asked.makefile(errors="replace").read()
    except OSError as error:
        return f"it does not answer: {error}"
    finally:
        Path(place).unlink(missing_ok=True)


def exposures() -> dict[str, dict[str, Any]]:
    """How far each of our services is open to the machine, and whether its unit says why."""
    found = {}
    for path in sorted(Path("/etc/systemd/system").glob("*.service")):
        text = path.read_text()
        if "Ansible managed" in text:
            name = path.name.replace("@.", "@x.")
            said = output_of("systemd-analyze", "security", "--no-pager", name)
            level = re.search(r"exposure level for .*: ([\d.]+)", said)
            found[path.name] = {
                "level": float(level[1]) if level else None, "said": "# Exposed: " in text,
            }  # fmt: skip
    return found


def visitors() -> dict[str, int]:
    """How many connections one address may have open at each port of the notebook."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * VISITS, 2 * VISITS))
    found = {}
    for last, port in enumerate((ASKED["port"], ASKED["sessions_port"]), 1):
        held: list[socket.socket] = []
        try:
            while len(held) < VISITS:
                come = ("127.0.0.1", port), 30, (f"127.0.8.{last}", 0)
                held.append(socket.create_connection(*come))
        except OSError:
            pass
        found[str(port)] = len(held)
        for each in held:
            each.close()
    return found


def descriptors() -> dict[str, int]:
    """How many files the hub and its proxy may have open."""
    asked = ("systemctl", "show", "-P", "LimitNOFILESoft")
    return {unit: int(output_of(*asked, unit) or 0) for unit in ("notebook", "notebook-proxy")}


def report() -> dict[str, Any]:
    """Whether the nightly letter reaches the administrator, and what is in it."""
    box = Path(f"/var/mail/{ASKED['admin']}")
    before = box.stat().st_size if box.exists() else 0

    def letters() -> str:
        return box.read_bytes()[before:].decode(errors="replace") if box.exists() else ""

    status = subprocess.run(
        ["systemctl", "start", "notebook-report.service"], check=False
    ).returncode
    until(lambda: "Wrong passwords" in letters())  # others' letters may come before
    text = letters()
    timer = output_of("systemctl", "is-active", "notebook-report.timer").strip()
    return {"status": status, "letter": text[:8000], "timer": timer}


def main() -> None:
    """Print the facts."""
    # A container's overlay cannot show files as another's; the real /home can.
    if CONTAINED and not os.path.ismount(ASKED["directory"]):
        students = ["mount", "-t", "tmpfs", "-o", "mode=0711", "tmpfs", ASKED["directory"]]
        subprocess.run(students, check=True)
        subprocess.run(["systemctl", "restart", "sshd-pool"], check=False)
    units = ("notebook-firewall", "sshd-pool", "notebook-proxy", "notebook", "notebook-pam.socket")
    until(
        lambda: all(
            line == "active" for line in output_of("systemctl", "is-active", *units).split()
        )
    )
    page = sign_in_page()
    memory = dict(re.findall(r"^(\w+): +(\d+) kB", Path("/proc/meminfo").read_text(), re.M))
    start = Path("/usr/local/bin/start-notebook").read_text()
    directory = Path(ASKED["directory"])
    states = output_of("systemctl", "is-active", *units).split()
    facts = {
        "units": dict(zip(units, states, strict=False)),
        "page": page,
        "settings": dict(re.findall(r"^    (\w+)=(.*),$", start, re.M)),
        "used": 1024 * (int(memory["MemTotal"]) - int(memory["MemAvailable"])),
        "limits": limits(),
        "hub_user": hub_user(),
        "link": link(),
        "motd": Path("/etc/motd").read_text(),
        "report": report(),
        "exposed": exposures(),
        "visitors": visitors(),
        "descriptors": descriptors(),
    }  # fmt: skip
    try:
        facts["sessions"] = hostile(directory)
    finally:
        for student in STUDENTS:
            shutil.rmtree(directory / student, ignore_errors=True)
    json.dump(facts, sys.stdout)


main()
