"""Run one playbook against one guest over SSH, with nothing of the user's own Ansible in it."""

import contextvars
import importlib.util
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import IO, Any

from provision import resources, temporary
from provision.errors import GuestError, ProvisioningError
from provision.machine import SshEndpoint
from provision.machine.ssh import connect
from provision.process import CommandFailedError, require, run
from provision.progress import advance, step

log = logging.getLogger(__name__)

RECORD_SEPARATOR = "\x1e"  # begins each event line of playbooks/callback_plugins/events.py
CONNECT_SECONDS = 30
SHORT_PATH = 40

CONFIGURATION = """\
[defaults]
home = {private}/home
roles_path = {roles}
action_plugins = {playbooks}/action_plugins
callback_plugins = {playbooks}/callback_plugins
library = {playbooks}/library
stdout_callback = events
interpreter_python = /usr/bin/python3
remote_tmp = /tmp/.ansible
host_key_checking = True
retry_files_enabled = False
deprecation_warnings = False
forks = 1
timeout = {timeout}
{strategy}
[ssh_connection]
pipelining = {pipelining}
ssh_args = {ssh_args}
control_path = {private}/ssh
transfer_method = piped
"""


class Transport(Enum):
    """How Ansible speaks to the guest, slowest first; the others than the last are for comparison.

    See docs/benchmarks.md for what each brings.
    """

    COPYING = "copies each module to the guest and runs it, in a new SSH connection each time"
    PERSISTENT = "the same in one SSH connection"
    PIPELINING = "feeds each module to a new Python in the guest"
    MITOGEN = "keeps one Python running in the guest"


@dataclass(frozen=True)
class TaskChange:
    """What one task changed, or would.

    Args:
        task: its name.
        items: files, services or other parts.
        handler: it is what follows from changes: a service that starts anew.
        diff: how the text of files changes, line by line; only where nothing was changed yet.
    """

    task: str
    items: tuple[str, ...]
    handler: bool
    diff: tuple[str, ...]


@dataclass(frozen=True)
class PlaySummary:
    """What a playbook did.

    Args:
        ok: how many tasks found all as it should be.
        changed: the names of the tasks and handlers that changed something.
        skipped: how many tasks did not apply.
        seconds: wall time, with Ansible's own start.
        times: seconds by task, in order.
        changes: the same as ``changed``, in detail; with handlers that a trial leaves out.
    """

    ok: int
    changed: tuple[str, ...]
    skipped: int
    seconds: float
    times: tuple[tuple[str, float], ...] = field(repr=False)
    changes: tuple[TaskChange, ...] = field(repr=False, default=())


class _Events:
    """Takes Ansible's event lines: into the log, into the progress, into the summary."""

    def __init__(self, name: str, file: IO[str]) -> None:
        self._name = name
        self._file = file
        self.done = self.total = self.ok = self.skipped = 0
        self.changed: list[str] = []
        self.changes: list[TaskChange] = []
        self.times: list[tuple[str, float]] = []
        self.failure: dict[str, Any] | None = None
        self.other: list[str] = []

    def line(self, line: str) -> None:
        if not line.startswith(RECORD_SEPARATOR):
            self.other.append(line)
            self._write(line)
            return
        event = json.loads(line[1:])
        match event["event"]:
            case "play":
                self.total += event["tasks"]
                self._write(f"PLAY {event['name']}")
            case "task" | "handler" as kind:
                self.done = min(self.done + (kind == "task"), self.total)
                self._write(f"{kind.upper()} {event['name']}")
                advance(self.done, self.total or None)
            case "result":
                self._result(event)

    def _result(self, event: dict[str, Any]) -> None:
        status, task = event["status"], event["task"]
        self.times.append((task, event["seconds"]))
        message = event.get("message", "")
        self._write(f"  {status} ({event['seconds']:.1f} s)" + (f": {message}" if message else ""))
        if "items" in event:
            items, diff = tuple(event["items"]), tuple(event.get("diff", ()))
            self.changes.append(TaskChange(task, items, event["handler"], diff))
        match status:
            case "ok" | "ignored":
                self.ok += 1
            case "changed":
                self.changed.append(task)
            case "skipped":
                self.skipped += 1
            case "failed" | "unreachable":
                self.failure = event

    def _write(self, text: str) -> None:
        stamp = time.strftime("%H:%M:%S")
        for line in text.splitlines():
            self._file.write(f"{stamp} {self._name}: {line}\n")
        self._file.flush()


def run_playbook(
    playbook: str | Path,
    endpoint: SshEndpoint,
    variables: Mapping[str, Any],
    *,
    log: Path,
    check: bool = False,
    roles: Sequence[Path] = (),
    transport: Transport = Transport.MITOGEN,
) -> PlaySummary:
    """Run a playbook to its end, showing its tasks as progress.

    Args:
        playbook: the name of one of ours, without ``.yml``, or the path of any other.
        endpoint: the guest.
        variables: for the playbook, as JSON can carry them. They go through a file that only
            we can read, never through a command line.
        log: file to which each task, its outcome and its messages are appended.
        check: tell what would change, change nothing.
        roles: directories of further roles; ours come first.
        transport: how to speak to the guest, for measurements.

    Returns:
        What it did.

    Raises:
        ProvisioningError: a task failed, or the playbook cannot be run at all.
        GuestError: the guest could not be reached, or refused us.
    """
    path = Path(playbook)
    if isinstance(playbook, str):
        path = resources.playbooks() / f"{playbook}.yml"
    name = path.stem
    begun = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with step(f"playbook {name}"), temporary.directory(_short()) as private, log.open("a") as file:
        connect(endpoint).close()  # says better than Ansible why there is no way in
        events = _Events(name, file)
        argv = _prepare(private, path, endpoint, variables, roles=roles, transport=transport)
        if check:
            argv += ["--check", "--diff"]
        context = contextvars.copy_context()  # on_line is called from a thread without ours
        failed = None
        try:
            run(
                argv,
                env={"TMPDIR": str(private)},
                cwd=path.parent,
                on_line=lambda line: context.run(events.line, line),
            )
        except CommandFailedError as error:
            failed = error
        finally:
            _close_connections(private)
        if failed:
            raise _explain(name, endpoint, events, failed, log) from failed
    return PlaySummary(
        ok=events.ok,
        changed=tuple(events.changed),
        skipped=events.skipped,
        seconds=time.monotonic() - begun,
        times=tuple(events.times),
        changes=tuple(events.changes),
    )


def run_hooks(
    playbooks: Sequence[Path],
    roles: Sequence[Path],
    endpoint: SshEndpoint,
    variables: Mapping[str, Any],
    *,
    log: Path,
) -> None:
    """Run the user's own playbooks, then their roles; Ansible's defaults hold, no ansible.cfg.

    Args:
        playbooks: playbook files, for the host ``guest``; roles and collections beside them
            are found.
        roles: directories of one role each.
        endpoint: the guest.
        variables: as for `run_playbook`; those of our playbooks.
        log: as for `run_playbook`.

    Raises:
        ProvisioningError: as `run_playbook`.
        GuestError: as `run_playbook`.
    """
    beside = tuple(dict.fromkeys(role.parent for role in roles))
    for playbook in playbooks:
        run_playbook(playbook, endpoint, variables, log=log, roles=beside)
    if roles:
        named = {**variables, "hook_roles": [str(role) for role in roles]}
        run_playbook("hooks", endpoint, named, log=log, roles=beside)


def _short() -> Path | None:
    """Where a socket's path stays within the 108 bytes of unix(7): not below a long TMPDIR."""
    usual = Path(tempfile.gettempdir())
    return None if len(str(usual)) < SHORT_PATH else Path("/tmp")  # noqa: S108 (a private directory in it)


def _prepare(
    private: Path,
    playbook: Path,
    endpoint: SshEndpoint,
    variables: Mapping[str, Any],
    *,
    roles: Sequence[Path],
    transport: Transport,
) -> list[str]:
    """Write Ansible's configuration and inventory; give the command that uses nothing else."""
    ours = resources.playbooks()
    options = {
        "UserKnownHostsFile": str(endpoint.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        "ServerAliveInterval": "30",
    }
    if transport in (Transport.PERSISTENT, Transport.PIPELINING):
        options |= {"ControlMaster": "auto", "ControlPersist": "60s"}
    configuration = CONFIGURATION.format(
        private=private,
        playbooks=ours,
        roles=":".join(str(path) for path in (ours / "roles", *roles)),
        timeout=CONNECT_SECONDS,
        strategy=_mitogen() if transport is Transport.MITOGEN else "",
        pipelining=transport is Transport.PIPELINING,
        ssh_args=" ".join(
            ["-F /dev/null", *(f"-o {key}={value}" for key, value in options.items())]
        ),
    )
    (private / "ansible.cfg").write_text(configuration)
    host = {
        "ansible_host": endpoint.host,
        "ansible_port": endpoint.port,
        "ansible_user": endpoint.user,
        "ansible_ssh_private_key_file": str(endpoint.key),
        "ansible_become": endpoint.user != "root",
        "templates_dir": str(resources.templates() / "guest"),
        **variables,
    }
    inventory = private / "inventory.json"
    inventory.touch(mode=0o600)
    inventory.write_text(json.dumps({"all": {"hosts": {"guest": host}}}))
    foreign = [word for name in os.environ if name.startswith("ANSIBLE_") for word in ("-u", name)]
    return [
        *(require("env", "coreutils"), *foreign, f"ANSIBLE_CONFIG={private / 'ansible.cfg'}"),
        *(sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), str(playbook)),
    ]


def _mitogen() -> str:
    found = importlib.util.find_spec("ansible_mitogen")
    assert found is not None and found.origin is not None  # noqa: S101 (we depend on it)
    plugins = Path(found.origin).parent / "plugins" / "strategy"
    return f"strategy_plugins = {plugins}\nstrategy = mitogen_linear\n"


def _close_connections(private: Path) -> None:
    """End the SSH connections that Ansible keeps open in the background."""
    for socket in private.iterdir():
        if socket.is_socket():
            subprocess.run(
                ["ssh", "-F", "/dev/null", "-O", "exit", "-o", f"ControlPath={socket}", "guest"],
                check=False,
                capture_output=True,
                timeout=10,
            )


def _explain(
    name: str, endpoint: SshEndpoint, events: _Events, failed: CommandFailedError, log: Path
) -> GuestError | ProvisioningError:
    """Turn what Ansible told into one error that names the playbook, the task and the reason."""
    hint = f"the whole story is in {log}"
    if events.failure is None:
        told = "\n".join(events.other[-10:]) or failed.tail
        return ProvisioningError(f"playbook {name} cannot be run: {told}", hint=hint)
    task, message = events.failure["task"], events.failure["message"]
    if events.failure["status"] == "unreachable":
        where = f"{endpoint.user}@{endpoint.host} port {endpoint.port}"
        return GuestError(f"playbook {name}: no way to {where}: {message}", hint=hint)
    return ProvisioningError(f"playbook {name}, task “{task}”: {message}", hint=hint)
