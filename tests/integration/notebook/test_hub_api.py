"""JupyterHub's own tests of its API that start servers, with our spawner in the place of theirs.

Slow: pytest is installed in the guest, and many servers are started.
"""

import pytest
from guest import Guest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# JupyterHub's mocks build on SimpleLocalProcessSpawner; what their tests know of that class beside
# the spawners' interface is given here. test_progress wants their words to a waiting student.
OURS = """
import jupyterhub.spawner
from traitlets import default
from provision.guest.pool.spawner import PoolSpawner

class Ours(PoolSpawner):
    @default("server_pool")
    def _pool(self):
        return ["nb1@localhost", "nb2@localhost", "nb3@localhost"]
    @default("state_directory")
    def _state(self):
        return "/var/lib/notebook"
    @default("pool_key")
    def _key(self):
        return "/var/lib/notebook/id_ed25519"
    def get_state(self):
        return super().get_state() | ({"pid": self.process.pid} if self.process else {})
    def get_env(self):
        return self.user_env(super().get_env())
    def user_env(self, env):
        return env

jupyterhub.spawner.SimpleLocalProcessSpawner = Ours
"""
RUN = """
cd /tmp/hub && mkdir -p home
export HOME=/tmp/hub/home PYTHONPATH=/tmp/hub/lib:/tmp/hub PATH=/opt/notebook/bin:/usr/bin:/bin
exec /opt/notebook/bin/python -m pytest -p ours -q -W ignore -p no:cacheprovider --tb=short \\
    -o asyncio_mode=auto -o asyncio_default_fixture_loop_scope=module \\
    -o asyncio_default_test_loop_scope=module --pyargs jupyterhub.tests.test_api \\
    -k 'spawn or server or stop or progress_'
"""


def test_the_hubs_own_tests_pass(guest: Guest) -> None:
    guest.run(f"mkdir -p /tmp/hub; cat > /tmp/hub/ours.py <<'E'\n{OURS}\nE")
    guest.run(f"cat > /tmp/hub/run.sh <<'E'\n{RUN}\nE")
    guest.run(
        "export PIP_CERT=$(ls /run/host-ca-certificates.crt 2> /dev/null);"
        " /opt/notebook/bin/pip install -q --target /tmp/hub/lib"
        " pytest 'pytest-asyncio<1.3' requests-mock; chown -R notebook /tmp/hub",
        300,
    )
    # The mock hub answers on ports that the firewall does not know.
    guest.run("systemctl stop notebook notebook-proxy; nft delete table inet notebook")
    try:
        told = guest.run("runuser -u notebook -- sh /tmp/hub/run.sh 2>&1 || true", 600)
        assert " failed" not in told, told[-5000:]
        assert int(told.split(" passed")[0].split()[-1]) >= 35
    finally:
        guest.run("systemctl restart notebook-firewall sshd-pool; systemctl start notebook")
        guest.wait()
