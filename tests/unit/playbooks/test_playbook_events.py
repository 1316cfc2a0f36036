"""What the runner makes of Ansible's events, and what it hands to Ansible."""

import io
import json
import stat
from pathlib import Path

import pytest

from provision.build.playbook import (
    RECORD_SEPARATOR,
    TaskChange,
    Transport,
    _Events,
    _explain,
    _prepare,
)
from provision.errors import GuestError, ProvisioningError
from provision.machine import SshEndpoint
from provision.process import CommandFailedError
from provision.progress import Silent, reporting, step

ENDPOINT = SshEndpoint("127.0.0.1", 2222, "root", Path("/keys/key"), Path("/keys/known"))
LOG = Path("/logs/build.log")


class Recorder(Silent):
    def __init__(self):
        self.shares = []

    def advance(self, title, done, total):
        self.shares.append((title, done, total))


def event(**fields) -> str:
    return RECORD_SEPARATOR + json.dumps(fields)


def told(*lines: str) -> tuple[_Events, Recorder, str]:
    recorder, log = Recorder(), io.StringIO()
    events = _Events("site", log)
    with reporting(recorder), step("playbook site"):
        for line in lines:
            events.line(line)
    return events, recorder, log.getvalue()


def result(status: str, task: str, message: str = "") -> str:
    return event(event="result", status=status, task=task, seconds=0.5, message=message)


def test_tasks_are_a_percentage_and_handlers_do_not_exceed_it():
    events, recorder, log = told(
        event(event="play", name="Packages", tasks=2),
        event(event="task", name="a"),
        result("changed", "a"),
        event(event="task", name="b"),
        result("ok", "b"),
        event(event="task", name="included later"),
        event(event="handler", name="c"),
        result("skipped", "c"),
    )
    assert [share[1:] for share in recorder.shares] == [(1, 2), (2, 2), (2, 2), (2, 2)]
    assert (events.ok, events.changed, events.skipped) == (1, ["a"], 1)
    assert "TASK a" in log
    assert "HANDLER c" in log


def test_what_changes_and_what_follows_is_told_in_detail():
    change = {"items": ["/etc/a"], "diff": ["-x", "+y"], "handler": False}
    follows = {"items": ["a.service"], "diff": [], "handler": True}
    events, _, _ = told(
        event(event="result", status="changed", task="Write a", seconds=0, **change),
        event(event="result", status="skipped", task="Restart a", seconds=0, **follows),
        result("ok", "b"),
    )
    assert events.changed == ["Write a"]
    assert events.changes == [
        TaskChange("Write a", ("/etc/a",), handler=False, diff=("-x", "+y")),
        TaskChange("Restart a", ("a.service",), handler=True, diff=()),
    ]


def failed(*lines: str) -> Exception:
    events, _, _ = told(*lines)
    return _explain("site", ENDPOINT, events, CommandFailedError(["ansible"], 2, "tail"), LOG)


def test_a_failed_task_is_a_provisioning_error():
    error = failed(event(event="play", name="p", tasks=1), result("failed", "base : x", "no room"))
    assert isinstance(error, ProvisioningError)
    assert str(error) == "playbook site, task “base : x”: no room"
    assert str(LOG) in error.hint


def test_an_ignored_failure_is_none():
    events, _, _ = told(result("ignored", "x", "no matter"))
    assert events.failure is None


def test_a_lost_guest_is_a_guest_error():
    error = failed(result("unreachable", "base : x", "Broken pipe"))
    assert isinstance(error, GuestError)
    assert "root@127.0.0.1 port 2222: Broken pipe" in str(error)


def test_ansibles_own_words_when_no_task_ran():
    error = failed("ERROR! the role 'x' was not found", "looked in /a")
    assert isinstance(error, ProvisioningError)
    assert "the role 'x' was not found" in str(error)


def prepare(tmp_path, transport=Transport.MITOGEN, **variables):
    return _prepare(
        tmp_path, Path("site.yml"), ENDPOINT, variables, roles=[Path("/r")], transport=transport
    )


def test_secrets_are_in_a_file_of_ours_only(tmp_path):
    argv = prepare(tmp_path, own_word="open sesame")
    assert "open sesame" not in " ".join(argv)
    inventory = tmp_path / "inventory.json"
    assert stat.S_IMODE(inventory.stat().st_mode) == 0o600
    host = json.loads(inventory.read_text())["all"]["hosts"]["guest"]
    assert host["own_word"] == "open sesame"


def test_the_users_ansible_variables_are_unset(tmp_path, monkeypatch):
    monkeypatch.setenv("ANSIBLE_REMOTE_USER", "eve")
    argv = prepare(tmp_path)
    assert argv[1:3] == ["-u", "ANSIBLE_REMOTE_USER"]


@pytest.mark.parametrize("transport", Transport)
def test_only_the_pinned_host_key_counts(tmp_path, transport):
    prepare(tmp_path, transport)
    text = (tmp_path / "ansible.cfg").read_text()
    for setting in (
        "-F /dev/null",
        "-o UserKnownHostsFile=/keys/known",
        "-o GlobalKnownHostsFile=/dev/null",
        "-o StrictHostKeyChecking=yes",
        "-o IdentityAgent=none",
    ):
        assert setting in text
    assert ("mitogen" in text) == (transport is Transport.MITOGEN)


def test_another_account_than_root_becomes_root(tmp_path):
    endpoint = SshEndpoint("h", 22, "sageadm", Path("/k"), Path("/n"))
    _prepare(tmp_path, Path("x.yml"), endpoint, {}, roles=(), transport=Transport.MITOGEN)
    host = json.loads((tmp_path / "inventory.json").read_text())["all"]["hosts"]["guest"]
    assert host["ansible_become"] is True
