"""The sandbox in a built appliance, as the admin and an exercise server meet it."""

import contextlib
import functools
import hashlib
import http.server
import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import paramiko
import pytest
from click.testing import CliRunner, Result

from provision.build.build import HOST_CA
from provision.build.request import BUILD_CA_BUNDLE
from provision.cli import _machine, appliance
from provision.machine import SshEndpoint
from provision.machine.nspawn import NspawnMachine
from provision.machine.ssh import connect, execute
from tests.integration.conftest import CONFIG, SMALL
from tests.integration.grader.conftest import python, script, task

PORT = 8090


class Guest:
    """The appliance in nspawn, as a VM is for the verbs."""

    def __init__(self, endpoint: SshEndpoint, client: paramiko.SSHClient) -> None:
        self.endpoint, self.client = endpoint, client

    def run(self, command: str, *, check: bool = True) -> str:
        done = execute(self.client, f"sudo -n sh -c {shlex.quote(command)}", timeout=120)
        assert not check or done.status == 0, f"{command}: {done}"
        return done.stdout + ("" if check else done.stderr)


@pytest.fixture(scope="module")
def guest(sealed: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """The layers of the shared appliance, booted for the admin."""
    scratch = tmp_path_factory.mktemp("guest")
    with NspawnMachine(
        sealed,
        scratch / "upper",
        user=CONFIG.admin.user,
        binds={HOST_CA: BUILD_CA_BUNDLE} if HOST_CA.exists() else None,
        console=scratch / "console",
    ) as machine:
        endpoint = machine.start()
        with connect(endpoint) as client:
            guest = Guest(endpoint, client)
            guest.run("systemctl is-system-running --wait", check=False)
            yield guest


@pytest.fixture
def call(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Call the command line against the guest instead of a VM of VirtualBox."""

    class Vm:
        def endpoint(self) -> SshEndpoint:
            return guest.endpoint

    monkeypatch.setattr(_machine, "open_machine", lambda *_: Vm())
    return lambda *words: CliRunner().invoke(appliance, [*words, *SMALL])


def tar(directory: Path, archive: bytes) -> Path:
    path = directory / "exercise.tar"
    path.write_bytes(archive)
    return path


# Prints the status of an answer, or how there was none.
FETCH = (
    "import sys, urllib.request as r, urllib.error as e\n"
    "try: print(r.urlopen(sys.argv[1], timeout=5).status)\n"
    "except e.HTTPError as x: print(x.code)\n"
    "except OSError as x: print(str(x).split()[-1].strip('>'))"
)


def test_everything_that_the_sandbox_needs_runs(guest: Guest) -> None:
    assert guest.run("systemctl --failed --plain --no-legend").strip() == ""
    units = guest.run("systemctl is-active grader@default sandbox-image@python grader-firewall")
    assert units.split() == ["active"] * 3
    # No instance has a network: there is no proxy, nor the package's own.
    assert (
        guest.run("systemctl is-active grader-proxy squid", check=False).split() == ["inactive"] * 2
    )


def test_an_exercise_from_the_host(call: Callable[..., Result], tmp_path: Path) -> None:
    exercise = tar(tmp_path, script("echo out; echo points > output.txt"))
    done = call("grade", str(exercise), "--json")
    assert done.exit_code == 0, done
    result = json.loads(done.stdout)
    assert (result["status"], result["output"], result["stdout"]) == (
        "finished",
        "points\n",
        "out\n",
    )
    shown = call("grade", str(exercise)).stdout
    assert "finished, exit code 0" in shown
    assert "--- output\npoints\n" in shown


def test_a_directory_and_a_failure(call: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "task").mkdir()
    run = tmp_path / "task" / "tmc-run"
    run.write_text("#!/usr/bin/python3\nraise SystemExit(3)\n")
    run.chmod(0o755)
    done = call("grade", str(tmp_path / "task"))
    assert done.exit_code == 1
    assert "failed, exit code 3" in done.stdout


@pytest.mark.parametrize("option", ["image", "engine", "instance"])
def test_what_is_not_there_is_named(
    call: Callable[..., Result], tmp_path: Path, option: str
) -> None:
    value = "uml" if option == "engine" else "nonsense"
    done = call("grade", str(tar(tmp_path, script("true"))), f"--{option}", value)
    assert done.exception is not None
    assert value in str(done.exception)


def test_a_student_reaches_no_task_of_the_teacher(guest: Guest) -> None:
    """Loopback is shared: a token keeps the pool's accounts out, and the file with it is closed."""
    ask = f"sudo -n -u nb1 python3 -c {shlex.quote(FETCH)} http://127.0.0.1:{PORT}/tasks/x"
    assert guest.run(ask, check=False).split()[-1] in ("401", "refused", "out"), guest.run(
        ask, check=False
    )
    assert "denied" in guest.run("sudo -n -u nb1 cat /etc/grader/client", check=False)
    assert "denied" in guest.run("sudo -n -u nb1 cat /etc/grader/tokens", check=False)
    assert "denied" in guest.run("sudo -n -u nb1 ls /var/lib/grader/default", check=False)


def test_the_service_is_confined(guest: Guest) -> None:
    exposure = guest.run("systemd-analyze security --no-pager grader@default.service")
    score = float(exposure.splitlines()[-1].split(":")[1].split()[0])
    assert score < 5, exposure
    pid = guest.run("systemctl show -P MainPID grader@default").strip()
    status = dict(line.split(":", 1) for line in guest.run(f"cat /proc/{pid}/status").splitlines())
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2")
    inside = f"nsenter -t {pid} -m setpriv --reuid=grader --regid=grader --clear-groups"
    for place in ("/etc/x", "/usr/x", "/var/lib/x", "/home/x", "/opt/appliance/x"):
        assert "x" in guest.run(f"{inside} touch {place}", check=False)
    assert "denied" in guest.run(f"{inside} ls /home", check=False)


def test_a_session_of_the_notebook_may_make_no_namespace(guest: Guest) -> None:
    """The sandbox needs user namespaces; the pool's sessions are kept from them by themselves."""
    code = (
        "from provision.guest.pool.namespaces import forbid; import os; forbid(); "
        "os.execvp('unshare', ['unshare', '-U', 'true'])"
    )
    session = f"/opt/notebook/bin/python -I -c {shlex.quote(code)}"
    said = guest.run(f"sudo -n -u nb1 setpriv --no-new-privs {session}", check=False)
    assert "not permitted" in said


@pytest.fixture
def networked(call: Callable[..., Result]) -> Iterator[dict[str, Any]]:
    """An instance whose tasks reach the hosts that this machine's pip and apt load from."""
    hosts = ("pypi.org", "files.pythonhosted.org", "deb.debian.org")
    allow = [word for name in hosts for word in ("--allow", name)]
    done = call(
        "sandbox",
        "instance",
        "add",
        "net",
        "--limit",
        "clock=100",
        "--limit",
        "disk=300000000",
        *allow,
        "--json",
    )
    assert done.exit_code == 0, done.exception
    (made,) = json.loads(done.stdout)
    yield made
    assert call("sandbox", "instance", "remove", "net").exit_code == 0


def run(
    call: Callable[..., Result], tmp_path: Path, archive: bytes, instance: str, *words: str
) -> dict[str, Any]:
    done = call("grade", str(tar(tmp_path, archive)), "--instance", instance, "--json", *words)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    found: dict[str, Any] = json.loads(done.stdout)
    return found


LOOK = """
import socket, urllib.request, urllib.error
def attempt(name, f):
  try: print(name, f())
  except urllib.error.HTTPError as e: print(name, e.code)
  except OSError as e: print(name, 'fails')
def ask(url): return urllib.request.urlopen(url, timeout=15).status
def tcp(host, port): socket.create_connection((host, port), 2); return 'open'
def tunnel(where):
  s = socket.create_connection(('127.0.0.1', 3128), 5)
  s.sendall(f'CONNECT {where} HTTP/1.1\\r\\nHost: {where}\\r\\n\\r\\n'.encode())
  return s.recv(64).split()[1].decode()
attempt('listed', lambda: ask('http://deb.debian.org/debian/dists/trixie/Release'))
attempt('tunnel', lambda: tunnel('pypi.org:443'))
attempt('unlisted', lambda: ask('http://example.org/'))
attempt('unlisted-tunnel', lambda: tunnel('example.org:443'))
attempt('below', lambda: ask('http://www.deb.debian.org/'))
attempt('other-port', lambda: tunnel('pypi.org:22'))
attempt('port-80-tunnel', lambda: tunnel('pypi.org:80'))
attempt('address', lambda: tunnel('151.101.0.223:443'))
attempt('self', lambda: ask('http://127.0.0.1:8090/status.json'))
attempt('self-tunnel', lambda: tunnel('127.0.0.1:22'))
attempt('self-name', lambda: ask('http://localhost:8000/'))
attempt('metadata', lambda: ask('http://169.254.169.254/'))
attempt('manager', lambda: ask('http://127.0.0.1:3128/squid-internal-mgr/info'))
for port in (22, 53, 8000, 8090, 3129): attempt(f'tcp-{port}', lambda: tcp('127.0.0.1', port))
attempt('direct', lambda: tcp('1.1.1.1', 443))
attempt('dns', lambda: socket.getaddrinfo('deb.debian.org', 80))
"""


def test_a_task_reaches_what_is_listed_and_nothing_else(
    call: Callable[..., Result], networked: dict[str, Any], tmp_path: Path
) -> None:
    result = run(call, tmp_path, python(LOOK), "net")
    seen = dict(line.split(" ", 1) for line in result["stdout"].splitlines())
    reached = {name for name, told in seen.items() if told in ("200", "open")}
    assert reached == {"listed", "tunnel"}, result
    for name in ("unlisted", "unlisted-tunnel", "below", "other-port", "address", "metadata"):
        assert seen[name] == "403", (name, seen)
    # The default instance has no way out at all.
    closed = run(call, tmp_path, python(LOOK), "default")
    assert set(closed["stdout"].split()[1::2]) == {"fails"}, closed


def test_pip_and_apt_work_through_the_proxy(
    call: Callable[..., Result], networked: dict[str, Any], tmp_path: Path
) -> None:
    """The tools themselves, from the image; what they check is signed, so it came whole."""
    fetch = """#!/bin/sh -e
python3 -m pip download -q --no-deps --cert ca.pem six >&2
ls six-*.whl | wc -l
mkdir -p apt/lists/partial apt/archives/partial
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \\
    http://deb.debian.org/debian trixie main > apt/sources.list
touch apt/status
apt-get -q -o Dir::State=$PWD/apt -o Dir::Cache=$PWD/apt -o Dir::State::status=$PWD/apt/status \\
    -o Dir::Etc::sourcelist=$PWD/apt/sources.list -o Dir::Etc::sourceparts=- \\
    -o APT::Sandbox::User= update >&2
ls apt/lists | grep -c InRelease
"""
    certificates = HOST_CA.read_text() if HOST_CA.exists() else ""
    result = run(call, tmp_path, task({"tmc-run": fetch, "ca.pem": certificates}), "net")
    assert result["stdout"] == "1\n1\n", result


@pytest.fixture
def maven_repository(java_squashfs: Path, tmp_path: Path) -> Iterator[tuple[int, list[str]]]:
    """Debian's own Maven repository on this host's loopback: its port, and what was asked of it."""
    tree, asked = tmp_path / "java", []
    parts = ["usr/share/maven-repo", "usr/share/java"]
    subprocess.run(
        ["unsquashfs", "-q", "-n", "-d", tree, java_squashfs, *parts],
        check=True,
        capture_output=True,
    )

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *arguments: object) -> None:
            pass

    where = functools.partial(Handler, directory=str(tree / parts[0]))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), where)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, asked
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_maven_works_through_the_proxy(
    call: Callable[..., Result],
    guest: Guest,
    java_squashfs: Path,
    maven_repository: tuple[int, list[str]],
    tmp_path: Path,
) -> None:
    """A school's cache of its own, at a private address and port; Maven is the image's."""
    port, asked = maven_repository
    with guest.client.open_sftp() as sftp:
        sftp.put(str(java_squashfs), "java.squashfs")
    guest.run("mv java.squashfs /var/lib/sandbox/; systemctl start sandbox-image@java")
    # The machine's network leads connections to its gateway to this host's loopback.
    gateway = guest.run("ip -4 route show default").split()[2]
    guest.run(f"echo {gateway} cache.lan >> /etc/hosts")
    limits = {"clock": 120, "cpu": 120, "memory": 1 << 30, "disk": 300 << 20, "tasks": 200}
    words = [word for key, value in limits.items() for word in ("--limit", f"{key}={value}")]
    words += ["--image", "java", "--allow", f"cache.lan:{port}"]
    url = f"http://cache.lan:{port}"
    pom = (
        "<project><modelVersion>4.0.0</modelVersion><groupId>school</groupId>"
        "<artifactId>exercise</artifactId><version>1</version><packaging>pom</packaging><build>"
        "<extensions><extension><groupId>aopalliance</groupId><artifactId>aopalliance</artifactId>"
        "<version>1.0</version></extension></extensions></build></project>"
    )
    settings = (
        "<settings><mirrors><mirror><id>school</id><mirrorOf>*</mirrorOf>"
        f"<url>{url}</url></mirror></mirrors></settings>"
    )
    maven = "mvn -q -B -s settings.xml -Dmaven.repo.local=$PWD/m2 validate >&2"
    jar = "aopalliance/aopalliance/1.0/aopalliance-1.0.jar"
    files = {
        "tmc-run": f"#!/bin/sh\n{maven} && sha256sum < m2/{jar}\n",
        "pom.xml": pom,
        "settings.xml": settings,
    }
    assert call("sandbox", "instance", "add", "java", *words).exit_code == 0
    with contextlib.ExitStack() as stack:
        stack.callback(call, "sandbox", "instance", "remove", "java")
        fetched = run(call, tmp_path, task(files), "java")
        original = (tmp_path / "java/usr/share/maven-repo" / jar).read_bytes()
        assert fetched["stdout"].split()[0:1] == [hashlib.sha256(original).hexdigest()], fetched
        assert f"/{jar}" in asked
        # The proxy keeps what may be kept: three tasks asked, their source once.
        get = python(f"import urllib.request as r; print(len(r.urlopen('{url}/{jar}').read()))")
        for _ in range(2):
            result = run(call, tmp_path, get, "java", "--image", "python")
            assert result["stdout"] == f"{len(original)}\n", result
        assert asked.count(f"/{jar}") == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_user_mode_linux_in_the_hardened_service(
    call: Callable[..., Result], guest: Guest, uml_kernel: Path, tmp_path: Path
) -> None:
    """The second engine under the unit's own confinement, made ready as docs/grading.md says."""
    with guest.client.open_sftp() as sftp:
        sftp.put(str(uml_kernel), "linux.uml")
    guest.run("install -m 755 linux.uml /usr/bin/linux.uml")
    guest.run(
        "cd /var/tmp && unsquashfs -q -n -d root /var/lib/sandbox/python.squashfs && mke2fs -q"
        " -t ext4 -O ^has_journal -m 0 -d root -E root_owner=0:0 /var/lib/sandbox/python.ext4 700M"
        " && rm -r root"
    )
    added = call("sandbox", "instance", "add", "uml", "--engine", "uml", "--limit", "clock=30")
    assert added.exit_code == 0, added.exception
    with contextlib.ExitStack() as stack:
        stack.callback(call, "sandbox", "instance", "remove", "uml")
        task_ = script("uname -r; echo points > output.txt; cat /etc/shadow; exit 3")
        result = run(call, tmp_path, task_, "uml")
    assert (result["status"], result["exit_code"], result["output"]) == ("failed", 3, "points\n")
    assert result["stdout"].strip() not in ("", guest.run("uname -r").strip())
    assert guest.run("systemctl --failed --plain --no-legend").strip() == ""


def test_only_the_service_reaches_the_proxy_and_the_proxy_nothing_of_ours(
    guest: Guest, networked: dict[str, Any]
) -> None:
    port = networked["proxy"].rpartition(":")[2]
    url = "http://deb.debian.org/debian/dists/trixie/Release"
    ask = f"http_proxy=http://127.0.0.1:{port} python3 -c {shlex.quote(FETCH)} {url}"
    for account in ("nb1", CONFIG.admin.user, "nobody"):
        said = guest.run(f"sudo -n -u {account} env {ask}", check=False)
        assert said.split()[-1] in ("refused", "peer"), (account, said)
    for target in (8090, 22, 8000):
        said = guest.run(
            f"sudo -n -u proxy timeout 5 bash -c 'echo > /dev/tcp/127.0.0.1/{target}'", check=False
        )
        assert "refused" in said, (target, said)


def test_instances_are_added_shown_and_removed(call: Callable[..., Result], guest: Guest) -> None:
    done = call("sandbox", "instance", "add", "exam", "--queue", "0", "--limit", "clock=1")
    assert done.exit_code == 0, done.exception
    assert "no network" in done.stdout
    names = [
        one["name"] for one in json.loads(call("sandbox", "instance", "list", "--json").stdout)
    ]
    assert names == ["default", "exam"]
    shown = json.loads(call("sandbox", "instance", "show", "exam").stdout)
    assert (shown["active"], shown["queue"], shown["limits"]["clock"]) == ("active", 0, 1.0)
    assert "token" not in json.dumps(shown)
    for words in (["add", "exam"], ["show", "nope"], ["remove", "default"]):
        refused = call("sandbox", "instance", *words)
        assert (
            "exam" in str(refused.exception)
            or "nope" in str(refused.exception)
            or ("default" in str(refused.exception))
        ), refused
    assert call("sandbox", "instance", "remove", "exam").exit_code == 0
    assert guest.run("ls /etc/grader/instances").split() == ["default.toml"]
    assert guest.run("ls /var/lib/grader").split() == ["default"]
    assert "inactive" in guest.run("systemctl is-active grader@exam", check=False)


def test_the_limits_of_an_instance_are_its_own(call: Callable[..., Result], tmp_path: Path) -> None:
    assert call("sandbox", "instance", "add", "short", "--limit", "clock=1").exit_code == 0
    with contextlib.ExitStack() as stack:
        stack.callback(call, "sandbox", "instance", "remove", "short")
        result = run(call, tmp_path, script("sleep 20"), "short")
    assert (result["status"], result["reason"]) == ("timeout", "wall time limit")
    assert result["seconds"] < 15


def test_the_jail_is_there(guest: Guest) -> None:
    command = "/usr/local/bin/safeexec --chroot_dir /srv/jail --env_vars PY --exec_dir /"
    words = f"{command} --exec /bin/python3 -u -S -c 'print(1+1)'"
    said = guest.run(f"sudo -n -u nobody {words}", check=False)
    assert re.match(r"2\nOK\nelapsed time: \d+ seconds\n", said), said
    modes = guest.run("stat -c '%U:%G %a' /srv/jail /srv/jail/scratch /srv/jail/tmp").splitlines()
    assert modes[0] == "root:root 755"


def test_a_restart_of_the_machine_keeps_results(
    call: Callable[..., Result], guest: Guest, tmp_path: Path
) -> None:
    result = run(call, tmp_path, script("echo kept"), "default")
    guest.run("systemctl restart grader@default")
    account = dict(line.split("=", 1) for line in guest.run("cat /etc/grader/client").split())
    fetch = Path(tmp_path, "fetch.py")
    fetch.write_text(
        "import time, urllib.request as r, urllib.error\n"
        f"request = r.Request('{account['GRADER_URL']}/tasks/{result['id']}', "
        f"headers={{'Authorization': 'Bearer {account['GRADER_TOKEN']}'}})\n"
        "for _ in range(40):\n"
        "  try: print(r.urlopen(request).read().decode()); break\n"
        "  except OSError: time.sleep(0.25)\n"
    )
    done = execute(guest.client, "python3 -", stdin=fetch.read_bytes(), timeout=60)
    assert json.loads(done.stdout)["stdout"] == "kept\n", done
