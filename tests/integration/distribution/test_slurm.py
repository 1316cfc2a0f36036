"""Sessions as jobs of a real Slurm on several hosts of this machine, by the exported hub."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster, until
from network import SERVER, Network

from provision.config import read
from provision.export import slurm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STUDENT = Path(__file__).parents[1] / "notebook" / "student.py"
CONFIG = read(
    assignments=[
        "profiles={any: {title: Everything}, small: {title: Small, limits: {memory: 700M}}}",
        "pool.limits={memory: 1G, cpu: 100}",
        "pool.students={carl: {memory: 800M}}",
        "notebook.session_expiry=90m",
    ],
    environ={},
).config
# What a school adds: how students sign in, how a job is handed in for them, where the hub is.
SCHOOL = """
load_subconfig("exported/jupyterhub_config.py")
c = get_config()
c.JupyterHub.bind_url = "http://10.77.0.1:8000"
c.JupyterHub.hub_connect_ip = "10.77.0.1"
c.JupyterHub.authenticator_class = "shared-password"
c.Authenticator.allow_all = True
c.SharedPasswordAuthenticator.user_password = "correct horse"
# A node that is not Debian's does not know where Debian keeps modules.
c.ConfigurableHTTPProxy.command = [
    *("env", "NODE_PATH=/usr/share/nodejs:/usr/lib/nodejs", "configurable-http-proxy"),
]
c.BatchSpawnerBase.exec_prefix = "runuser -u {username} --"
c.Spawner.poll_interval = 1
c.Spawner.http_timeout = 120
"""
CLIENT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from student import RefusedError, Student

name, options, code = sys.argv[2], json.loads(sys.argv[3]), sys.argv[4]
student = Student("http://10.77.0.1:8000", name).sign_in()
if code == "stop":
    student.stop()
elif code == "running":
    print(json.dumps(student.ready()))
else:
    try:
        if options is not None:
            student.json("POST", f"/hub/api/users/{name}/server", options)
        student.start(240)
        print(json.dumps(student.kernel().run(code, 120)))
    except RefusedError as error:
        print(json.dumps(str(error)))
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    # Not pytest's own place, which it keeps for root alone.
    with tempfile.TemporaryDirectory(prefix="slurm-") as name, Network(2) as network:
        place = Path(name)
        place.chmod(0o755)
        slurm.export(CONFIG, place / "exported")
        (place / "hub.py").write_text(SCHOOL)
        (place / "client.py").write_text(CLIENT)
        cluster = Cluster(network, place)
        cluster.install()
        with cluster.running():
            hub = cluster.start(SERVER, "/opt/notebook/bin/jupyterhub", "-f", place / "hub.py")
            log = place / "head-jupyterhub.log"
            until(lambda: "JupyterHub is now running" in log.read_text() or hub.poll() is not None)
            assert hub.poll() is None, log.read_text()
            yield cluster


def ask(cluster: Cluster, name: str, code: str, options: object = None) -> Any:
    """What a student's browser would: in a process on the head."""
    told = (str(STUDENT.parent), name, json.dumps(options), code)
    argv = cluster.on(SERVER, sys.executable, cluster.place / "client.py", *told)
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    logs = [path.read_text()[-3000:] for path in cluster.place.glob("*.log")]
    assert done.returncode == 0, "\n".join([done.stderr, *logs])
    return json.loads(done.stdout) if done.stdout else None


def jobs(cluster: Cluster) -> dict[str, str]:
    """Each student's job, as Slurm tells it."""
    told = cluster.run("squeue", "-h", "-o", "%u %T %N %m %C %l").splitlines()
    return dict(line.split(" ", 1) for line in told)


def test_sessions_are_jobs_within_the_students_limits(cluster: Cluster) -> None:
    where = "import socket, os; print(6 * 7, socket.gethostname(), os.getuid())"
    # What a request adds to the choice of a profile counts for nothing.
    wish = {"profile": "small", "memory": "100G", "runtime": "9-0", "prologue": "touch /tmp/x"}
    answer, machine, uid = ask(cluster, "emmy", where, wish).split()
    assert (answer, uid) == ("42", "61001")
    assert jobs(cluster)["emmy"] == f"RUNNING {machine} 700M 1 1:30:00"
    other = ask(cluster, "carl", where, {}).split()[1]
    assert {machine, other} == {"node1", "node2"}
    assert jobs(cluster)["carl"] == f"RUNNING {other} 800M 1 1:30:00"

    # The limits hold: Slurm ends the job, and the hub notices.
    eat = "held = bytearray(1_500_000_000); import time; time.sleep(60)"
    with pytest.raises(AssertionError):
        ask(cluster, "emmy", eat)
    until(lambda: "emmy" not in jobs(cluster))
    until(lambda: not ask(cluster, "emmy", "running"))

    ask(cluster, "carl", "stop")
    until(lambda: not jobs(cluster))
    log = (cluster.place / "head-jupyterhub.log").read_text()
    assert "correct horse" not in log
    # Idle sessions are the culler's, which works as long as the hub does.
    assert "idle-culler" in log
    assert not [line for line in log.splitlines() if "idle-culler exited" in line], log


def test_a_profile_that_is_not_there_is_refused(cluster: Cluster) -> None:
    told = ask(cluster, "lise", "1", {"profile": "../root"})
    assert "500" in told or "no profile" in told
    assert not jobs(cluster)
