"""What a user reads when a playbook cannot do its work, against a real guest."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from provision.build.playbook import Transport, run_hooks
from provision.errors import GuestError, ProvisioningError
from provision.machine import keys
from provision.machine.ports import free_port

PLAYBOOK = """\
- name: A user's own
  hosts: all
  gather_facts: false
  tasks:
    - name: Do what works
      ansible.builtin.command: "true"
    - name: {name}
      ansible.builtin.{task}
"""


@pytest.fixture(scope="module")
def guest(boot, base):
    return boot([base])


def playbook(tmp_path: Path, task: str, name: str = "Do what fails") -> Path:
    path = tmp_path / "own.yml"
    path.write_text(PLAYBOOK.format(name=name, task=task))
    return path


@pytest.mark.parametrize(
    ("task", "told"),
    [
        ("command: cat /nowhere", "cat: /nowhere: No such file or directory"),
        ("fail: {msg: the printer is on fire}", "the printer is on fire"),
        ("template: {src: gone.j2, dest: /tmp/x}", "gone.j2"),
        ("debug: {msg: '{{ nobody_said }}'}", "nobody_said"),
        ("command: {argv: ['false', '{{ item }}']}\n      loop: [seven]", "seven"),
    ],
)
def test_failing_task_is_named_with_its_message_and_the_log(guest, tmp_path, task, told):
    with pytest.raises(ProvisioningError) as caught:
        guest.play(playbook(tmp_path, task))
    assert caught.value.exit_code == 7
    assert "own" in str(caught.value)
    assert "Do what fails" in str(caught.value)
    assert told in str(caught.value)
    assert str(guest.log) in caught.value.hint
    log = guest.log.read_text()
    assert "TASK Do what works" in log
    assert told in log


def test_playbook_that_is_no_yaml_is_shown_with_its_place(guest, tmp_path):
    path = tmp_path / "broken.yml"
    path.write_text("- hosts: all\n  tasks: [\n")
    with pytest.raises(ProvisioningError, match=r"broken\.yml") as caught:
        guest.play(path)
    assert str(guest.log) in caught.value.hint


@pytest.mark.parametrize("transport", [Transport.MITOGEN, Transport.PIPELINING])
class TestNoWayIn:
    def test_nothing_listens(self, guest, transport):
        gone = replace(guest, endpoint=replace(guest.endpoint, port=free_port()))
        with pytest.raises(GuestError, match=str(gone.endpoint.port)) as caught:
            gone.play("configure", transport=transport)
        assert caught.value.exit_code == 6

    def test_server_refuses_our_key(self, guest, tmp_path, transport):
        keys.generate(tmp_path / "foreign", comment="foreign")
        foreign = replace(guest.endpoint, key=tmp_path / "foreign")
        with pytest.raises(GuestError, match=r"(?i)denied|refuse|key"):
            replace(guest, endpoint=foreign).play("configure", transport=transport)

    def test_host_key_is_not_the_pinned_one(self, guest, tmp_path, transport):
        lines = guest.endpoint.known_hosts.read_text().split()
        other = keys.generate(tmp_path / "other", comment="").split()[1]
        (tmp_path / "known").write_text(f"{lines[0]} ssh-ed25519 {other}\n")
        changed = replace(guest.endpoint, known_hosts=tmp_path / "known")
        with pytest.raises(GuestError, match=r"(?i)host key"):
            replace(guest, endpoint=changed).play("configure", transport=transport)


def test_nothing_of_the_users_own_ansible_leaks_in(guest, tmp_path, monkeypatch):
    (tmp_path / "ansible.cfg").write_text("[defaults]\nroles_path = /nowhere\nremote_user = eve\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANSIBLE_REMOTE_USER", "eve")
    monkeypatch.setenv("ANSIBLE_STDOUT_CALLBACK", "minimal")
    monkeypatch.setenv("ANSIBLE_CHECK_MODE_MARKERS", "yes")
    done = guest.play(playbook(tmp_path, "command: touch /root/mine"))
    assert done.changed == ("Do what works", "Do what fails")


def test_own_playbooks_and_roles_run_after_each_other(guest, tmp_path):
    role = tmp_path / "roles" / "printer"
    (role / "tasks").mkdir(parents=True)
    (role / "tasks" / "main.yml").write_text(
        "- name: Set up\n  ansible.builtin.shell: cat /root/own > /root/role;"
        " echo {{ ansible_distribution }} {{ admin_user }} >> /root/role\n"
    )
    own = playbook(tmp_path, "shell: echo {{ base_hostname }} > /root/own")
    run_hooks([own], [role], guest.endpoint, guest.variables, log=guest.log)
    assert guest.ask("cat /root/role") == f"{guest.variables['base_hostname']}\nDebian sageadm"


@pytest.mark.parametrize(
    ("transport", "number"),
    [
        (Transport.MITOGEN, signal.SIGINT),
        (Transport.MITOGEN, signal.SIGTERM),
        (Transport.PIPELINING, signal.SIGINT),
    ],
)
def test_interrupted_play_leaves_nothing_running(guest, tmp_path, number, transport):
    mark = f"31{number:02}{len(transport.name):02}"
    path = playbook(tmp_path, f"command: sleep {mark}")
    endpoint = guest.endpoint
    program = f"""
import signal, sys
from pathlib import Path
from provision.build.playbook import Transport, run_playbook
from provision.machine import SshEndpoint
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
endpoint = SshEndpoint({endpoint.host!r}, {endpoint.port}, {endpoint.user!r},
    Path({str(endpoint.key)!r}), Path({str(endpoint.known_hosts)!r}))
run_playbook(Path({str(path)!r}), endpoint, {{}}, log=Path({str(tmp_path / "log")!r}),
    transport=Transport.{transport.name})
"""
    temporary = Path(tempfile.mkdtemp(prefix="t"))
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(temporary)},
        stderr=(tmp_path / "stderr").open("w"),
        start_new_session=True,
    )
    deadline = time.monotonic() + 240
    asleep = f"cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -q 'sleep [{mark[0]}]{mark[1:]}'"
    while guest.run(asleep).status != 0:
        assert time.monotonic() < deadline, "the play never began"
        time.sleep(0.2)
    assert len(ours(temporary, endpoint.port)) > 1
    process.send_signal(number)
    assert process.wait(20) != 0
    for _ in range(50):
        if not ours(temporary, endpoint.port):
            break
        time.sleep(0.1)
    assert ours(temporary, endpoint.port) == []
    assert list(temporary.iterdir()) == []
    temporary.rmdir()


def ours(temporary: Path, port: int) -> list[str]:
    """Processes that work in our temporary directory or speak with the guest."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"TMPDIR={temporary}".encode() in environment or (
            "ssh" in line.split(" ")[0] and str(port) in line and "pasta" not in line
        ):
            found.append(line)
    return found
