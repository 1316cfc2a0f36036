"""How fast sessions start, and what they cost, beside other spawners for one machine.

`pytest -s -m slow tests/bench/test_sessions.py` prints the figures.
"""

import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "notebook"))

from guest import Guest, installed_layers, notebook_guest, sage_layer
from student import Student

from provision.config.capacity import LEAST_SAGE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
ROUNDS = 5
SIMPLE_PORT = 8010
SIMPLE = """
c.JupyterHub.bind_url = 'http://127.0.0.1:9000'
c.JupyterHub.hub_port = 9081
c.ConfigurableHTTPProxy.api_url = 'http://127.0.0.1:9001'
c.ConfigurableHTTPProxy.command = ['/usr/bin/configurable-http-proxy']
c.JupyterHub.authenticator_class = 'dummy'
c.JupyterHub.spawner_class = 'simple'
c.Authenticator.allow_all = True
c.Spawner.cmd = ['/opt/notebook/bin/jupyterhub-singleuser']
c.Spawner.default_url = '/lab'
"""
# systemdspawner runs as root and needs the students to be accounts of the system.
SYSTEMD = (
    SIMPLE.replace("9000", "9100").replace("9081", "9181").replace("9001", "9101")
    + "c.JupyterHub.spawner_class = 'systemdspawner.SystemdSpawner'\n"
)
# Runs in the guest, so that all hubs are measured without the way from the host.
CLIENT = """
import http.cookiejar, json, sys, time, urllib.parse, urllib.request
url, name, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
jar = http.cookiejar.CookieJar()
opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
def ask(method, path, data=None, token=None):
    request = urllib.request.Request(url + path, data, method=method)
    if token: request.add_header('Authorization', 'token ' + token)
    if data == b'{}': request.add_header('Content-Type', 'application/json')
    for c in jar:
        if c.name == '_xsrf': request.add_header('X-XSRFToken', urllib.parse.unquote(c.value))
    return opener.open(request, timeout=120).read().decode()
ask('GET', '/hub/login')
xsrf = [c.value for c in jar if c.name == '_xsrf'][0]
form = urllib.parse.urlencode({'username': name, 'password': 'correct horse', '_xsrf': xsrf})
ask('POST', '/hub/login?next=%2Fhub%2Ftoken', form.encode())
token = json.loads(ask('POST', f'/hub/api/users/{name}/tokens', b'{}'))['token']
me = f'/hub/api/users/{name}'
def servers(): return json.loads(ask('GET', me, token=token)).get('servers') or {}
for _ in range(rounds):
    begun = time.monotonic()
    ask('POST', me + '/server', b'{}', token)
    while not servers().get('', {}).get('ready'): time.sleep(0.02)
    print(time.monotonic() - begun, flush=True)
    ask('DELETE', me + '/server', None, token)
    while servers(): time.sleep(0.1)
    time.sleep(1)
"""


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    scratch = tmp_path_factory.mktemp("bench")
    variables = {"pool_accounts": ["nb1", "nb2"], "notebook_accounts": True}
    variables |= {"notebook_forked": True}
    with notebook_guest(installed_layers(scratch), scratch, variables) as guest:
        guest.run(f"cat > /tmp/client.py <<'E'\n{CLIENT}\nE")
        guest.run(f"install -d -o sageadm /tmp/simple; cat > /tmp/simple/c.py <<'E'\n{SIMPLE}\nE")
        guest.run(
            "systemd-run --unit simple --uid sageadm --working-directory /tmp/simple "
            "/opt/notebook/bin/jupyterhub -f c.py && "
            "until bash -c ': < /dev/tcp/127.0.0.1/9000'; do sleep 0.2; done; sleep 3"
        )
        guest.run(f"mkdir /tmp/systemd; cat > /tmp/systemd/c.py <<'E'\n{SYSTEMD}\nE")
        guest.run(
            "useradd -m bench; export PIP_CERT=$(ls /run/host-ca-certificates.crt 2> /dev/null);"
            " /opt/notebook/bin/pip install -q --no-deps --target /tmp/systemd/lib"
            " jupyterhub-systemdspawner && systemd-run --unit systemd-hub"
            " --working-directory /tmp/systemd -E PYTHONPATH=/tmp/systemd/lib"
            " /opt/notebook/bin/jupyterhub -f c.py && "
            "until bash -c ': < /dev/tcp/127.0.0.1/9100'; do sleep 0.2; done; sleep 3",
            300,
        )
        yield guest


def _times(guest: Guest, port: int, rounds: int) -> list[float]:
    told = guest.run(
        f"/opt/notebook/bin/python /tmp/client.py http://127.0.0.1:{port} bench {rounds}", 600
    )
    return [float(line) for line in told.split()]


def test_a_session_starts_in_a_quarter_of_a_local_process_time(guest: Guest) -> None:
    ports = {"pool": 8000, "simple": 9000, "systemd": 9100}
    times: dict[str, list[float]] = {name: [] for name in ports}
    for port in ports.values():
        _times(guest, port, 1)  # warm
    for _ in range(ROUNDS):  # in turn, so that a busy host is the same to all
        for name, port in ports.items():
            times[name] += _times(guest, port, 1)
    middle = {name: statistics.median(each) for name, each in times.items()}
    print(f"\nready after: {times}")
    for name, seconds in middle.items():
        print(f"median: {name} {seconds:.2f} s, ratio {middle['pool'] / seconds:.2f}")
    assert middle["pool"] <= 0.25 * middle["simple"]


def test_sign_ins_each_second(guest: Guest) -> None:
    """A class that arrives at once: every sign-in costs a password's hash, on purpose."""
    names = [f"pupil{n}" for n in range(20)]
    for name in names:
        Student(guest.url, name).sign_in()  # makes the account
    begun = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: Student(guest.url, name).sign_in(), names))
    rate = len(names) / (time.monotonic() - begun)
    print(f"\nsign-ins: {rate:.1f} a second")
    assert rate > 1


def test_how_fast_a_sage_kernel_starts_and_what_it_costs(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    scratch = tmp_path_factory.mktemp("sage")
    layers = installed_layers(scratch)
    variables = {"pool_accounts": ["nb1", "nb2"], "notebook_accounts": True}
    with notebook_guest([*layers, sage_layer(layers, scratch)], scratch, variables) as guest:
        student = Student(guest.url, "gauss").sign_in().start(240)
        seconds: dict[str, list[float]] = {"python3": [], "sagemath": []}
        for _ in range(3):
            for kind, shown in (("python3", "4"), ("sagemath", "4")):
                begun = time.monotonic()
                kernel = student.kernel(kind)
                assert kernel.run("2 + 2", 240) == shown
                seconds[kind].append(time.monotonic() - begun)
                student.server("DELETE", f"kernels/{kernel.id}")
        print(f"\nfirst answer of a kernel: {seconds}")
        assert min(seconds["sagemath"]) < 30
        student.kernel("sagemath").run("plot(sin, 0, 1)", 240)
        time.sleep(3)
        assert _memory(guest) < LEAST_SAGE["started"] >> 20


def _memory(guest: Guest) -> int:
    """What the processes of the pool's accounts have in memory, in MiB; shared pages are shared."""
    shown = guest.run(
        "for p in $(pgrep -u nb1,nb2); do "
        "awk -v c=\"$(tr '\\0' ' ' < /proc/$p/cmdline | cut -c-50)\" "
        "'/^Pss:/ {print $2, c}' /proc/$p/smaps_rollup; done"
    )
    total = sum(int(line.split()[0]) for line in shown.splitlines()) // 1024
    print(f"\nPSS of an idle session: {total} MiB\n{shown}")
    return total


def test_what_a_session_costs_in_memory(guest: Guest) -> None:
    student = Student(guest.url, "idle").sign_in().start()
    student.kernel().run("1 + 1")
    time.sleep(3)
    assert _memory(guest) < 400
    student.stop()
