"""Accounts on a second machine, and kernels on accounts of their own."""

import json
import time
from collections.abc import Iterator

import pytest
from guest import START, Guest
from student import Student

KERNEL = {
    "argv": ["/opt/notebook/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
    "display_name": "Python on an account of its own",
    "language": "python",
    "metadata": {
        "kernel_provisioner": {
            "provisioner_name": "pool",
            "config": {"server_pool": ["nb1@localhost", "nb2@localhost"], "student": "sheets"},
        }
    },
}
# Runs in the guest, as the notebook server's user: two worksheets of one server.
SHEETS = """
import asyncio, json
from jupyter_client.multikernelmanager import AsyncMultiKernelManager
async def run(client, code, begun=None):
    text = []
    def take(message):
        if message["msg_type"] == "stream":
            text.append(message["content"]["text"])
            if begun:
                begun.set()
    reply = await client.execute_interactive(code, output_hook=take, timeout=60)
    return reply["content"]["status"], "".join(text).strip()
async def main():
    manager = AsyncMultiKernelManager()
    told, clients = {}, {}
    for sheet in ("one", "two"):
        name = await manager.start_kernel(kernel_name="pooled")
        clients[sheet] = client = manager.get_kernel(name).client()
        client.start_channels()
        await client.wait_for_ready(timeout=60)
        told[sheet] = await run(client, "import getpass, os; print(getpass.getuser()); x = 41")
        told[sheet + " again"] = await run(client, "print(x + 1)")
    begun = asyncio.Event()
    sleep = "import time; print('begun', flush=True); time.sleep(600)"
    busy = asyncio.create_task(run(clients["one"], sleep, begun))
    await begun.wait()
    await manager.interrupt_kernel(list(manager.list_kernel_ids())[0])
    told["interrupted"] = await busy
    await manager.restart_kernel(list(manager.list_kernel_ids())[0])
    await clients["one"].wait_for_ready(timeout=60)
    told["restarted"] = await run(clients["one"], "print('x' in dir())")
    await manager.shutdown_all()
    print(json.dumps(told))
asyncio.run(main())
"""


def _until(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture
def joined(guest: Guest, school: Guest) -> Iterator[None]:
    """The school's accounts are the guest's whole pool, as docs/notebook.md says how."""
    key = guest.run("cat /var/lib/notebook/id_ed25519.pub").strip()
    school.run(f"echo '{key}' > /etc/notebook/hubs.pub && systemctl restart sshd-pool")
    school.wait()
    # Both machines are behind this host, whose loopback is the guest's gateway.
    gateway = guest.gateway()
    assert school.machine
    port = school.machine.host_port(2200)
    pool = json.dumps([f"nb1@school:{port}", f"nb2@school:{port}"])
    with guest.keeping("/etc/hosts", START, then="pkill -x ssh; systemctl restart notebook"):
        guest.run(f"echo '{gateway} school' >> /etc/hosts")
        guest.run(
            f"ssh-keyscan -t ed25519 -p {port} school 2> /dev/null | sed 's/^[^ ]*/school/' "
            "> /etc/notebook/known_hosts"
        )
        guest.run(f"sed -i 's/server_pool=.*/server_pool={pool},/' {START}")
        before = guest.run("systemctl show -P MainPID notebook")
        guest.run("systemctl reload notebook")
        _until(lambda: guest.run("systemctl show -P MainPID notebook") not in (before, "0\n"))
        guest.wait()
        yield
    school.run("rm /etc/notebook/hubs.pub && systemctl restart sshd-pool")
    school.wait()
    guest.wait()


def test_an_account_of_another_machine_joins(guest: Guest, school: Guest, joined: None) -> None:
    ada = Student(guest.url, "ada").sign_in().start()
    kernel = ada.kernel()
    assert kernel.run("6 * 7") == "42"
    kernel.shell("hostname > where; echo kept > kept")
    # It runs there, as one of that machine's accounts, with that machine's files.
    assert school.run("cat /home/students/ada/kept") == "kept\n"
    assert guest.run("ls /home/students").find("ada") < 0
    assert school.run("ps -o user= -C jupyterhub-singleuser || pgrep -u nb1,nb2 -c").strip()
    # A killed hub loses nothing of it, and the end leaves nothing.
    guest.run("systemctl kill --kill-whom=main -s KILL notebook")
    guest.wait()
    _until(ada.ready)
    assert kernel.run("6 * 7") == "42"
    ada.stop()
    _until(lambda: not school.run("ps -u nb1,nb2 -o pid= || true").strip())
    ada.start()
    assert ada.kernel().shell("cat kept") == "kept\n"
    ada.stop()


def test_the_other_machines_end_is_the_sessions_end(
    guest: Guest, school: Guest, joined: None
) -> None:
    eve = Student(guest.url, "eve").sign_in().start()
    school.run("systemctl stop sshd-pool; pkill -u nb1,nb2; systemctl start sshd-pool notebook")
    _until(lambda: not eve.ready())
    eve.start()
    eve.stop()


def test_each_kernel_on_an_account_of_its_own(guest: Guest) -> None:
    place = "/usr/local/share/jupyter/kernels/pooled"
    guest.run(f"mkdir -p {place}; cat > {place}/kernel.json <<'E'\n{json.dumps(KERNEL)}\nE")
    guest.run(f"cat > /tmp/sheets.py <<'E'\n{SHEETS}\nE")
    told = json.loads(
        guest.run(
            "mkdir -p /run/sheets && chown notebook /run/sheets && cd /tmp && runuser -u notebook"
            " -- env HOME=/run/sheets /opt/notebook/bin/python /tmp/sheets.py",
            300,
        )
    )
    users = {told["one"][1], told["two"][1]}
    assert users == {"nb1", "nb2"}
    assert told["one again"] == told["two again"] == ["ok", "42"]
    assert told["interrupted"][0] == "error"
    assert told["restarted"] == ["ok", "False"]
    _until(lambda: not guest.run("ps -u nb1,nb2,nb3 -o pid= || true").strip())
